-- name: find
-- NULLs are the oldest, so that a row without a date never beats one that has one; a NULL in the key is never a duplicate.
-- The row's address decides between equals, so that exactly one stays.
select ranked.address as loser, ranked.winner_home, ranked.winner
from (
    select ctid as address, tableoid as home,
           first_value(tableoid) over rivals as winner_home,
           first_value(ctid) over rivals as winner,
           row_number() over rivals as place
    from {among}
    where {present}
    window rivals as (partition by {key} order by {order}, tableoid desc, ctid desc)
) as ranked
where ranked.place > 1 and ranked.home = {leaf}::oid;

-- name: count
select count(*)
from (
    select tableoid as home, row_number() over (partition by {key} order by {order}, tableoid desc, ctid desc) as place
    from {among}
    where {present}
) as ranked
where ranked.place > 1 and ranked.home = {leaf}::oid;

-- name: hold
-- "With hold" lets it outlive its transaction; "scroll" lets a batch that was rolled back be fetched again.
declare {cursor} scroll cursor with hold for {find};

-- name: move_all
move forward all in {cursor};

-- name: move
move absolute {position} in {cursor};

-- name: fetch
fetch forward {limit} from {cursor};

-- name: is_held
select exists (select from pg_catalog.pg_cursors where name = $1);

-- name: release
close {cursor};

-- name: claim_losers
select from only {table} as loser where loser.ctid = any ($1::tid[]) for update of loser;

-- name: claim_winners
-- Not FOR UPDATE: the newest row of a device is what the application's foreign keys refer to.
select from {among} as winner
join unnest($1::oid[], $2::tid[]) as pair (home, address) on winner.ctid = pair.address and winner.tableoid = pair.home
where winner.ctid = any ($2::tid[])
for no key update of winner;

-- name: delete_pairs
-- The whole rule again: same key, and a better row that is still there. Joined by address, so no index is needed.
with pair as materialized (
    select * from unnest($1::tid[], $2::oid[], $3::tid[]) as pair (loser, winner_home, winner)
)
delete from only {table} as loser
using pair, {among} as winner
where loser.ctid = any ($1::tid[]) and loser.ctid = pair.loser
  and winner.ctid = any ($3::tid[]) and winner.ctid = pair.winner and winner.tableoid = pair.winner_home
  and {same} and {better};
