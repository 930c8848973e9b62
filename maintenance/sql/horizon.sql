-- name: holders
-- `xmin` is the oldest transaction that a holder may still look at, and `age` how many lie since then; null where it holds back no
-- rows of this database's tables. Left out is what the server itself leaves out: sessions at a VACUUM, and walsenders that decode. What an
-- older server does not have (inactive_since) is asked for by name in the row, and is then null.
select kind, name, pid, application, role, database, state, active, since,
       extract(epoch from pg_catalog.clock_timestamp() - since)::double precision as seconds, relation,
       xmin::text::bigint as xmin, pg_catalog.age(xmin) as age,
       greatest(pg_catalog.age(xmin), pg_catalog.age(catalog_xmin)) as catalog_age
from (
    select case a.backend_type when 'autovacuum worker' then 'autovacuum' else 'session' end as kind, a.pid::text as name, a.pid, a.application_name as application, a.usename::text as role,
           a.datname::text as database, a.state, null::boolean as active, a.xact_start as since, n.relid as relation,
           -- A snapshot reaches back to the transaction that took it, or further.
           case when a.datname = pg_catalog.current_database() then coalesce(a.backend_xmin, a.backend_xid) end as xmin,
           coalesce(a.backend_xmin, a.backend_xid) as catalog_xmin
    from pg_catalog.pg_stat_activity a
    left join pg_catalog.pg_stat_progress_analyze n on n.pid = a.pid
    where a.pid <> pg_catalog.pg_backend_pid()
      and (a.backend_xid is not null or a.backend_xmin is not null)
      and a.backend_type <> 'walsender'
      and not exists (select from pg_catalog.pg_stat_progress_vacuum v where v.pid = a.pid)
      -- Our own, that vacuum side by side: they are over before anybody could end them.
      and not (a.usename = current_user and a.application_name like 'maintenance run%')
    union all
    select 'prepared', p.gid, null, null, p.owner::text, p.database::text, null, null, p.prepared, null,
           case when p.database = pg_catalog.current_database() then p.transaction end, p.transaction
    from pg_catalog.pg_prepared_xacts p
    union all
    select 'slot', s.slot_name::text, s.active_pid, s.plugin::text, null, s.database::text, s.slot_type, s.active,
           (pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz, null, s.xmin, s.catalog_xmin
    from pg_catalog.pg_replication_slots s
    where s.xmin is not null or s.catalog_xmin is not null
    union all
    select 'standby', r.application_name, r.pid, r.application_name, r.usename::text, null, r.state, true, null, null, r.backend_xmin,
           r.backend_xmin
    from pg_catalog.pg_stat_replication r
    where r.backend_xmin is not null
) as holder
order by age desc nulls last, catalog_age desc nulls last, name;

-- name: sees_all
-- Whether the sessions of other roles are shown to this one.
select pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage');

-- name: next_xid
-- Without taking one.
select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint;

-- name: deferred
-- Transactions by which the server itself holds its horizon back; the setting went with PostgreSQL 16.
select coalesce(pg_catalog.current_setting('vacuum_defer_cleanup_age', true), '0')::bigint;

-- name: changes
-- What a VACUUM of a table would find, and since when it may have come about: its last VACUUM, else its oldest row.
select coalesce(pg_catalog.pg_stat_get_dead_tuples(c.oid), 0) as dead,
       greatest(pg_catalog.age(c.relfrozenxid), coalesce(pg_catalog.age(toast.relfrozenxid), 0)) as age,
       greatest(pg_catalog.mxid_age(c.relminmxid), coalesce(pg_catalog.mxid_age(toast.relminmxid), 0)) as multixact_age,
       extract(epoch from pg_catalog.clock_timestamp()
           - greatest(pg_catalog.pg_stat_get_last_vacuum_time(c.oid), pg_catalog.pg_stat_get_last_autovacuum_time(c.oid))
       )::double precision as seconds
from pg_catalog.pg_class c
left join pg_catalog.pg_class toast on toast.oid = c.reltoastrelid
where c.oid = $1::oid;
