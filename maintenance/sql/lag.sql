-- name: replay
-- Nothing where it is no span that a run could wait for; `infinity` is an interval from PostgreSQL 17 on.
select case when replay > interval '0' and replay < interval '100 years' then pg_catalog.date_part('epoch', replay) end
from (select $1::text::interval) as given (replay);

-- name: wal
select pg_catalog.pg_size_bytes($1::text);

-- name: visible
-- Without this the server shows that there are replicas, and keeps their lag to itself.
select pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE');

-- name: look
-- What is not asked for is not done: the flags are constants when it is planned. The functions behind the views, since the
-- views look up much that nobody reads here. The server shows a replica's last lag until it hears of it again, up to 10 s
-- after all was replayed and nothing new came; so one that has replayed everything counts as not behind.
-- Who waits for us, waits for one who does, or waits in a queue behind one; only the server knows which locks conflict.
select case when $1::boolean then (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn)::bigint end as written,
       case when $2::boolean then (
           select coalesce(max(pg_catalog.date_part('epoch', replay_lag)), 0)
           from pg_catalog.pg_stat_get_wal_senders()
           where replay_lsn < pg_catalog.pg_current_wal_flush_lsn()
       ) end as behind,
       case when $3::boolean then (
           with recursive wait as materialized (
               select l.pid, blocker.pid as for_pid
               from pg_catalog.pg_lock_status() l, unnest(pg_catalog.pg_blocking_pids(l.pid)) as blocker (pid)
               where not l.granted
           ),
           waiting as (
               select pid from wait where for_pid = pg_catalog.pg_backend_pid()
               union
               select wait.pid from waiting join wait on wait.for_pid = waiting.pid
           )
           select count(*) from waiting
       ) end as waiting;

-- name: furthest
select pg_catalog.quote_literal(application_name) || coalesce(' at ' || pg_catalog.host(client_addr), '') as replica,
       pg_catalog.date_part('epoch', replay_lag) as behind
from pg_catalog.pg_stat_replication
order by replay_lsn < pg_catalog.pg_current_wal_flush_lsn() desc nulls last, replay_lag desc nulls last
limit 1;
