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
-- How the last run of each name ended that did anything, and the one before it; names are made of words, so there are few.
select r.*
from (select distinct name from maintenance.run where started_at > $1::timestamptz - make_interval(days => $2) order by 1 limit $3) as n
cross join lateral (
    select * from maintenance.run r where r.name = n.name and r.status not in ('skipped', 'queued') order by r.id desc limit 1
) as r
order by r.id desc;

-- name: begun
-- When each name's runs began, newest first: from their usual distance one sees that one is overdue.
select n.name, array(
    select r.started_at from maintenance.run r where r.name = n.name and r.status not in ('skipped', 'queued') order by r.id desc limit 8
) as begun
from unnest($1::text[]) as n (name);

-- name: lags
-- By rule, as its last turn left it; not of a rule or a table that no run has seen for a while.
select distinct on (s.task, s.table_name, s.rule)
       s.task, s.table_name, s.rule, s.summary, s.run_id, coalesce(s.lag_after, s.lag_before) as seconds,
       coalesce(r.ended_at, r.started_at) as at
from maintenance.step s
join maintenance.run r on r.id = s.run_id
where r.started_at > $1::timestamptz - make_interval(days => $2)
  and (s.lag_after is not null or s.lag_before is not null)
order by s.task, s.table_name, s.rule, s.id desc;

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

-- name: cron_jobs
-- What the policy's compiler has put there, and whatever else calls it.
select coalesce(j.jobname::text, 'job ' || j.jobid) as name, j.schedule, pg_catalog.current_database()::text as database
from cron.job j
where j.active and j.database = pg_catalog.current_database() and j.command like '%maintenance.cron_%'
order by j.jobid;
