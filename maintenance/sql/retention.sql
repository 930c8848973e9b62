-- name: delete_stretch
-- One statement judges and deletes: a row that the application refreshes meanwhile is judged again by the server and stays.
delete from only {table} as {alias}
where ctid >= $2::tid and ctid < $3::tid
  and {column} < $1::{type} and {where};

-- name: delete_page
-- The page is found by the index; the delete goes by row address and repeats the whole rule. "At or after" the last
-- moment, since rows may share it. An array of addresses stays a TID scan where a join on ctid may not.
with page as materialized (
    select {alias}.ctid, {column} as moment
    from only {table} as {alias}
    where {column} < $1::{type} and ($2::text is null or {column} >= $2::text::{type}) and {where}
    order by {column}
    limit $3
),
gone as (
    delete from only {table} as {alias}
    where ctid = any (array(select page.ctid from page)) and {column} < $1::{type} and {where}
    returning 1
)
select (select count(*) from page) as found,
       (select count(*) from gone) as gone,
       (select max(moment)::text from page) as last;

-- name: count
select count(*) from only {table} as {alias} where {column} < $1::{type} and {where};

-- name: find
select from only {table} as {alias} where {column} < $1::{type} and {where};

-- name: something_stays
-- The first question is one look into an index where there is one; the second stops at the first row that stays.
select exists (select from {table} as {alias} where {column} >= $1::{type})
    or exists (select from {table} as {alias} where ({column} < $1::{type} and {where}) is not true)
    or not exists (select from {table});
