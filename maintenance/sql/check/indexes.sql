-- name: all
-- Each index with what two of them can be compared by. Partitions of a partitioned index are its own: they go with it.
select i.indexrelid as oid, i.indrelid as "table", n.nspname as schema, c.relname as table_name, x.relname as name,
       am.amname as method, i.indisunique as is_unique, i.indisvalid as valid, i.indisready as ready,
       i.indisprimary or i.indisexclusion or i.indisreplident or exists (
           select from pg_catalog.pg_constraint k where k.conindid = i.indexrelid
       ) as needed,
       i.indisclustered as clustered, i.indnkeyatts as keys, i.indnatts as columns_in_all,
       i.indkey::int2[]::int[] as key, i.indclass::oid[]::bigint[] as classes, i.indcollation::oid[]::bigint[] as collations,
       i.indoption::int2[]::int[] as options,
       array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality as at (number, place)
             join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = at.number
             where at.place <= i.indnkeyatts order by at.place) as columns,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) as predicate, pg_catalog.pg_get_expr(i.indexprs, i.indrelid) as expressions,
       x.relpages::bigint * pg_catalog.current_setting('block_size')::int as bytes,
       pg_catalog.pg_stat_get_numscans(i.indexrelid) as scans, x.relispartition as part, x.relkind = 'I' as partitioned,
       (select count(*) from pg_catalog.pg_inherits p where p.inhparent = i.indrelid) as partitions,
       (select count(*) from pg_catalog.pg_inherits p where p.inhparent = i.indexrelid) as attached,
       coalesce(x.reloptions, '{}') as parameters,
       exists (
           select from pg_catalog.pg_constraint k
           where k.conrelid = i.indrelid and k.contype = 'f' and i.indkey[0] = any (k.conkey)
       ) as serves_key
from pg_catalog.pg_index i
join pg_catalog.pg_class x on x.oid = i.indexrelid
join pg_catalog.pg_am am on am.oid = x.relam
join pg_catalog.pg_class c on c.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where {of_users} and i.indislive
order by n.nspname, c.relname, x.relname;

-- name: building
-- Indexes that a session is making at this moment are not valid yet. Which, only a reader of all statistics may see of other
-- roles; that somebody has its table's lock for that (or for a VACUUM), all may.
select i.indexrelid as oid,
       exists (select from pg_catalog.pg_stat_progress_create_index p where p.index_relid = i.indexrelid) as seen
from pg_catalog.pg_index i
where not (i.indisvalid and i.indisready) and exists (
    select from pg_catalog.pg_locks l
    where l.relation = i.indrelid and l.mode = 'ShareUpdateExclusiveLock' and l.granted
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
);

-- name: counted_since
-- Since when scans are counted: a server that never reset its statistics has them at least since it was started, or crashed,
-- which the background writer's begin with.
select pg_catalog.date_part('epoch', pg_catalog.statement_timestamp()
           - greatest(coalesce(s.stats_reset, pg_catalog.pg_postmaster_start_time()), b.stats_reset)) as seconds,
       pg_catalog.current_setting('track_counts')::boolean as counts
from pg_catalog.pg_stat_database s cross join pg_catalog.pg_stat_bgwriter b where s.datname = pg_catalog.current_database();

-- name: updated
select c.oid, pg_catalog.pg_stat_get_tuples_updated(c.oid) as updates, pg_catalog.pg_stat_get_tuples_hot_updated(c.oid) as hot
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and {of_users}
  and pg_catalog.pg_stat_get_tuples_updated(c.oid) >= $1
  and pg_catalog.pg_stat_get_tuples_hot_updated(c.oid) < $2::float8 * pg_catalog.pg_stat_get_tuples_updated(c.oid);

-- name: foreign_keys
-- Those without an index whose first columns are the key's, in whatever order, and that has all rows which a parent's delete asks
-- for: rows without a parent are none of them. Of a partitioned table each leaf must have one, its own or the whole's; `lacking`
-- are those that have none. BRIN and the like leave too much to be read.
with recursive foreign_key as (
    select k.* from pg_catalog.pg_constraint k where k.contype = 'f' and k.conparentid = 0
),
tree as (
    select distinct f.conrelid as root, f.conrelid as oid from foreign_key f
    union all
    select t.root, p.inhrelid
    from tree t
    join pg_catalog.pg_class c on c.oid = t.oid and c.relkind = 'p'
    join pg_catalog.pg_inherits p on p.inhparent = t.oid
)
select k.conname::text as name, n.nspname as schema, c.relname as table_name, k.confrelid as parent,
       pn.nspname as parent_schema, pc.relname as parent_name, c.relkind = 'p' as partitioned, leaf.rows, leaf.lacking,
       columns.names as columns
from foreign_key k
join pg_catalog.pg_class c on c.oid = k.conrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_class pc on pc.oid = k.confrelid
join pg_catalog.pg_namespace pn on pn.oid = pc.relnamespace
cross join lateral (
    select array_agg(a.attname::text order by at.place) as names,
           array_agg(pg_catalog.format('%I IS NOT NULL', a.attname)) as present
    from unnest(k.conkey) with ordinality as at (number, place)
    join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = at.number
) as columns
cross join lateral (
    select coalesce(sum(greatest(l.reltuples, 0)), 0)::bigint as rows,
           array_agg(array[ln.nspname::text, l.relname::text] order by ln.nspname, l.relname) as lacking
    from tree t
    join pg_catalog.pg_class l on l.oid = t.oid and l.relkind = 'r'
    join pg_catalog.pg_namespace ln on ln.oid = l.relnamespace
    where t.root = k.conrelid and not exists (
        select from pg_catalog.pg_index i
        join pg_catalog.pg_class x on x.oid = i.indexrelid
        join pg_catalog.pg_am am on am.oid = x.relam
        where i.indrelid = l.oid and i.indisvalid and am.amname in ('btree', 'hash')
          and i.indnkeyatts >= cardinality(k.conkey)
          and (
              select bool_and(coalesce(a.attname::text = any (columns.names), false))
              from generate_series(0, cardinality(k.conkey) - 1) as place
              left join pg_catalog.pg_attribute a on a.attrelid = l.oid and a.attnum = i.indkey[place]
          )
          and (i.indpred is null or string_to_array(
              btrim(pg_catalog.pg_get_expr(i.indpred, i.indrelid), '()'), ') AND ('
          ) <@ columns.present)
    )
) as leaf
where {of_users} and leaf.lacking is not null
order by n.nspname, c.relname, k.conname;
