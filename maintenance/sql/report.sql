-- name: database
select pg_catalog.current_database()::text;

-- name: steps
-- Of the runs that are shown in detail, all at once; a run that touched hundreds of partitions shows those that tell the most.
select s.*
from unnest($1::bigint[]) as wanted (id)
cross join lateral (
    select *
    from maintenance.step s
    where s.run_id = wanted.id
    order by s.error is null, s.rows + s.updated desc, s.seconds desc, s.id
    limit $2
) as s
order by s.run_id, s.id;

-- name: last_of_each
-- How the last run of each name ended that did anything, the newest first. A run for some tables says nothing of the others, so it
-- stands beside the one for all, until a newer one does its tables again.
with each as (
    select distinct on (name, tables) *
    from maintenance.run
    where started_at > $1::timestamptz - make_interval(days => $2) and status not in ('skipped', 'queued')
    order by name, tables, id desc
)
select r.*
from each r
where not exists (
    select from each newer
    where newer.id > r.id and newer.name = r.name
      and (newer.tables = '{}' or (r.tables <> '{}' and newer.tables @> r.tables))
)
order by r.id desc
limit $3;

-- name: begun
-- When each name's runs began, newest first: from their usual distance one sees that one is overdue. A run for some tables is not
-- the one that was due.
select n.name, array(
    select r.started_at
    from maintenance.run r
    where r.name = n.name and r.tables = '{}' and r.status not in ('skipped', 'queued')
    order by r.id desc limit 8
) as begun
from unnest($1::text[]) as n (name);

-- name: lags
-- By rule, as its last turn left it; not of a rule or a table that no run has seen for a while, and not of one that the last run for
-- all tables did not plan any more, as the policy has another `keep` by now. What that run could not plan may still be there.
with seen as (
    select s.id, s.task, s.table_name, s.rule, s.summary, s.run_id, r.name, r.tables,
           coalesce(s.lag_after, s.lag_before) as seconds, coalesce(r.ended_at, r.started_at) as at
    from maintenance.step s
    join maintenance.run r on r.id = s.run_id
    where r.started_at > $1::timestamptz - make_interval(days => $2)
),
whole as (
    select t.task, max(r.id) as run_id
    from (select distinct task, name from seen where tables = '{}') as t
    cross join lateral (
        select r.id
        from maintenance.run r
        where r.name = t.name and r.tables = '{}' and r.started_at > $1::timestamptz - make_interval(days => $2)
          and (r.status = 'succeeded' or exists (select from maintenance.step s where s.run_id = r.id and s.task = t.task))
        order by r.id desc
        limit 1
    ) as r
    group by t.task
),
measured as (
    select distinct on (task, table_name, rule) *
    from seen
    where seconds is not null
    order by task, table_name, rule, id desc
)
select l.task, l.table_name, l.rule, l.summary, l.run_id, l.seconds, l.at
from measured l
left join whole w on w.task = l.task
where w.run_id is null or l.run_id >= w.run_id or exists (
    select
    from maintenance.step p
    where p.run_id = w.run_id and p.task = l.task and case p.rule
        when '' then p.status <> 'absent' and (
            p.table_name in ('*', l.table_name) or pg_catalog.right(l.table_name, length(p.table_name) + 1) = '.' || p.table_name
        )
        else p.table_name = l.table_name and p.rule = l.rule end
)
order by l.task, l.table_name, l.rule;

-- name: removed
select r.started_at::date as day, s.task as name, sum(s.rows)::float8 as value
from maintenance.run r
join maintenance.step s on s.run_id = r.id
where r.started_at > $1::timestamptz - make_interval(days => $2) and s.rows > 0
group by 1, 2
order by 1, 2;

-- name: durations
-- The longest of a day, by name.
select r.started_at::date as day, r.name, max(r.spent) as value
from maintenance.run r
where r.started_at > $1::timestamptz - make_interval(days => $2) and r.spent > 0
group by 1, 2
order by 1, 2;

-- name: database_sizes
-- As the last run of each day left it.
select distinct on (1) r.started_at::date as day, 'database' as name, r.database_bytes::float8 as value
from maintenance.run r
where r.started_at > $1::timestamptz - make_interval(days => $2) and r.database_bytes is not null
order by 1, r.id desc;

-- name: table_sizes
select distinct on (1, 2) r.started_at::date as day, s.table_name as name, coalesce(s.bytes_after, s.bytes_before)::float8 as value
from maintenance.run r
join maintenance.step s on s.run_id = r.id
where r.started_at > $1::timestamptz - make_interval(days => $2) and coalesce(s.bytes_after, s.bytes_before) is not null
order by 1, 2, s.id desc;

-- name: dead_rows
-- As the first step of each day found them.
select distinct on (1, 2) r.started_at::date as day, s.table_name as name, s.dead_before::float8 as value
from maintenance.run r
join maintenance.step s on s.run_id = r.id
where r.started_at > $1::timestamptz - make_interval(days => $2) and s.dead_before is not null
order by 1, 2, s.id;

-- name: lags_over_time
-- The largest of a day, when its step ended.
select r.started_at::date as day, s.task || ' ' || s.table_name as name, max(s.lag_after) as value
from maintenance.run r
join maintenance.step s on s.run_id = r.id
where r.started_at > $1::timestamptz - make_interval(days => $2) and s.lag_after is not null
group by 1, 2
order by 1, 2;

-- name: estimated_rows
-- Of a table and its partitions, as the statistics have them; nothing where nobody has looked yet.
select sum(coalesce(nullif(pg_catalog.pg_stat_get_live_tuples(c.oid), 0)::float8, nullif(c.reltuples, -1)::float8)) as rows
from pg_catalog.pg_class c
where c.oid = any ($1::oid[]);

-- name: cron_zone
-- Of its hours; versions that have no such setting read them in GMT.
select coalesce(nullif(pg_catalog.current_setting('cron.timezone', true), ''), 'GMT');

-- name: cron_jobs
-- What the policy's compiler has put there, and whatever else calls it.
select coalesce(j.jobname::text, 'job ' || j.jobid) as name, j.schedule, pg_catalog.current_database()::text as database
from cron.job j
where j.active and j.database = pg_catalog.current_database() and j.command like '%maintenance.cron_%'
order by j.jobid;
