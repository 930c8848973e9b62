-- name: state
-- Asked of the catalogs, so that it can be asked without any privilege. One privilege a call: a list means "any of them".
select r.oid is not null and s.oid is not null as installed,
       coalesce(readable.schema and readable.run and readable.step, false) as readable,
       coalesce(readable.schema and writable.all_of_them, false) as writable
from (select) as one
left join pg_catalog.pg_namespace n on n.nspname = 'maintenance'
left join pg_catalog.pg_class r on r.relnamespace = n.oid and r.relname = 'run'
left join pg_catalog.pg_class s on s.relnamespace = n.oid and s.relname = 'step'
cross join lateral (
    select pg_catalog.has_schema_privilege(n.oid, 'USAGE') as schema,
           pg_catalog.has_table_privilege(r.oid, 'SELECT') as run,
           pg_catalog.has_table_privilege(s.oid, 'SELECT') as step
) as readable
cross join lateral (
    select bool_and(pg_catalog.has_table_privilege(t.oid, privilege)) as all_of_them
    from (values (r.oid), (s.oid)) as t (oid)
    cross join (values ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) as p (privilege)
) as writable;

-- name: grantee
select pg_catalog.quote_ident(current_user), pg_catalog.quote_ident(current_database());

-- name: one_installer
select pg_catalog.pg_advisory_xact_lock(1296124238, 2);

-- name: close_dead
-- Whoever asks holds the lease, so a run that still says `running` lost its session without a word.
update maintenance.run r
set status = 'interrupted', stop_reason = 'error', ended_at = clock_timestamp(),
    rows = (select coalesce(sum(s.rows), 0) from maintenance.step s where s.run_id = r.id),
    error = 'its session ended before the run did; the next run goes on from the last committed batch'
where status = 'running';

-- name: close_dead_steps
update maintenance.step s
set status = 'interrupted', stop_reason = 'error'
from maintenance.run r
where r.id = s.run_id and r.status <> 'running' and s.status in ('pending', 'running');

-- name: begin_run
insert into maintenance.run (name, status, scheduler, as_of) values ($1, 'running', $2, $3) returning id;

-- name: skip_run
insert into maintenance.run (name, status, stop_reason, scheduler, as_of, ended_at, error)
values ($1, 'skipped', 'lease', $2, statement_timestamp(), clock_timestamp(), $3) returning id;

-- name: add_step
-- The cursor at once: were it written when the step begins, a run that does not come to it would lose it.
insert into maintenance.step (run_id, task, table_name, strategy, rule, summary, cursor, status)
values ($1, $2, $3, $4, $5, $6, $7::jsonb, 'pending') returning id;

-- name: begin_step
update maintenance.step set status = 'running', bytes_before = $2, began_at = clock_timestamp() where id = $1;

-- name: checkpoint
-- In the transaction of the batch: either both are there or neither.
update maintenance.step
set rows = rows + $2, updated = updated + $3, batches = batches + 1, seconds = seconds + $4, cursor = $5::jsonb,
    changed_at = case when $2 + $3 > 0 then clock_timestamp() else changed_at end
where id = $1;

-- name: end_step
update maintenance.step
set status = $2, stop_reason = $3, note = coalesce($4, note), error = $5, sqlstate = $6, bytes_after = $7,
    seconds = greatest(seconds, $8)
where id = $1;

-- name: end_run
update maintenance.run r
set status = $2, stop_reason = $3, error = $4, ended_at = clock_timestamp(),
    rows = (select coalesce(sum(s.rows), 0) from maintenance.step s where s.run_id = r.id)
where id = $1;

-- name: carried
-- How the last attempt at each piece of work ended, and when it last had a turn.
select distinct on (task, table_name, rule) task, table_name, rule, strategy, status, stop_reason, began_at, cursor,
       max(id) filter (where began_at is not null) over (partition by task, table_name, rule) as last_turn
from maintenance.step
order by task, table_name, rule, id desc;

-- name: changed_at
select table_name, max(changed_at) as changed_at
from maintenance.step
where changed_at is not null
group by table_name;

-- name: prune
delete from maintenance.run where ended_at < clock_timestamp() - make_interval(secs => $1);

-- name: runs
select * from maintenance.run order by id desc limit $1;

-- name: run
select * from maintenance.run where id = $1;

-- name: steps
select * from maintenance.step where run_id = $1 order by id;
