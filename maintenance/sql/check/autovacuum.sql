-- name: settings
select pg_catalog.current_setting('autovacuum')::boolean as autovacuum,
       pg_catalog.current_setting('track_counts')::boolean as counts,
       pg_catalog.current_setting('autovacuum_max_workers')::int as workers;

-- name: busy
-- Autovacuum's workers, of all databases, for a role that may see them.
select count(*) from pg_catalog.pg_stat_activity where backend_type = 'autovacuum worker';

-- name: off
select n.nspname as schema, c.relname as name
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and {of_users}
  and exists (
      select from pg_catalog.pg_options_to_table(c.reloptions) o
      where o.option_name = 'autovacuum_enabled' and not o.option_value::boolean
  )
order by 1, 2;

-- name: behind
-- By each table's own threshold. The server says when a table was vacuumed, not since when it should be; of one that never was,
-- it knows no longer than it counts.
with counted as (
    select c.oid, n.nspname as schema, c.relname as name,
           coalesce(pg_catalog.pg_stat_get_dead_tuples(c.oid), 0) as dead,
           greatest(pg_catalog.pg_stat_get_last_vacuum_time(c.oid), pg_catalog.pg_stat_get_last_autovacuum_time(c.oid)) as last,
           -- From PostgreSQL 18 on there is a most, which -1 turns off.
           least(
               coalesce(o.threshold, pg_catalog.current_setting('autovacuum_vacuum_threshold')::float8)
               + coalesce(o.scale, pg_catalog.current_setting('autovacuum_vacuum_scale_factor')::float8) * greatest(c.reltuples, 0),
               nullif(coalesce(o.most, pg_catalog.current_setting('autovacuum_vacuum_max_threshold', true)::float8), -1)
           ) as threshold
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    cross join lateral (
        select max(t.option_value::float8) filter (where t.option_name = 'autovacuum_vacuum_threshold') as threshold,
               max(t.option_value::float8) filter (where t.option_name = 'autovacuum_vacuum_scale_factor') as scale,
               max(t.option_value::float8) filter (where t.option_name = 'autovacuum_vacuum_max_threshold') as most,
               bool_or(t.option_name = 'autovacuum_enabled' and not t.option_value::boolean) as off
        from pg_catalog.pg_options_to_table(c.reloptions) t
    ) as o
    where c.relkind in ('r', 'm') and {of_users} and o.off is not true
)
select oid, schema, name, dead, last, threshold::bigint as threshold
from counted
where dead >= $1 and dead > $2::float8 * threshold
  and coalesce(last, (
      select greatest(s.stats_reset, pg_catalog.pg_postmaster_start_time()) from pg_catalog.pg_stat_database s
      where s.datname = pg_catalog.current_database()
  )) < pg_catalog.statement_timestamp() - make_interval(secs => $3::float8)
order by dead desc;

-- name: ages
-- Template databases cannot be vacuumed by us, and count all the same: the server stops at the oldest of all.
select d.datname::text as name, pg_catalog.age(d.datfrozenxid) as transactions, pg_catalog.mxid_age(d.datminmxid) as multixacts
from pg_catalog.pg_database d
order by greatest(pg_catalog.age(d.datfrozenxid), pg_catalog.mxid_age(d.datminmxid)) desc
limit 1;

-- name: oldest
select n.nspname as schema, c.relname as name,
       greatest(pg_catalog.age(c.relfrozenxid), pg_catalog.mxid_age(c.relminmxid)) as age
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and c.relfrozenxid <> '0' and {of_users}
order by age desc, 1, 2
limit 3;
