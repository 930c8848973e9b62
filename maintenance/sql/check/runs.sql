-- name: kept
-- How the runs of one kind went: of those that were for all tables, the ones whose name is of it.
with run as (
    select * from maintenance.run r where r.name ~ $1 and r.tables = '{}'
),
through as (
    select max(id) filter (where status in ('succeeded', 'interrupted')) as id, max(id) filter (where status = 'succeeded') as done,
           max(ended_at) filter (where status in ('succeeded', 'interrupted')) as at
    from run
)
select (select count(*) from run where status <> 'queued') as runs,
       (select min(started_at) from maintenance.run) as first,
       through.at as through_at,
       (select count(*) from run where status = 'failed' and id > coalesce(through.id, 0)) as failures,
       (select min(started_at) from run where status = 'failed' and id > coalesce(through.id, 0)) as failing_since,
       (select max(id) from run where status = 'failed' and id > coalesce(through.id, 0)) as failed,
       through.id as last,
       (select count(*) from run where status = 'interrupted' and id > coalesce(through.done, 0)) as unfinished
from through;

-- name: errors
select coalesce(r.error, '') as error,
       array(select s.task || ' ' || s.table_name || coalesce(': ' || s.error, '') from maintenance.step s
             where s.run_id = r.id and s.status in ('failed', 'blocked') order by s.id) as steps
from maintenance.run r where r.id = $1;

-- name: guarded
-- Steps of a run that a guard has stopped: the run is no more than interrupted.
select s.task, s.table_name, coalesce(s.error, '') as error
from maintenance.step s where s.run_id = $1 and s.stop_reason = 'guard' order by s.id;

-- name: dead
-- Whoever works holds the lease; all may see that.
select r.id, r.name, r.started_at from maintenance.run r
where r.status = 'running' and not exists (
    select from pg_catalog.pg_locks l
    where l.locktype = 'advisory' and l.classid = 1296124238 and l.objid = 1 and l.granted
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
)
order by r.id;

-- name: creatable
select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE');
