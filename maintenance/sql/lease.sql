-- name: take
-- The keys are arbitrary but fixed: every scheduler of this project uses these two. Advisory locks are per database.
select pg_catalog.pg_try_advisory_lock(1296124238, 1);

-- name: release
select pg_catalog.pg_advisory_unlock(1296124238, 1);

-- name: holder
select a.pid, a.application_name, a.backend_start
from pg_catalog.pg_locks l
join pg_catalog.pg_stat_activity a on a.pid = l.pid
join pg_catalog.pg_database d on d.oid = l.database
where l.locktype = 'advisory' and l.classid = 1296124238 and l.objid = 1 and l.granted
  and d.datname = pg_catalog.current_database()
limit 1;
