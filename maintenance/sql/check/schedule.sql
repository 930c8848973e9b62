-- name: jobs
-- Ours of this database, with how each last went; what is still at work is no result.
select j.jobid as id, j.jobname::text as name, j.schedule, j.active, d.status, d.return_message as message, d.start_time as at
from cron.job j
left join lateral (
    select r.status, r.return_message, r.start_time from cron.job_run_details r
    where r.jobid = j.jobid and r.status in ('succeeded', 'failed')
    order by r.runid desc limit 1
) as d on true
where j.database = pg_catalog.current_database() and starts_with(j.jobname::text, $1)
order by j.jobname;
