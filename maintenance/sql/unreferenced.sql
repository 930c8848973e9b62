-- name: scalar_uses
select source.tableoid as home, source.ctid as address, source.{column} as value
    from {reference} as source where source.{column} is not null

-- name: array_uses
select source.tableoid as home, source.ctid as address, element.value
    from {reference} as source cross join lateral unnest(source.{column}) as element (value) where element.value is not null

-- name: uses
-- DISTINCT takes out what one row refers to twice, in one array or in two columns.
select value, count(*) as uses from (
    select distinct home, address, value from (
    {union}
    ) as naming
) as use group by value

-- name: no_uses
select {column} as value, 0::bigint as uses from {table} where false

-- name: witness
exists (select from {reference})

-- name: any_use
select exists ({uses});

-- name: any_value
select exists (select from {table} as entry where entry.{column} is not null);

-- name: count
with referenced as materialized ({uses})
select count(*) from {only} {table} as entry {sample}
where entry.{column} is not null
  and not exists (select from referenced where referenced.value {equals} entry.{column});

-- name: count_wrong
with referenced as materialized ({uses})
select count(*) from only {table} as entry
join referenced on referenced.value {equals} entry.{column}
where false {changed};

-- name: find
with referenced as materialized ({uses})
select {what} from {only} {table} as entry
where entry.{column} is not null
  and not exists (select from referenced where referenced.value {equals} entry.{column});

-- name: changed
or entry.{count_column} is distinct from referenced.uses

-- name: claim_stretch
-- Locked before they are judged for good: a reference that comes while we wait for a lock is not in our snapshot, and a
-- foreign key would take the new reference along with the entry.
with referenced as materialized ({uses})
select entry.ctid, referenced.uses is null as unused
from only {table} as entry
left join referenced on referenced.value {equals} entry.{column}
where entry.ctid >= {first}::tid and entry.ctid < {last}::tid and entry.{column} is not null
  and (referenced.uses is null {changed})
for update of entry {patience};

-- name: count_stretch
with referenced as materialized ({uses})
select count(*)
from only {table} as entry
left join referenced on referenced.value {equals} entry.{column}
where entry.ctid >= {first}::tid and entry.ctid < {last}::tid and entry.{column} is not null
  and (referenced.uses is null {changed});

-- name: judged
referenced as materialized ({uses}),
target as materialized (
    select entry.ctid as address, referenced.uses
    from only {table} as entry
    left join referenced on referenced.value {equals} entry.{column}
    where entry.ctid = any ({first}::tid[]) and entry.{column} is not null and (referenced.uses is null {changed})
)

-- name: delete_claimed
-- The witnesses are asked in every batch: a reference that is emptied meanwhile must not empty the catalog.
with {judged}
delete from only {table} as entry
where {witnessed} and entry.ctid = any (array(select address from target where uses is null));

-- name: count_claimed
with {judged}
update only {table} as entry set {count_column} = target.uses
from target
where target.uses is not null and entry.ctid = target.address;
