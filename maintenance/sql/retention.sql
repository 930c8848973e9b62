-- name: delete_stretch
-- One statement judges and deletes: a row that the application refreshes meanwhile is judged again by the server and stays.
delete from only {table} as {alias}
where ctid >= $2::tid and ctid < $3::tid
  and {column} operator(pg_catalog.<) $1::{type} and {where};

-- name: claim_stretch
-- A condition on other rows is judged by the snapshot of the statement, which is old when a lock was waited for. So lock
-- first, and judge again in a statement that waits for nothing.
select {alias}.ctid
from only {table} as {alias}
where {alias}.ctid >= $2::tid and {alias}.ctid < $3::tid
  and {column} operator(pg_catalog.<) $1::{type} and {where}
for update of {alias};

-- name: delete_claimed
delete from only {table} as {alias}
where ctid = any ($2::tid[]) and {column} operator(pg_catalog.<) $1::{type} and {where};

-- name: delete_page
-- The page is what the index gives, judged or not, so that its size bounds the work; the delete goes by row address and
-- holds the whole rule. "At or after" the last moment, since rows may share it. An array of addresses stays a TID scan
-- where a join on ctid may not. The names of the parts must not hide a table that the policy's condition names.
with maintenance_page as materialized (
    select {alias}.ctid, {column} as moment
    from only {table} as {alias}
    where {column} operator(pg_catalog.<) $1::{type}
      and ($2::text is null or {column} operator(pg_catalog.>=) $2::text::{type})
      and ($4::text is null or {column} operator(pg_catalog.<=) $4::text::{type})
    order by {column}
    limit $3
),
maintenance_gone as (
    delete from only {table} as {alias}
    where ctid = any (array(select maintenance_page.ctid from maintenance_page))
      and {column} operator(pg_catalog.<) $1::{type} and {where}
    returning 1
)
select (select count(*) from maintenance_page) as found,
       (select count(*) from maintenance_gone) as gone,
       (select max(moment)::text from maintenance_page) as last;

-- name: count
select count(*) from only {table} as {alias} where {column} operator(pg_catalog.<) $1::{type} and {where};

-- name: find
select from only {table} as {alias} where {column} operator(pg_catalog.<) $1::{type} and {where};

-- name: overdue
-- By the clock of the run's cutoff. One look into an index where there is one. An infinite moment has no age.
select pg_catalog.date_part('epoch', $1::{type}::timestamp operator(pg_catalog.-) {column}::timestamp)
from only {table} as {alias}
where {column} operator(pg_catalog.<) $1::{type} and pg_catalog.isfinite({column}) and {where}
order by {column}
limit 1;

-- name: something_stays
-- The first question is one look into an index where there is one; the second stops at the first row that stays.
select exists (select from {only} {table} as {alias} where {column} operator(pg_catalog.>=) $1::{type})
    or exists (
        select from {only} {table} as {alias}
        where ({column} operator(pg_catalog.<) $1::{type} and {where}) is not true
    )
    or not exists (select from {only} {table});
