-- name: parentless
not exists (select from {parent} as parent where parent.{key} {equals} child.{column})

-- name: witness
exists (select from {parent} as parent where parent.{key} is not null)

-- name: count
select count(*) from {only} {table} as child {sample} where child.{column} is not null and {aged} and {parentless};

-- name: find
select {what} from only {table} as child where child.{column} is not null and {aged} and {parentless};

-- name: any_parent
select {witness};

-- name: any_child
select exists (select from {table} as child where child.{column} is not null);

-- name: claim_stretch
-- Locked before they are judged for good: a statement that waits for a row's lock judges the row's new content, but looks
-- for its parent with the snapshot from before the wait, and misses one that came meanwhile.
select child.ctid
from only {table} as child
where child.ctid >= {first}::tid and child.ctid < {last}::tid
  and child.{column} is not null and {aged} and {parentless}
for update of child {patience};

-- name: count_stretch
select count(*) from only {table} as child
where child.ctid >= {first}::tid and child.ctid < {last}::tid
  and child.{column} is not null and {aged} and {parentless};

-- name: delete_claimed
delete from only {table} as child
where child.ctid = any ({first}::tid[])
  and child.{column} is not null and {aged} and {parentless};
