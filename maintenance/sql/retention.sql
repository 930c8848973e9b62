-- name: heap_stretch
{alias}.ctid >= $2::tid and {alias}.ctid < $3::tid

-- name: keyset_stretch
-- Bounds that are NULL, and what they bound, are gone once the statement is planned: its plan is made for its values.
({column} operator(pg_catalog.{from}) $2::text::{type} or $2::text is null)
  and ({column} operator(pg_catalog.<) $3::text::{type} or $3::text is null)

-- name: moment_stretch
{column} operator(pg_catalog.=) $2::text::{type} and $3::text is not null

-- name: delete_stretch
-- One statement judges and deletes: a row that the application refreshes meanwhile is judged again by the server and stays.
delete from only {table} as {alias}
where {stretch} and {column} operator(pg_catalog.<) $1::{type} and {where};

-- name: count_stretch
select count(*) from only {table} as {alias}
where {stretch} and {column} operator(pg_catalog.<) $1::{type} and {where};

-- name: claim_stretch
-- A condition on other rows is judged by the snapshot of the statement, which is old when a lock was waited for. So lock
-- first, and judge again in a statement that waits for nothing.
select {alias}.ctid
from only {table} as {alias}
where {stretch} and {column} operator(pg_catalog.<) $1::{type} and {where}
for update of {alias} {patience};

-- name: delete_claimed
delete from only {table} as {alias}
where ctid = any ($2::tid[]) and {column} operator(pg_catalog.<) $1::{type} and {where};

-- name: by_index
-- The question is which index could serve, not what costs least.
select pg_catalog.set_config('enable_seqscan', 'off', true);

-- name: boundary
-- Where the batch ends: the moment that so many rows lie in front of. The index is all that is read, where its pages are
-- known to be visible. The text of that one moment only.
select maintenance_end.moment::text
from (
    select {column} as moment
    from only {table} as {alias}
    where {column} operator(pg_catalog.<) $1::{type} and {indexed}
      and ($2::text is null or {column} operator(pg_catalog.{from}) $2::text::{type})
      and ($3::text is null or {column} operator(pg_catalog.<) $3::text::{type})
    order by {alias}.{column}
    offset $4 limit 1
) as maintenance_end;

-- name: find_moment
-- So many rows share one moment that they are more than a batch. Not locked: the statement that deletes them judges them anew.
select {alias}.ctid
from only {table} as {alias}
where {column} operator(pg_catalog.=) $2::text::{type} and {column} operator(pg_catalog.<) $1::{type} and {where}
limit $3;

-- name: count
select count(*) from {only} {table} as {alias} {sample} where {column} operator(pg_catalog.<) $1::{type} and {where};

-- name: find
select {what} from only {table} as {alias} where {column} operator(pg_catalog.<) $1::{type} and {where};

-- name: floor
-- The moment of the row that so many are as new as, or newer; that of the oldest one where there are not so many.
select least($1::{type}, coalesce(
    (select {column} from {only} {table} where {column} is not null order by {column} desc offset $2::bigint - 1 limit 1),
    (select min({column}) from {only} {table})
));

-- name: beaten
-- Whether as many rows of its key are newer as are to stay. The first comparison is what an index is read by.
({unkeyed} or exists (
    select from {whole} as maintenance_newer
    where {same} and maintenance_newer.{column} operator(pg_catalog.>=) {alias}.{column}
      and row(maintenance_newer.{column}, maintenance_newer.tableoid, maintenance_newer.ctid)
          operator(pg_catalog.>) row({alias}.{column}, {alias}.tableoid, {alias}.ctid)
    offset {others} limit 1
))

-- name: find_due
select from only {table} as {alias} where {column} operator(pg_catalog.<) $1::{type};

-- name: find_any
select from only {table};

-- name: overdue
-- By the clock of the run's cutoff, in seconds; null if nothing is due. One look into an index where there is one. An infinite
-- moment has no age: -1 says that there is nothing else.
select coalesce(
    (select pg_catalog.date_part('epoch', $1::{type}::timestamp operator(pg_catalog.-) {column}::timestamp)
     from {only} {table} as {alias}
     where {column} operator(pg_catalog.<) $1::{type} and pg_catalog.isfinite({column}) and {where}
     order by {column}
     limit 1),
    case when exists (
        select from {only} {table} as {alias} where {column} operator(pg_catalog.=) '-infinity'::{type} and {where}
    ) then -1 end
);

-- name: any_own_function
-- What is not immutable may read tables.
select exists (
    select from pg_catalog.pg_proc p
    where p.proname = any ($1::text[]) and p.provolatile <> 'i' and p.pronamespace <> 'pg_catalog'::regnamespace
);

-- name: stays_at_end
-- Where rows come in the order of time, the last blocks have what stays.
select exists (
    select from only {table} as {alias}
    where ctid >= $2::tid and {column} operator(pg_catalog.>=) $1::{type}
);

-- name: something_stays
-- The first question is one look into an index where there is one; the second stops at the first row that stays.
select exists (select from {only} {table} as {alias} where {column} operator(pg_catalog.>=) $1::{type})
    or exists (
        select from {only} {table} as {alias}
        where ({column} operator(pg_catalog.<) $1::{type} and {where}) is not true
    )
    or not exists (select from {only} {table});
