-- name: flush
-- What this session deleted a moment ago is not yet in the counters, and would be added to them after the VACUUM.
select pg_catalog.pg_stat_force_next_flush();

-- name: tables
-- A toast table has no counters that matter to a reader; its ages count for its table. Partitions are found in pg_inherits,
-- as pg_partition_tree waits where one of them is locked.
with recursive tree as (
    select c.oid as parent, i.inhrelid as leaf
    from pg_catalog.pg_class c join pg_catalog.pg_inherits i on i.inhparent = c.oid where c.relkind = 'p'
    union
    select tree.parent, i.inhrelid from tree join pg_catalog.pg_inherits i on i.inhparent = tree.leaf
)
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
       leaves.analyzed as leaf_analyzed, coalesce(leaves.oids, '{}') as leaves
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_class toast on toast.oid = c.reltoastrelid
left join (
    select tree.parent, array_agg(tree.leaf) as oids,
           max(greatest(pg_catalog.pg_stat_get_last_analyze_time(tree.leaf),
                        pg_catalog.pg_stat_get_last_autoanalyze_time(tree.leaf))) as analyzed
    from tree join pg_catalog.pg_class l on l.oid = tree.leaf where l.relkind <> 'p'
    group by tree.parent
) as leaves on leaves.parent = c.oid
where c.relkind in ('r', 'm', 'p')
  and c.relpersistence <> 't'
  and n.nspname <> all (array['pg_catalog', 'information_schema', 'maintenance'])
  and n.nspname !~ '^pg_(toast|temp)'
  -- The tables of an extension (cron.job on Azure) belong to whoever provides it.
  and not exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )
order by n.nspname, c.relname;

-- name: sizes
-- A table that somebody has for himself is left out: to ask for its size would be to wait for him.
select c.oid, pg_catalog.pg_total_relation_size(c.oid) as bytes
from unnest($1::oid[]) as c (oid)
where not exists (
    select from pg_catalog.pg_locks l
    where l.relation = c.oid and l.mode = 'AccessExclusiveLock'
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
);

-- name: last_vacuum
-- `died` is what has died since the counters began, so that what died beside a VACUUM is not taken for what it left.
select pg_catalog.pg_stat_get_last_vacuum_time(one.oid) as stamp,
       coalesce(pg_catalog.pg_stat_get_dead_tuples(one.oid), 0) as dead,
       coalesce(pg_catalog.pg_stat_get_tuples_updated(one.oid) + pg_catalog.pg_stat_get_tuples_deleted(one.oid), 0) as died,
       greatest(pg_catalog.age(c.relfrozenxid), pg_catalog.age(toast.relfrozenxid), 0) as xid_age,
       greatest(pg_catalog.mxid_age(c.relminmxid), pg_catalog.mxid_age(toast.relminmxid), 0) as multixact_age
from (values ($1::oid)) as one (oid)
left join pg_catalog.pg_class c on c.oid = one.oid
left join pg_catalog.pg_class toast on toast.oid = c.reltoastrelid;

-- name: last_analyze
select pg_catalog.pg_stat_get_last_analyze_time($1::oid) as stamp;

-- name: take_buffer_usage_limit
-- The setting takes what the option of VACUUM takes, and only for this statement.
select pg_catalog.set_config('vacuum_buffer_usage_limit', $1, true);

-- name: vacuum
vacuum ({options}) {table};

-- name: analyze_after
analyze {options} {table};

-- name: vacuum_database
-- The horizon of the whole database, which each VACUUM of a table would else look for in all of pg_class.
vacuum (only_database_stats);

-- name: analyze
analyze {only} {table};
