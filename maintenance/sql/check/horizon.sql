-- name: hidden
-- Other roles' sessions in this database, of which this role sees no more than that they are there.
select count(*) from pg_catalog.pg_stat_activity a
where a.datname = pg_catalog.current_database() and a.query = '<insufficient privilege>';

-- name: any_standby
-- That there is one, the server tells everybody.
select exists (select from pg_catalog.pg_stat_replication) as one;

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
