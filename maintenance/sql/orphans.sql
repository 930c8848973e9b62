-- name: parentless
not exists (select from {parent} as parent where parent.{key} = child.{column})

-- name: witness
and exists (select from {parent})

-- name: count
select count(*) from only {table} as child where child.{column} is not null and {aged} and {parentless};

-- name: find
select from only {table} as child where child.{column} is not null and {aged} and {parentless};

-- name: any_child
select exists (select from {table} as child where child.{column} is not null);

-- name: delete_stretch
-- `version` keeps a row that is written to while we wait for its lock: the server would judge its new content, but look
-- for the parent with our old snapshot and miss one that came in the same transaction.
with orphan as materialized (
    select child.ctid, child.xmin as version
    from only {table} as child
    where child.ctid >= {first}::tid and child.ctid < {last}::tid
      and child.{column} is not null and {aged} and {parentless}
)
delete from only {table} as child
using orphan
where child.ctid = any (array(select orphan.ctid from orphan))
  and child.ctid = orphan.ctid and child.xmin = orphan.version;
