-- name: columns
select a.attname as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type, a.attgenerated <> '' as generated
from pg_catalog.pg_attribute a
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped;

-- name: key
-- By what a row is known: the primary key, or else a unique index that no NULL gets around.
select array(
    select a.attname::text
    from unnest(i.indkey[0:i.indnkeyatts - 1]) with ordinality as k (number, place)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
    order by k.place
)
from pg_catalog.pg_index i
where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indisready and i.indpred is null and i.indexprs is null
  and (select bool_and(a.attnotnull) from pg_catalog.pg_attribute a
       where a.attrelid = i.indrelid and a.attnum = any (i.indkey[0:i.indnkeyatts - 1]))
order by i.indisprimary desc, i.indexrelid
limit 1;

-- name: deferrable
-- With one of these the server refuses "on conflict".
select exists (select from pg_catalog.pg_index i where i.indrelid = $1 and not i.indimmediate);

-- name: conflict
on conflict do nothing

-- name: fresh
-- What "on conflict" would leave out: the rows that are there, and of two with one key the one that was loaded later.
not exists (select from {table} as present where {same})
and not exists (select from pg_temp.maintenance_restored as present where {same} and present.ctid < held.ctid)

-- name: parents
select k.conrelid as child, k.confrelid as parent
from pg_catalog.pg_constraint k
where k.contype = 'f' and k.conrelid = any ($1::oid[]) and k.confrelid = any ($1::oid[]) and k.conrelid <> k.confrelid;

-- name: triggers
select string_agg(t.tgname, ', ' order by t.tgname)
from pg_catalog.pg_trigger t
where t.tgrelid = $1 and not t.tgisinternal and t.tgenabled in ('O', 'A');

-- name: hold
-- The columns and nothing else of the table: no constraint, no default, no trigger.
create temp table maintenance_restored on commit drop as select {columns} from {table} with no data;

-- name: known
analyze pg_temp.maintenance_restored;

-- name: content
row({values})::text collate "C"

-- name: put_by_key
-- What comes back is compared with what was to come back: a trigger may have had its own ideas.
with put as (
    insert into {table} ({columns}) overriding system value
    select {columns} from pg_temp.maintenance_restored as held
    where {fresh}
    {conflict}
    returning {content} as content
)
select (select count(*) from put) as inserted, (
    select count(*) from put
    where not exists (select from pg_temp.maintenance_restored as held where {held} = put.content)
) as changed;

-- name: put_by_content
-- Without a key rows are known by all that is in them, and so often as they are there already they are left out.
with present as materialized (
    select {present} as content, count(*) as times
    from {table} as present
    where {present} in (select {held} from pg_temp.maintenance_restored as held)
    group by 1
),
numbered as (
    select held.*, row_number() over (partition by {held}) as maintenance_number from pg_temp.maintenance_restored as held
),
put as (
    insert into {table} ({columns}) overriding system value
    select {columns}
    from numbered
    left join present as maintenance_present (maintenance_content, maintenance_times) on maintenance_content = {numbered}
    where maintenance_number > coalesce(maintenance_times, 0)
    {conflict}
    returning {content} as content
)
select (select count(*) from put) as inserted, (
    select count(*) from put
    where not exists (select from pg_temp.maintenance_restored as held where {held} = put.content)
) as changed;

-- name: missing_by_key
select count(*) from pg_temp.maintenance_restored as held
where not exists (select from {table} as present where {same});

-- name: missing_by_content
select coalesce(sum(greatest(held.times - coalesce(present.times, 0), 0)), 0)::bigint
from (select {held} as content, count(*) as times from pg_temp.maintenance_restored as held group by 1) as held
left join (
    select {present} as content, count(*) as times
    from {table} as present
    where {present} in (select {held} from pg_temp.maintenance_restored as held)
    group by 1
) as present on present.content = held.content;
