-- name: state
-- Asked of the catalogs, so that it can be asked without any privilege. One privilege a call: a list means "any of them".
select r.oid is not null and s.oid is not null as made,
       r.oid is not null and s.oid is not null and p.oid is not null and v.oid is not null and a.attname is not null as installed,
       coalesce(readable.schema and readable.all_of_them, false) as readable,
       coalesce(readable.schema and writable.all_of_them, false) as writable
from (select) as one
left join pg_catalog.pg_namespace n on n.nspname = 'maintenance'
left join pg_catalog.pg_class r on r.relnamespace = n.oid and r.relname = 'run'
left join pg_catalog.pg_class s on s.relnamespace = n.oid and s.relname = 'step'
left join pg_catalog.pg_attribute a on a.attrelid = s.oid and a.attname = 'dead_before' and not a.attisdropped
left join pg_catalog.pg_class p on p.relnamespace = n.oid and p.relname = 'pause'
left join pg_catalog.pg_class v on v.relnamespace = n.oid and v.relname = 'archive'
cross join lateral (
    select pg_catalog.has_schema_privilege(n.oid, 'USAGE') as schema,
           (select bool_and(pg_catalog.has_table_privilege(t.oid, 'SELECT'))
            from (values (r.oid), (s.oid), (p.oid), (v.oid)) as t (oid)) as all_of_them
) as readable
cross join lateral (
    select bool_and(pg_catalog.has_table_privilege(t.oid, privilege)) as all_of_them
    from (values (r.oid), (s.oid), (p.oid), (v.oid)) as t (oid)
    cross join (values ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) as v (privilege)
) as writable;

-- name: grantee
select pg_catalog.quote_ident(current_user), pg_catalog.quote_ident(current_database());

-- name: one_installer
select pg_catalog.pg_advisory_xact_lock(1296124238, 2);

-- name: close_dead
-- Whoever asks holds the lease, so a run that still says `running` lost its session without a word; and a message that was
-- sent a day ago will not come any more.
update maintenance.run r
set status = 'interrupted', stop_reason = 'error', ended_at = clock_timestamp(),
    rows = (select coalesce(sum(s.rows), 0) from maintenance.step s where s.run_id = r.id),
    error = case status when 'running'
        then 'its session ended before the run did; the next run goes on from the last committed batch'
        else 'nobody took it up within a day; the next run does the work' end
where status = 'running' or (status = 'queued' and as_of < clock_timestamp() - interval '1 day');

-- name: close_dead_steps
update maintenance.step s
set status = 'interrupted', stop_reason = 'error'
from maintenance.run r
where r.id = s.run_id and r.status <> 'running' and s.status in ('pending', 'running');

-- name: begin_run
-- No row where this request has been taken up before.
insert into maintenance.run (name, tables, status, scheduler, requested_by, request, budget, approve, as_of)
values ($1, $2, 'running', $3, $4, $5, $6, $7, $8)
on conflict (request) do nothing
returning id;

-- name: queue_run
insert into maintenance.run (name, tables, status, scheduler, requested_by, request, budget, approve, as_of, slices)
values ($1, $2, 'queued', $3, $4, $5, $6, $7, statement_timestamp(), 0)
returning id;

-- name: skip_run
-- Without its request: whoever holds the lease may be a copy of it that has yet to write that down.
insert into maintenance.run (name, tables, status, stop_reason, scheduler, requested_by, budget, as_of, ended_at, error)
values ($1, $2, 'skipped', 'lease', $3, $4, $5, statement_timestamp(), clock_timestamp(), $6)
returning id;

-- name: requested
select id from maintenance.run where request = $1;

-- name: is_due
-- Whether slice $2 of a run has been done and the next one has not: what a message that comes late, twice, or after the run
-- was overtaken must find false. A slice that died may be done again. Overtaken: a newer run of that name did the work on
-- these tables.
select (
    (r.slices = $2 and r.status = 'queued')
    or (r.slices = $2 and r.status in ('interrupted', 'failed') and exists (
        select from maintenance.step s where s.run_id = r.id and s.status = 'interrupted' and s.stop_reason in ('budget', 'lag')
    ))
    or (r.slices = $2::int + 1 and (r.status = 'running' or (r.status = 'interrupted' and r.stop_reason = 'error')))
) and r.started_at > clock_timestamp() - interval '1 day'
  and (r.slices = 0 or not exists (
      select from maintenance.run newer
      where newer.id > r.id and newer.name = r.name
        and (newer.tables = '{}' or (r.tables <> '{}' and newer.tables @> r.tables))
        and (newer.status = 'succeeded' or exists (
            select from maintenance.step s where s.run_id = newer.id and s.began_at is not null
        ))
  )) as due
from maintenance.run r
where r.id = $1;

-- name: take_up
-- Not one more than there are: a slice that died and is done again is still the same one.
update maintenance.run
set status = 'running', slices = $2 + 1, stop_reason = null, error = null, ended_at = null,
    started_at = case status when 'queued' then clock_timestamp() else started_at end,
    as_of = case status when 'queued' then $3 else as_of end
where id = $1 and slices in ($2, $2 + 1) and status in ('queued', 'interrupted', 'failed');

-- name: abandon
-- Only while the slice that nobody managed to do is still to be done.
update maintenance.run
set status = 'failed', stop_reason = 'error', ended_at = clock_timestamp(), error = $2
where id = $1 and status in ('queued', 'running', 'interrupted', 'failed');

-- name: abandon_steps
-- So that a late copy of the message does not find work that waits for time.
update maintenance.step set stop_reason = 'error'
where run_id = $1 and status = 'interrupted' and stop_reason in ('budget', 'lag');

-- name: paused
select since, paused_by, reason from maintenance.pause;

-- name: pause
insert into maintenance.pause (paused_by, reason) values ($1, $2)
on conflict (only_one) do update set paused_by = excluded.paused_by, reason = coalesce(excluded.reason, maintenance.pause.reason)
returning since, paused_by, reason;

-- name: resume
delete from maintenance.pause;

-- name: add_step
-- The cursor at once: were it written when the step begins, a run that does not come to it would lose it.
insert into maintenance.step (run_id, task, table_name, strategy, rule, summary, cursor, status)
values ($1, $2, $3, $4, $5, $6, $7::jsonb, 'pending') returning id;

-- name: add_again
-- A step of an earlier slice has another turn; what it did then stays in its row.
update maintenance.step
set status = 'pending', stop_reason = null, error = null, sqlstate = null, strategy = $2, summary = $3, cursor = $4::jsonb
where id = $1;

-- name: begin_step
-- Unless its table is another one by now, or all runs are paused: in one round trip, as each step has to ask it all.
with now as (
    select exists (
               select
               from pg_catalog.pg_class c
               where c.oid = $2::oid and c.relname = $4
                 and $3 = (select n.nspname from pg_catalog.pg_namespace n where n.oid = c.relnamespace)
           ) as there,
           exists (select from maintenance.pause) as paused,
           {bytes} as bytes, pg_catalog.pg_stat_get_tuples_deleted($2::oid) as deleted,
           pg_catalog.pg_stat_get_dead_tuples($2::oid) as dead
),
begun as (
    update maintenance.step s
    set status = 'running', bytes_before = coalesce(s.bytes_before, now.bytes),
        dead_before = coalesce(s.dead_before, now.dead), began_at = clock_timestamp()
    from now
    where s.id = $1 and now.there and not now.paused
)
select there, paused, bytes, deleted from now;

-- name: checkpoint
-- In the transaction of the batch: either both are there or neither.
update maintenance.step
set rows = rows + $2, updated = updated + $3, batches = batches + 1, seconds = seconds + $4, cursor = $5::jsonb,
    changed_at = case when $2 + $3 > 0 then clock_timestamp() else changed_at end
where id = $1
returning exists (select from maintenance.pause) as paused;

-- name: unbegin_step
-- Else the time that it waited for others would count as that of its work, which then seems to fit no budget.
update maintenance.step set began_at = null where id = $1;

-- name: end_step
-- With a batch that had no transaction to be written down in.
update maintenance.step
set status = $2, stop_reason = $3, note = coalesce($4, note), error = $5, sqlstate = $6, bytes_after = $7,
    seconds = greatest(seconds + $9, $8), paused = paused + $9, batches = batches + $10,
    deleted = coalesce($11, deleted), lag_before = coalesce(lag_before, $12), lag_after = $13
where id = $1;

-- name: remark
update maintenance.run set note = concat_ws('; ', note, $2::text) where id = $1;

-- name: approve
update maintenance.run set approved = $2 where id = $1;

-- name: approved
select approved from maintenance.run where id = $1;

-- name: remark_step
update maintenance.step set note = concat_ws('; ', note, $2::text) where id = $1;

-- name: end_run
update maintenance.run r
set status = $2, stop_reason = $3, error = $4, spent = spent + $5, database_bytes = coalesce($6, database_bytes), ended_at = clock_timestamp(),
    rows = (select coalesce(sum(s.rows), 0) from maintenance.step s where s.run_id = r.id)
where id = $1;

-- name: carried
-- How the last attempt at each piece of work ended, when it last had a turn, and since when it has not been done.
select distinct on (task, table_name, rule) task, table_name, rule, strategy, s.status, s.stop_reason, began_at, cursor,
       max(id) filter (where began_at is not null) over place as last_turn,
       coalesce(max(r.as_of) filter (where s.status = 'succeeded') over place, min(r.as_of) over place) as since
from maintenance.step s
join (select r.id as run, r.as_of from maintenance.run r) as r on r.run = s.run_id
window place as (partition by task, table_name, rule)
order by task, table_name, rule, id desc;

-- name: idle
-- Rules that have deleted nothing in their last turns, while their table has become larger by a tenth.
select task, table_name, rule, max(bytes_before) filter (where age = $1) as was, max(bytes_before) filter (where age = 1) as is
from (
    select task, table_name, rule, status, rows, bytes_before,
           row_number() over (partition by task, table_name, rule order by id desc) as age
    from maintenance.step
    where began_at is not null and task = 'retention'
) as turn
where age <= $1
group by task, table_name, rule
having count(*) = $1 and bool_and(status = 'succeeded' and rows = 0)
   and max(bytes_before) filter (where age = 1) > 1.1 * max(bytes_before) filter (where age = $1);

-- name: changed_at
select table_name, max(changed_at) as changed_at
from maintenance.step
where changed_at is not null
group by table_name;

-- name: took
-- The last turn of each table's step that tells how long it takes: it was done, or the budget ended it.
select distinct on (task, table_name) task, table_name, seconds, bytes_before, bytes_after, status <> 'succeeded' as cut
from maintenance.step
where task = any ($1::text[]) and began_at is not null and bytes_before is not null
  and (status = 'succeeded' or (status = 'interrupted' and stop_reason = 'budget'))
order by task, table_name, id desc;

-- name: deletions
-- Not where a later step of the table died, or is at work: what the server counted of it nobody can tell from others' deletes.
select distinct on (s.table_name) s.table_name, s.deleted, s.rows, s.run_id
from maintenance.step s
where s.deleted is not null
  and not exists (
      select from maintenance.step later
      where later.table_name = s.table_name and later.id > s.id and later.began_at is not null and later.deleted is null
        and (later.rows > 0 or later.status = 'running' or (later.status = 'interrupted' and later.stop_reason = 'error'))
  )
order by s.table_name, s.id desc;

-- name: deleted
select pg_catalog.pg_stat_get_tuples_deleted($1::oid);

-- name: prune
-- Never one that may still go on in another slice.
delete from maintenance.run where ended_at < clock_timestamp() - make_interval(secs => $1)
  and not (status in ('interrupted', 'failed') and started_at > clock_timestamp() - interval '1 day');

-- name: prune_archives
-- Not what a rule's archive_keep has yet to remove from its store, nor what its manifest does not say yet.
delete from maintenance.archive
where marked and not expires and created_at < clock_timestamp() - make_interval(secs => $1);

-- name: runs
select * from maintenance.run order by id desc limit $1;

-- name: run
select * from maintenance.run where id = $1;

-- name: steps
select * from maintenance.step where run_id = $1 order by id;
