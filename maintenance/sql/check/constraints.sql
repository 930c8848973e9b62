-- name: unvalidated
-- A foreign key of exactly these columns that nobody has validated. A partition's is validated by the whole's.
-- From PostgreSQL 18 on it may also be one that is not enforced at all.
select k.conname::text as name, coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::boolean, true) as enforced
from pg_catalog.pg_constraint k
join pg_catalog.pg_attribute child on child.attrelid = k.conrelid and child.attnum = k.conkey[1]
join pg_catalog.pg_attribute parent on parent.attrelid = k.confrelid and parent.attnum = k.confkey[1]
where k.contype = 'f' and not k.convalidated and cardinality(k.conkey) = 1
  and k.conrelid = $1 and child.attname = $2 and k.confrelid = $3 and parent.attname = $4
order by k.conname limit 1;

-- name: enforced
-- A valid foreign key all the same, though its triggers are off or another of the catalog's conditions for a proof is not met.
select exists (
    select from pg_catalog.pg_constraint k
    join pg_catalog.pg_attribute child on child.attrelid = k.conrelid and child.attnum = k.conkey[1]
    join pg_catalog.pg_attribute parent on parent.attrelid = k.confrelid and parent.attnum = k.confkey[1]
    where k.contype = 'f' and k.convalidated and cardinality(k.conkey) = 1
      and k.conrelid = $1 and child.attname = $2 and k.confrelid = $3 and parent.attname = $4
);

-- name: referable
-- Whether a foreign key may refer to the column: it needs a unique index of it alone, with all rows, checked at once.
select exists (
    select from pg_catalog.pg_index i
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = $1 and a.attname = $2 and i.indnkeyatts = 1 and i.indisunique and i.indisvalid and i.indimmediate
      and i.indpred is null and i.indexprs is null
);

-- name: names
-- What an index of this table must not be called, of the names that begin so.
select c.relname::text as name
from pg_catalog.pg_class c
where c.relnamespace = (select t.relnamespace from pg_catalog.pg_class t where t.oid = $1)
  and starts_with(c.relname::text, $2)
union
select k.conname::text from pg_catalog.pg_constraint k where k.conrelid = $1 and starts_with(k.conname::text, $2);

-- name: removed
-- What the rule has deleted in the last 30 days.
select coalesce(sum(s.rows), 0)::bigint as rows, count(distinct s.run_id) filter (where s.rows > 0) as runs
from maintenance.step s
join maintenance.run r on r.id = s.run_id
where s.task = $1 and s.table_name = any ($2::text[]) and r.started_at > pg_catalog.statement_timestamp() - interval '30 days';

-- name: led
-- Whether an index of all rows leads with the column, so that the rows of one value are found without reading the table.
select exists (
    select from pg_catalog.pg_index i
    join pg_catalog.pg_class x on x.oid = i.indexrelid
    join pg_catalog.pg_am am on am.oid = x.relam and am.amname in ('btree', 'hash')
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = $1::oid and a.attname = $2 and i.indisvalid and i.indpred is null
);
