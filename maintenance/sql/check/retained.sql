-- name: nearly
-- Indexes of a table that have the column and cannot be read in its order, or not for all rows.
select x.relname as name, am.amname as method, i.indisvalid and i.indisready as valid, i.indpred is not null as partial,
       a.attnum = i.indkey[0] as leads
from pg_catalog.pg_index i
join pg_catalog.pg_class x on x.oid = i.indexrelid
join pg_catalog.pg_am am on am.oid = x.relam
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attname = $2
where i.indrelid = $1 and a.attnum = any (i.indkey::int2[])
order by a.attnum = i.indkey[0] desc, x.relname;
