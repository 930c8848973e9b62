-- name: flush
-- What this session deleted a moment ago is not yet in the counters, and would be added to them after the VACUUM.
select pg_catalog.pg_stat_force_next_flush();

-- name: tables
-- A toast table has no counters that matter to a reader; its ages count for its table.
select c.oid, n.nspname as schema, c.relname as name, c.relkind = 'p' as partitioned,
       c.reltuples::bigint as rows,
       coalesce(pg_catalog.pg_stat_get_live_tuples(c.oid), 0) as live,
       coalesce(pg_catalog.pg_stat_get_dead_tuples(c.oid), 0) as dead,
       coalesce(pg_catalog.pg_stat_get_ins_since_vacuum(c.oid), 0) as inserted,
       coalesce(pg_catalog.pg_stat_get_mod_since_analyze(c.oid), 0) as modified,
       case when c.relkind = 'p' then 0
            else greatest(pg_catalog.age(c.relfrozenxid), coalesce(pg_catalog.age(toast.relfrozenxid), 0)) end as xid_age,
       case when c.relkind = 'p' then 0
            else greatest(pg_catalog.mxid_age(c.relminmxid), coalesce(pg_catalog.mxid_age(toast.relminmxid), 0))
       end as multixact_age,
       greatest(pg_catalog.pg_stat_get_last_vacuum_time(c.oid), pg_catalog.pg_stat_get_last_autovacuum_time(c.oid)) as last_vacuum,
       greatest(pg_catalog.pg_stat_get_last_analyze_time(c.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)) as last_analyze,
       case when c.relkind = 'p' then (
           select max(greatest(pg_catalog.pg_stat_get_last_analyze_time(leaf.relid),
                               pg_catalog.pg_stat_get_last_autoanalyze_time(leaf.relid)))
           from pg_catalog.pg_partition_tree(c.oid::regclass) leaf where leaf.isleaf
       ) end as leaf_analyzed
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_class toast on toast.oid = c.reltoastrelid
where c.relkind in ('r', 'm', 'p')
  and c.relpersistence <> 't'
  and n.nspname not in ('pg_catalog', 'information_schema', 'maintenance')
  and n.nspname !~ '^pg_(toast|temp)'
order by n.nspname, c.relname;

-- name: dead_rows
select coalesce(pg_catalog.pg_stat_get_dead_tuples($1::oid), 0);

-- name: last_vacuum
select pg_catalog.pg_stat_get_last_vacuum_time($1::oid);

-- name: last_analyze
select pg_catalog.pg_stat_get_last_analyze_time($1::oid);

-- name: vacuum
vacuum ({options}) {table};

-- name: analyze
analyze {table};
