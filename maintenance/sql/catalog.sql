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

-- name: alike
-- What the name may have been meant for; the tables that a client would find by it.
select n.nspname || '.' || c.relname
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where lower(c.relname) = lower($1) and c.relname <> $1 and c.relkind in ('r', 'p')
  and case when $2::text is null then n.nspname = any (pg_catalog.current_schemas(false)) else n.nspname = $2 end
order by 1
limit 1;

-- name: columns
-- A domain may be over a domain; the innermost type is the one that compares.
with recursive base as (
    select a.attnum, a.attname, a.atttypid as type
    from pg_catalog.pg_attribute a
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
    union all
    select base.attnum, base.attname, t.typbasetype
    from base join pg_catalog.pg_type t on t.oid = base.type where t.typtype = 'd'
)
select base.attname as name,
       pg_catalog.format_type(t.oid, null) as type,
       case when t.typcategory = 'A' then pg_catalog.format_type(t.typelem, null) end as element,
       compared.oid as compared,
       case when compared.typnamespace = 'pg_catalog'::regnamespace then 'pg_catalog' end as operators
from base
join pg_catalog.pg_type t on t.oid = base.type
join pg_catalog.pg_type compared on compared.oid = case when t.typelem <> 0 and t.typcategory = 'A' then t.typelem else t.oid end
where t.typtype <> 'd'
order by base.attnum;

-- name: operators
-- Asked only where a type is not the server's own: to plan this costs more than most steps.
select n.nspname
from pg_catalog.pg_opclass c
join pg_catalog.pg_amop o on o.amopfamily = c.opcfamily and o.amopstrategy = 3
     and o.amoplefttype = c.opcintype and o.amoprighttype = c.opcintype
join pg_catalog.pg_operator op on op.oid = o.amopopr
join pg_catalog.pg_namespace n on n.oid = op.oprnamespace
join pg_catalog.pg_am am on am.oid = c.opcmethod and am.amname = 'btree'
where c.opcdefault and c.opcintype = $1
limit 1;

-- name: leaves
-- Not by pg_partition_tree, which waits where a partition is locked.
with recursive tree as (
    select $1::oid as oid
    union all
    select i.inhrelid from tree join pg_catalog.pg_inherits i on i.inhparent = tree.oid
)
select c.oid, n.nspname as schema, c.relname as name, c.relkind::text as kind
from tree
join pg_catalog.pg_class c on c.oid = tree.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind <> 'p'
order by n.nspname, c.relname;

-- name: ancestors
with recursive up as (
    select inhparent as oid from pg_catalog.pg_inherits where inhrelid = $1
    union all
    select i.inhparent from up join pg_catalog.pg_inherits i on i.inhrelid = up.oid
)
select c.relname as name from up join pg_catalog.pg_class c on c.oid = up.oid;

-- name: partition_columns
with recursive tree as (
    select $1::oid as oid
    union all
    select i.inhrelid from tree join pg_catalog.pg_inherits i on i.inhparent = tree.oid
)
select coalesce(bool_or(p.partexprs is not null or exists (
           -- What the partitions tell apart, the column's own type and collation may not.
           select from generate_series(0, p.partnatts - 1) as k (place)
           join pg_catalog.pg_attribute c on c.attrelid = p.partrelid and c.attnum = p.partattrs[k.place]
           join pg_catalog.pg_type t on t.oid = c.atttypid
           left join pg_catalog.pg_type b on b.oid = t.typbasetype
           join pg_catalog.pg_opclass o on o.oid = p.partclass[k.place]
           where not o.opcdefault or p.partcollation[k.place] <> c.attcollation or b.typtype = 'd'
              or exists (
                  select from pg_catalog.pg_opclass own
                  where own.opcdefault and own.opcmethod = o.opcmethod and own.oid <> o.oid
                    and own.opcintype = coalesce(b.oid, t.oid)
              )
       )), false) as expressions,
       coalesce(array_agg(distinct a.attname::text) filter (where a.attname is not null), '{}') as columns
from tree
join pg_catalog.pg_partitioned_table p on p.partrelid = tree.oid
left join pg_catalog.pg_attribute a on a.attrelid = p.partrelid and a.attnum = any (p.partattrs::int2[]) and a.attnum > 0;

-- name: leading_indexes
-- B-tree indexes that can be read in the order of the column.
select c.relname as name, i.indpred is not null as partial
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_am am on am.oid = c.relam
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
where i.indrelid = $1 and a.attname = $2 and am.amname = 'btree' and i.indisvalid and i.indisready
order by 2, 1;

-- name: shape
-- How a table lies on its disk, as far as its statistics know.
select pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int as blocks,
       (select s.correlation::float8 from pg_catalog.pg_stats s
        where s.schemaname = n.nspname and s.tablename = c.relname and s.attname = $2 and not s.inherited) as correlation,
       pg_catalog.has_any_column_privilege(c.oid, 'UPDATE') as lockable
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = $1;

-- name: lockable
select pg_catalog.has_any_column_privilege($1::oid, 'UPDATE');

-- name: blocks
select pg_catalog.pg_relation_size($1::oid) / pg_catalog.current_setting('block_size')::int;

-- name: database_bytes
select pg_catalog.pg_database_size(pg_catalog.current_database());

-- name: total_bytes
-- With the limit for the statements after it, which saves each step a round trip.
select {bytes}, pg_catalog.set_config('statement_timeout', $2, false);

-- name: bytes
-- A partitioned table has no bytes of its own.
(
    with recursive tree as (
        select {oid} as oid
        union all
        select i.inhrelid from tree
        join pg_catalog.pg_inherits i on i.inhparent = tree.oid
        where exists (select from pg_catalog.pg_partitioned_table p where p.partrelid = tree.oid)
    )
    select sum(pg_catalog.pg_total_relation_size(tree.oid))::bigint from tree
)

-- name: unique_index
-- A valid unique index on these columns, or on some of them: no two rows can have the same key. As the column's own type and
-- collation compare: an index by another operator class or collation may tell apart what they do not (a citext by text_ops).
select c.relname
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indisready and i.indpred is null and i.indexprs is null
  and (select bool_and(a.attname::text = any ($2::text[]))
       from unnest(i.indkey[0:i.indnkeyatts - 1]) as k (number)
       join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number)
  and not exists (
      select from generate_series(0, i.indnkeyatts - 1) as k (place)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[k.place]
      join pg_catalog.pg_type t on t.oid = a.atttypid
      left join pg_catalog.pg_type b on b.oid = t.typbasetype
      join pg_catalog.pg_opclass o on o.oid = i.indclass[k.place]
      where not o.opcdefault or i.indcollation[k.place] <> a.attcollation or b.typtype = 'd'
         or exists (
             select from pg_catalog.pg_opclass own
             where own.opcdefault and own.opcmethod = o.opcmethod and own.oid <> o.oid
               and own.opcintype = coalesce(b.oid, t.oid)
         )
  )
order by c.relname
limit 1;

-- name: foreign_key
-- A validated foreign key of exactly these columns whose triggers are at work. What replication applies, they do not see.
-- Of partitions each has a constraint of its own, and those of the parent belong to the constraint of the whole: so from
-- there, and all of them. One that the whole parent's partitions share is no promise of a single one of them.
select k.conname
from pg_catalog.pg_constraint k
cross join lateral (
    with recursive up as (
        select k.oid, k.conparentid, k.confrelid
        union all
        select p.oid, p.conparentid, p.confrelid from up join pg_catalog.pg_constraint p on p.oid = up.conparentid
    ),
    kin as (
        select up.oid from up where up.conparentid = 0
        union all
        select c.oid from kin join pg_catalog.pg_constraint c on c.conparentid = kin.oid
    )
    select (select up.confrelid from up where up.conparentid = 0) as parent, array(select kin.oid from kin) as oids
) as whole
join pg_catalog.pg_attribute child on child.attrelid = k.conrelid and child.attnum = k.conkey[1]
join pg_catalog.pg_attribute parent on parent.attrelid = k.confrelid and parent.attnum = k.confkey[1]
where k.contype = 'f' and k.convalidated and cardinality(k.conkey) = 1
  and k.conrelid = $1 and child.attname = $2 and k.confrelid = $3 and parent.attname = $4
  and whole.parent = $3
  and exists (select from pg_catalog.pg_trigger t where t.tgconstraint = k.oid)
  and not exists (
      select from pg_catalog.pg_trigger t where t.tgconstraint = any (whole.oids) and t.tgenabled not in ('O', 'A')
  )
  and not exists (select from pg_catalog.pg_subscription_rel s where s.srrelid in ($1, $3))
order by k.conname
limit 1;
