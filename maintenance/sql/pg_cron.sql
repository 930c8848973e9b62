-- name: fingerprint
-- Of the tables and columns that a rule names, what it was compiled for: a table or a column that has come or gone since, another
-- type, another partitioning, a foreign key that now takes rows along.
select pg_catalog.md5(coalesce(pg_catalog.string_agg(
    pg_catalog.concat_ws(' ', named.place, named.name, named."column", c.oid, c.relkind::text, a.atttypid, a.attnum,
        pg_catalog.pg_get_partkeydef(c.oid),
        (select pg_catalog.string_agg(k.oid::text, ',' order by k.oid) from pg_catalog.pg_constraint k
         where k.contype = 'f' and k.confrelid = c.oid and k.confdeltype in ('c', 'n', 'd'))),
    ';' order by named.place), ''))
from unnest($1::text[], $2::text[]) with ordinality as named (name, "column", place)
left join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(named.name)
left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = named."column" and a.attnum > 0 and not a.attisdropped;

-- name: either
-- Whether a guard lets a step begin: there is something to judge by, or nothing to judge.
select ({witnessed}) or not ({at_stake});

-- name: never
select false;

-- name: chunks_in_all
-- Each chunk with how many pairs there are in all.
select chunk.*, pg_catalog.sum(chunk.pairs) over () as total from ({chunks}) as chunk;

-- name: cascading
-- Foreign keys that would take rows of other tables along, from a table or one of its partitions.
with recursive tree as (
    select $1::oid as oid union all select i.inhrelid from tree join pg_catalog.pg_inherits i on i.inhparent = tree.oid
)
select k.conname || ' of ' || n.nspname || '.' || c.relname
from pg_catalog.pg_constraint k
join pg_catalog.pg_class c on c.oid = k.conrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and k.conparentid = 0 and k.confdeltype in ('c', 'n', 'd')
  and (k.confrelid in (select oid from tree) or k.confrelid in (select relid from pg_catalog.pg_partition_ancestors($1::oid)))
order by 1 limit 1;

-- name: cron_database
-- Where pg_cron keeps its jobs, as far as this role may know: not every role may read the setting.
select case when exists (select from pg_catalog.pg_extension e where e.extname = 'pg_cron') then pg_catalog.current_database()
            else (select s.setting from pg_catalog.pg_settings s where s.name = 'cron.database_name') end::text as cron,
       pg_catalog.current_database()::text as own;

-- name: has_cron
-- Also where this role may not use it, which is another answer.
select exists (select from pg_catalog.pg_extension e where e.extname = 'pg_cron');

-- name: schedule_here
select cron.schedule({job}, {schedule}, {command});

-- name: schedule_there
-- As whoever runs this: a role of one's own needs no right to act as another.
select cron.schedule_in_database({job}, {schedule}, {command}, {database}, null);

-- name: unschedule_others
-- Jobs of an earlier policy.
select cron.unschedule(j.jobid) from cron.job j
where j.database = {database} and starts_with(j.jobname::text, {prefix}) and j.username = current_user
  and not (j.jobname = any (array[{names}]::text[]));

-- name: holds_lease
-- Not while a run is at work: it would go on by half of the old policy and half of the new one.
select pg_catalog.pg_advisory_xact_lock(1296124238, 1);

-- name: add_text
insert into maintenance.cron_text (name, body) values ({key}, {body});

-- name: add_policy
insert into maintenance.cron_policy (digest, budget, batch_target, lock_timeout, ledger_keep)
values ({digest}, {budget}, {batch_target}, {lock_timeout}, {ledger_keep});

-- name: add_table
insert into maintenance.cron_table (name, oid, sql) values ({key}, {oid}, {sql});

-- name: add_rule
insert into maintenance.cron_rule ({columns})
values ({values});

-- name: installed
select pg_catalog.to_regclass('maintenance.cron_policy') is not null;
