-- name: has_cron
-- pg_cron keeps the jobs of all databases in one of them. https://github.com/citusdata/pg_cron
select case when pg_catalog.to_regclass('cron.job') is null then false
            else pg_catalog.has_schema_privilege('cron', 'USAGE') and pg_catalog.has_table_privilege('cron.job', 'SELECT') end;

-- name: own_jobs
set local row_security = on;

-- name: cron_jobs
select coalesce(j.jobname::text, 'job ' || j.jobid) as name, j.command
from cron.job j
where j.active and j.database = pg_catalog.current_database() and j.command ~* '(delete|truncate)'
order by j.jobid;
