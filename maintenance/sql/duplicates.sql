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
where ranked.place > 1 and ranked.home = {leaf}::oid

-- name: chunks
-- In the order of the heap, so that each of its pages is dirtied once. As text, a hundred at a time: they come back as they are.
select array_agg(loser)::text as losers, array_agg(winner)::text as winners, {homes} as homes, count(*) as pairs
from (
    select found.*, (row_number() over (order by found.loser) - 1) / {chunk} as chunk from ({find}) as found
) as numbered
group by chunk
order by chunk;

-- name: sorted
-- One sort of what the rule reads beats an index that jumps about the heap, also where the planner thinks otherwise; and
-- groups that come in their order need no memory.
select pg_catalog.set_config('enable_indexscan', 'off', true), pg_catalog.set_config('enable_bitmapscan', 'off', true),
       pg_catalog.set_config('enable_hashagg', 'off', true);

-- name: count
select count(*)
from (
    select tableoid as home, row_number() over (partition by {key} order by {order}, tableoid desc, ctid desc) as place
    from {among}
    where {present}
) as ranked
where ranked.place > 1 and ranked.home = {leaf}::oid;

-- name: count_all
select count(*) - count(distinct ({key})) from {among} where {present};

-- name: doomed
select {what} from only {table} as loser where loser.ctid in (select found.loser from ({find}) as found)

-- name: hold
-- "With hold" lets it outlive its transaction; "scroll" lets a batch that was rolled back be fetched again.
declare {cursor} scroll cursor with hold for {find};

-- name: move_all
move forward all in {cursor};

-- name: last
fetch last from {cursor};

-- name: move
move absolute {position} in {cursor};

-- name: fetch
fetch forward {limit} from {cursor};

-- name: is_held
select exists (select from pg_catalog.pg_cursors where name = $1);

-- name: release
close {cursor};

-- name: joined_by_hash
-- How many addresses an array will have, the planner cannot know; it takes ten for granted.
select pg_catalog.set_config('enable_nestloop', 'off', true);

-- name: delete_losers
-- The winners are locked first, and what the lock gives us is what they are now, not what they were: nobody can take one away
-- while we wait for a loser. Not FOR UPDATE: the newest row of a device is what the application's foreign keys refer to.
-- Then the whole rule again: same key, and a better row that is still there. Both by address, so no index is needed.
with given as materialized (
    select * from unnest($1::text::tid[], $2::text::tid[]{homes}) as {given}
),
free as materialized (
    {free}
),
winner as materialized (
    select winner.tableoid, winner.ctid, {compared}
    from {among} as winner
    where winner.ctid = any (array(select given.winner from given)) {at_home}
    for no key update of winner {patience}
)
delete from only {table} as loser
using winner {pairs}
where loser.ctid = any (array(select free.loser from free)) {paired} and {same} and {better};

-- name: homes
array_agg(winner_home)::text

-- name: paired
-- Where the operators may be another schema's, keys are compared as records, which not every type lets a hash find.
and loser.ctid = given.loser and winner.ctid = given.winner

-- name: given_here
given (loser, winner)

-- name: given_across
given (loser, winner, home)

-- name: at_home
and winner.tableoid = any (array(select distinct given.home from given))

-- name: all_losers
select given.loser from given

-- name: free_losers
select loser.ctid as loser from only {table} as loser
where loser.ctid = any (array(select given.loser from given))
for update of loser skip locked
