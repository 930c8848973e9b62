-- name: kept
-- How the runs went that had each task in them: of those that were for all tables, the ones whose name is of it. A run got a task
-- through where it did all that it could, or at least all steps of that task; not where its session ended before it did.
with asked as (
    select * from unnest($1::text[], $2::text[]) as a (task, name)
),
run as (
    select a.task, r.*,
           r.status = 'succeeded' or (r.status = 'interrupted' and r.stop_reason is distinct from 'error')
           or (r.status in ('failed', 'interrupted') and exists (
               select from maintenance.step s where s.run_id = r.id and s.task = a.task
               having count(*) > 0 and bool_and(
                   s.status in ('succeeded', 'absent') or (s.status = 'interrupted' and s.stop_reason is distinct from 'error')
               )
           )) as through
    from asked a join maintenance.run r on r.name ~ a.name and r.tables = '{}'
),
through as (
    select a.task, max(r.id) filter (where r.through) as id, max(r.id) filter (where r.status = 'succeeded') as done,
           max(r.ended_at) filter (where r.through) as at
    from asked a left join run r on r.task = a.task
    group by a.task
)
select t.task, t.at as through_at, t.id as last,
       (select min(started_at) from maintenance.run) as first,
       count(*) filter (where r.status = 'failed' and r.id > coalesce(t.id, 0)) as failures,
       min(r.started_at) filter (where r.status = 'failed' and r.id > coalesce(t.id, 0)) as failing_since,
       max(r.id) filter (where r.status = 'failed' and r.id > coalesce(t.id, 0)) as failed,
       count(*) filter (where r.status = 'interrupted' and r.id > coalesce(t.done, 0)) as unfinished
from through t left join run r on r.task = t.task
group by t.task, t.at, t.id, t.done
order by pg_catalog.array_position($1::text[], t.task);

-- name: errors
select coalesce(r.error, '') as error,
       array(select s.task || ' ' || s.table_name || coalesce(': ' || s.error, '') from maintenance.step s
             where s.run_id = r.id and s.status in ('failed', 'blocked') order by s.id) as steps
from maintenance.run r where r.id = $1;

-- name: guarded
-- Steps of a task that a guard has stopped, in the last run that got it through: the run is no more than interrupted.
select s.task, s.table_name, coalesce(s.error, '') as error
from maintenance.step s
join unnest($1::bigint[], $2::text[]) as last (run_id, task) on last.run_id = s.run_id and last.task = s.task
where s.stop_reason = 'guard' order by s.id;

-- name: dead
-- Whoever works holds the lease; all may see that.
select r.id, r.name, r.started_at from maintenance.run r
where r.status = 'running' and not exists (
    select from pg_catalog.pg_locks l
    where l.locktype = 'advisory' and l.classid = 1296124238 and l.objid = 1 and l.granted
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
)
order by r.id;

-- name: migratable
-- Whether this role may bring the ledger's tables up to date, and else whose they are.
select bool_and(pg_catalog.pg_has_role(c.relowner, 'USAGE')) and pg_catalog.has_schema_privilege('maintenance', 'CREATE') as may,
       array(select distinct pg_catalog.pg_get_userbyid(o)::text from unnest(array_agg(c.relowner)) as o order by 1) as owners
from pg_catalog.pg_class c
where c.relnamespace = (select n.oid from pg_catalog.pg_namespace n where n.nspname = 'maintenance') and c.relname = any ($1::text[])
  and c.relkind = 'r';

-- name: creatable
select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE');
