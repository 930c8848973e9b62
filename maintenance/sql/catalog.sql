-- name: table
-- Without a schema the search path decides, as for any client. `public` comes last even where we lack USAGE on it, so
-- that a missing privilege shows as an error later and not as a table that is not there.
select c.oid, n.nspname as schema, c.relname as name, c.relkind::text as kind
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relname = $1
  and c.relkind in ('r', 'p', 'v', 'm', 'f')
  and case when $2::text is null
           then n.nspname = any (pg_catalog.current_schemas(false)) or n.nspname = 'public'
           else n.nspname = $2 end
order by pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname) nulls last
limit 1;

-- name: columns
select a.attname as name,
       pg_catalog.format_type(base.oid, null) as type,
       case when base.typcategory = 'A' then pg_catalog.format_type(base.typelem, null) end as element
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_type base on base.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
order by a.attnum;

-- name: leaves
select c.oid, n.nspname as schema, c.relname as name, c.relkind::text as kind
from pg_catalog.pg_partition_tree($1::oid::regclass) tree
join pg_catalog.pg_class c on c.oid = tree.relid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where tree.isleaf
order by n.nspname, c.relname;

-- name: partition_columns
select coalesce(bool_or(p.partexprs is not null), false) as expressions,
       coalesce(array_agg(distinct a.attname::text) filter (where a.attname is not null), '{}') as columns
from pg_catalog.pg_partition_tree($1::oid::regclass) tree
join pg_catalog.pg_partitioned_table p on p.partrelid = tree.relid
left join pg_catalog.pg_attribute a on a.attrelid = p.partrelid and a.attnum = any (p.partattrs::int2[]) and a.attnum > 0;

-- name: leading_index
select exists (
    select
    from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    join pg_catalog.pg_am am on am.oid = c.relam
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = $1 and a.attname = $2 and am.amname = 'btree'
      and i.indisvalid and i.indisready and i.indpred is null
);

-- name: blocks
select pg_catalog.pg_relation_size($1::oid) / pg_catalog.current_setting('block_size')::int;

-- name: total_bytes
select pg_catalog.pg_total_relation_size(c.oid)
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2;
