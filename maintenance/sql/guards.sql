-- name: obstacles
-- Tables where a DELETE does not do what it says. Triggers: bit 0 of the type is "for each row", bit 1 "before", bit 3 "on
-- delete". A published table tells its subscribers which row went by its replica identity; without one the server refuses.
with recursive up as (
    select c.oid, c.oid as published from pg_catalog.pg_class c where c.relkind = 'r'
    union all
    select up.oid, i.inhparent from up join pg_catalog.pg_inherits i on i.inhrelid = up.published
)
select c.oid, found.triggers, found.rules, found.children, found.anonymous
from pg_catalog.pg_class c
cross join lateral (
    select array(select t.tgname::text from pg_catalog.pg_trigger t
                 where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled in ('O', 'A') and t.tgtype & 11 = 11
                 order by 1) as triggers,
           array(select r.rulename::text from pg_catalog.pg_rewrite r
                 where r.ev_class = c.oid and r.ev_type = '4' and r.ev_enabled in ('O', 'A') order by 1) as rules,
           array(select n.nspname || '.' || k.relname
                 from pg_catalog.pg_inherits i
                 join pg_catalog.pg_class k on k.oid = i.inhrelid
                 join pg_catalog.pg_namespace n on n.oid = k.relnamespace
                 where i.inhparent = c.oid order by 1) as children,
           array(select p.pubname::text from pg_catalog.pg_publication p
                 where p.pubdelete
                   and (c.relreplident = 'n'
                        or (c.relreplident = 'd' and not exists (
                            select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary and i.indisvalid and i.indimmediate))
                        or (c.relreplident = 'i' and not exists (
                            select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisreplident and i.indisvalid)))
                   and exists (
                       select from pg_catalog.pg_publication_tables t
                       join up on up.oid = c.oid
                       join pg_catalog.pg_class o on o.oid = up.published and o.relname = t.tablename
                       join pg_catalog.pg_namespace m on m.oid = o.relnamespace and m.nspname = t.schemaname
                       where t.pubname = p.pubname)
                 order by 1) as anonymous
) as found
where c.relkind = 'r' and c.relpersistence <> 't'
  and cardinality(found.triggers) + cardinality(found.rules) + cardinality(found.children) + cardinality(found.anonymous) > 0;

-- name: foreign_keys
-- Those that do something to their own rows when the row that they refer to goes. Of partitioned tables the key as it was
-- declared; what it is about are the table and all its partitions.
select k.oid, k.conname as name, k.confdeltype::text as action, k.confrelid as parent,
       n.nspname as schema, c.relname as table, c.oid as child,
       array(select a.attname::text from unnest(k.conkey) with ordinality as at (number, place)
             join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = at.number order by at.place) as columns,
       array(select a.attname::text from unnest(k.confkey) with ordinality as at (number, place)
             join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = at.number order by at.place) as keys,
       array(select format('operator(%I.%s)', m.nspname, o.oprname)
             from unnest(k.conpfeqop) with ordinality as at (operator, place)
             join pg_catalog.pg_operator o on o.oid = at.operator
             join pg_catalog.pg_namespace m on m.oid = o.oprnamespace order by at.place) as operators
from pg_catalog.pg_constraint k
join pg_catalog.pg_class c on c.oid = k.conrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where k.contype = 'f' and k.conparentid = 0 and k.confdeltype in ('c', 'n', 'd')
order by k.conname, k.oid;

-- name: taken_along
select count(*) from {child} as taken where {taken} and {besides};

-- name: doomed_there
select {what} from {child} as taken where {taken}

-- name: taken
-- By the operators of the key itself: the search path may have no other for its types.
exists (select from ({doomed}) as maintenance_doomed ({keys}) where {same})

-- name: besides
-- What refers to its own table may go by the rule itself, and is counted there.
not exists (
    select from ({doomed}) as maintenance_doomed (home, address)
    where maintenance_doomed.home = taken.tableoid and maintenance_doomed.address = taken.ctid
)

-- name: some_left
select address from ({doomed}) as maintenance_left (address) limit 1000;

-- name: probe
delete from only {table} where ctid = any ($1::tid[]);

-- name: still_there
-- What others have changed or taken meanwhile is not at its address any more.
select count(*) from only {table} where ctid = any ($1::tid[]);

-- name: family
-- A table, and what it is a partition of: foreign keys may refer to either.
select $1::oid as oid union select relid from pg_catalog.pg_partition_ancestors($1::oid);

-- name: how_many
select count(*) from {only} {table};

-- name: all_rows
select from {only} {table};

-- name: sample
tablesample system ({percent})

-- name: relation
select c.oid, c.relkind = 'p' as partitioned
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2;

-- name: columns_of
-- What an approval is good for: the same columns of the same types.
select coalesce(pg_catalog.string_agg(
           a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ',' order by a.attnum), '')
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped;
