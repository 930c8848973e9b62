-- name: pgstattuple
-- Its schema, where it is installed and this role may use what measures all of a relation without reading it all.
select n.nspname::text as schema
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname = 'pgstattuple' and pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  and not exists (
      select from pg_catalog.pg_proc p
      where p.pronamespace = n.oid and p.proname in ('pgstattuple_approx', 'pgstatindex')
        and not pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
  )
  and (select count(*) from pg_catalog.pg_proc p where p.pronamespace = n.oid and p.proname = 'pgstattuple_approx') = 1;

-- name: heaps
-- An estimate: rows times their average width with head and item pointer, against the pages that there are. Where a column has no
-- statistics the width is not known, and neither is the bloat.
select c.oid, n.nspname as schema, c.relname as name, h.bytes, pg_catalog.pg_stat_get_dead_tuples(c.oid) as dead,
       greatest(c.reltuples, pg_catalog.pg_stat_get_live_tuples(c.oid), 0)::bigint as rows,
       (greatest(c.reltuples, 0) * (28 + 8 * ceil(s.width / 8.0)) / (0.96 * coalesce(o.fillfactor, 100) / 100.0))::bigint as needed,
       toast.oid as toast, coalesce(toast.relpages, 0)::bigint * b.size as toast_bytes,
       -- A chunk has 1,996 bytes at most, four to a page.
       (coalesce(greatest(toast.reltuples, 0), 0) / 4 * b.size)::bigint as toast_needed,
       s.known as known, c.reltuples >= 0 as counted, coalesce(toast.reltuples, 0) >= 0 as toast_counted
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join (select pg_catalog.current_setting('block_size')::int as size) as b
left join pg_catalog.pg_class toast on toast.oid = c.reltoastrelid
cross join lateral (select c.relpages::bigint * b.size as bytes) as h
cross join lateral (
    select max(t.option_value::int) as fillfactor from pg_catalog.pg_options_to_table(c.reloptions) t where t.option_name = 'fillfactor'
) as o
cross join lateral (
    select coalesce(sum(w.avg_width * (1 - w.null_frac)), 0) as width, count(*) = count(w.attname) as known
    from pg_catalog.pg_attribute a
    left join pg_catalog.pg_stats w on w.schemaname = n.nspname and w.tablename = c.relname and w.attname = a.attname and not w.inherited
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
) as s
where c.relkind in ('r', 'm') and {of_users}
  and greatest(h.bytes, coalesce(toast.relpages, 0)::bigint * b.size) >= $1
order by h.bytes desc;

-- name: trees
-- An estimate for B-trees over columns: entries times their average width with head and item pointer, pages filled to 90 %. Equal
-- keys take less than this, so there may be more bloat than it says.
select x.oid, n.nspname as schema, c.relname as table_name, x.relname as name, x.relpages::bigint * b.size as bytes,
       (greatest(x.reltuples, 0) * (12 + 8 * ceil(s.width / 8.0)) / (coalesce(o.fillfactor, 90) / 100.0 * 0.98))::bigint as needed,
       s.known as known
from pg_catalog.pg_index i
join pg_catalog.pg_class x on x.oid = i.indexrelid
join pg_catalog.pg_am am on am.oid = x.relam and am.amname = 'btree'
join pg_catalog.pg_class c on c.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join (select pg_catalog.current_setting('block_size')::int as size) as b
cross join lateral (
    select max(t.option_value::int) as fillfactor from pg_catalog.pg_options_to_table(x.reloptions) t where t.option_name = 'fillfactor'
) as o
cross join lateral (
    select coalesce(sum(w.avg_width * (1 - w.null_frac)), 0) as width, count(*) = count(w.attname) as known
    from unnest(i.indkey::int2[]) as k (number)
    left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
    left join pg_catalog.pg_stats w on w.schemaname = n.nspname and w.tablename = c.relname and w.attname = a.attname and not w.inherited
) as s
where x.relkind = 'i' and i.indisvalid and x.reltuples >= 0 and {of_users} and x.relpages::bigint * b.size >= $1
order by x.relpages desc;

-- name: measured_heap
-- It takes what the visibility map says is all visible for full, and reads the rest.
select (t.approx_free_space + t.dead_tuple_len)::bigint as wasted, t.table_len as bytes
from {schema}.pgstattuple_approx($1::oid::regclass) t;

-- name: measured_tree
select t.index_size as bytes, (t.index_size * (1 - t.avg_leaf_density / 90.0)
           * (1 - t.deleted_pages::float8 / greatest(t.leaf_pages + t.deleted_pages, 1))
           + (t.deleted_pages + t.empty_pages) * pg_catalog.current_setting('block_size')::int)::bigint as wasted
from {schema}.pgstatindex($1::oid::regclass) t;
