-- name: parts
-- The partitions of a table that is partitioned by ranges of exactly this column: where they end, what they have, and what
-- speaks against dropping one as a whole. The bounds are the server's own words, which it reads again.
with recursive child as (
    select c.oid, n.nspname as schema, c.relname as name, i.inhdetachpending as pending,
           pg_catalog.pg_get_expr(c.relpartbound, c.oid) as bounds
    from pg_catalog.pg_partitioned_table p
    join pg_catalog.pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
    join pg_catalog.pg_inherits i on i.inhparent = p.partrelid
    join pg_catalog.pg_class c on c.oid = i.inhrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where p.partrelid = $1 and p.partstrat = 'r' and p.partnatts = 1 and a.attname = $2
),
ranged as (
    select child.*, child.bounds = 'DEFAULT' as is_default,
           substring(child.bounds from $re$^FOR VALUES FROM \('(.*)'\) TO $re$)::{type} as begins,
           substring(child.bounds from $re$ TO \('(.*)'\)$$re$)::{type} as ends
    from child
),
tree as (
    select oid as root, oid from child
    union all
    select tree.root, i.inhrelid from tree join pg_catalog.pg_inherits i on i.inhparent = tree.oid
)
select ranged.oid, ranged.schema, ranged.name, ranged.is_default, ranged.pending,
       not ranged.is_default and ranged.ends operator(pg_catalog.<=) $3::{type} as due,
       not ranged.is_default and ranged.begins operator(pg_catalog.>=) $3::{type} as later,
       not exists (
           select from ranged as other
           where not other.is_default and other.oid <> ranged.oid
             and (other.ends is null or other.ends operator(pg_catalog.>) ranged.ends)
       ) as is_last,
       exists (select from ranged as other where other.is_default) as has_default,
       (select array_agg(tree.oid) from tree where tree.root = ranged.oid) as tables,
       (select sum(greatest(c.reltuples, pg_catalog.pg_stat_get_live_tuples(c.oid), 0))::bigint
        from tree join pg_catalog.pg_class c on c.oid = tree.oid
        where tree.root = ranged.oid and c.relkind = 'r') as rows,
       (select sum(pg_catalog.pg_relation_size(tree.oid))::bigint from tree where tree.root = ranged.oid) as bytes,
       (select min(why) from (
           select 'owner' as why from pg_catalog.pg_class c
           where (c.oid = $1 or c.oid in (select tree.oid from tree where tree.root = ranged.oid))
             and not pg_catalog.pg_has_role(c.relowner, 'USAGE')
           union all
           select 'reference' from pg_catalog.pg_constraint k
           where k.contype = 'f' and (k.confrelid = $1 or k.confrelid in (select tree.oid from tree where tree.root = ranged.oid))
           union all
           -- Bit 3 of the type of a trigger: on delete.
           select 'trigger' from pg_catalog.pg_trigger t
           where (not t.tgisinternal or t.tgparentid <> 0) and t.tgenabled <> 'D' and t.tgtype & 8 <> 0
             and (t.tgrelid = $1 or t.tgrelid in (select tree.oid from tree where tree.root = ranged.oid))
           union all
           select 'view' from pg_catalog.pg_depend d
           where d.refclassid = 'pg_catalog.pg_class'::regclass and d.classid = 'pg_catalog.pg_rewrite'::regclass
             and d.refobjid in (select tree.oid from tree where tree.root = ranged.oid)
           union all
           -- DROP TABLE would refuse, with the partition detached by then: a function's body, a policy, a column of its row
           -- type, a default by a sequence that it owns. What is the partition's own goes with it.
           select 'dependency' from pg_catalog.pg_depend d
           left join pg_catalog.pg_constraint k on d.classid = 'pg_catalog.pg_constraint'::regclass and k.oid = d.objid
           left join pg_catalog.pg_attrdef f on d.classid = 'pg_catalog.pg_attrdef'::regclass and f.oid = d.objid
           left join pg_catalog.pg_policy y on d.classid = 'pg_catalog.pg_policy'::regclass and y.oid = d.objid
           left join pg_catalog.pg_trigger t on d.classid = 'pg_catalog.pg_trigger'::regclass and t.oid = d.objid
           where d.deptype = 'n' and d.classid <> 'pg_catalog.pg_rewrite'::regclass and k.contype is distinct from 'f'
             and coalesce(k.conrelid, f.adrelid, y.polrelid, t.tgrelid, 0)
                 not in (select tree.oid from tree where tree.root = ranged.oid)
             and (
                 d.refclassid = 'pg_catalog.pg_class'::regclass and (
                     d.refobjid in (select tree.oid from tree where tree.root = ranged.oid)
                     or d.refobjid in (
                         select own.objid from pg_catalog.pg_depend own
                         where own.classid = own.refclassid and own.refclassid = 'pg_catalog.pg_class'::regclass
                           and own.deptype in ('a', 'i')
                           and own.refobjid in (select tree.oid from tree where tree.root = ranged.oid)
                     )
                 )
                 or d.refclassid = 'pg_catalog.pg_type'::regclass and d.refobjid in (
                     select row.oid from pg_catalog.pg_class c
                     join pg_catalog.pg_type whole on whole.oid = c.reltype
                     join pg_catalog.pg_type row on row.oid in (whole.oid, whole.typarray)
                     where c.oid in (select tree.oid from tree where tree.root = ranged.oid)
                 )
             )
           union all
           select 'publication' from pg_catalog.pg_publication_tables p
           join pg_catalog.pg_publication b on b.pubname = p.pubname and b.pubdelete
           join pg_catalog.pg_namespace n on n.nspname = p.schemaname
           join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
           where c.oid in (select relid from pg_catalog.pg_partition_ancestors($1::oid))
              or c.oid in (select tree.oid from tree where tree.root = ranged.oid)
       ) as hindrance) as hindrance
from ranged
order by ranged.ends nulls last, ranged.oid;

-- name: state
-- What has become of a partition that an earlier batch began to take out.
select n.nspname as schema, c.relname as name, i.inhparent as parent, coalesce(i.inhdetachpending, false) as pending
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_inherits i on i.inhrelid = c.oid
where c.oid = $1;

-- name: detach
alter table {table} detach partition {partition} concurrently;

-- name: finalize
alter table {table} detach partition {partition} finalize;

-- name: lock_whole
-- In the order of DROP TABLE and of every reader: whoever has the table and waits for its partition would else wait for us,
-- and we for them, and the server would end the one who has waited longer: the application.
lock table only {table} in access exclusive mode;

-- name: lock
lock table {partition} in access exclusive mode;

-- name: by_constraints
-- The bounds of the partition, which a detached one keeps as a constraint, then answer without a look at the rows.
select pg_catalog.set_config('constraint_exclusion', 'on', true);

-- name: something_stays
select exists (
    select from {partition}
    where {column} operator(pg_catalog.>=) $1::{type} or {column} is null
);

-- name: count
select count(*) from {partition};

-- name: drop
drop table {partition};
