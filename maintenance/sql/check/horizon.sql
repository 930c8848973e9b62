-- name: transactions
-- Only of this database: others' do not keep its rows.
select a.pid, a.usename::text as role, a.application_name as application, a.state,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.xact_start) as seconds,
       greatest(pg_catalog.age(a.backend_xmin), pg_catalog.age(a.backend_xid)) as transactions
from pg_catalog.pg_stat_activity a
where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
  and (a.backend_xmin is not null or a.backend_xid is not null) and a.backend_type in ('client backend', 'parallel worker')
  and a.leader_pid is null and a.xact_start < pg_catalog.clock_timestamp() - make_interval(secs => $1::float8)
order by a.xact_start;

-- name: hidden
-- Other roles' sessions in this database, of which this role sees no more than that they are there.
select count(*) from pg_catalog.pg_stat_activity a
where a.datname = pg_catalog.current_database() and a.query = '<insufficient privilege>';

-- name: any_standby
-- That there is one, the server tells everybody.
select exists (select from pg_catalog.pg_stat_replication) as one;

-- name: prepared
select p.gid, p.owner::text as role, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - p.prepared) as seconds,
       pg_catalog.age(p.transaction) as transactions
from pg_catalog.pg_prepared_xacts p
where p.database = pg_catalog.current_database() and p.prepared < pg_catalog.clock_timestamp() - make_interval(secs => $1::float8)
order by p.prepared;

-- name: slots
-- Since when nobody reads it, the server tells from PostgreSQL 17 on: as JSON the column may be missing.
select s.slot_name::text as name, s.slot_type as type, s.active,
       greatest(pg_catalog.age(s.xmin), pg_catalog.age(s.catalog_xmin)) as transactions,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint as wal,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()
           - (pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz) as seconds
from pg_catalog.pg_replication_slots s
where not s.temporary
order by s.slot_name;

-- name: standbys
-- What a slot keeps for its standby is the slot's.
select r.pid, r.application_name as name, pg_catalog.host(r.client_addr) as host, pg_catalog.age(r.backend_xmin) as transactions
from pg_catalog.pg_stat_replication r
where pg_catalog.age(r.backend_xmin) >= $1
order by pg_catalog.age(r.backend_xmin) desc;
