-- name: of_users
-- For tables `c` in schemas `n`: neither the server's nor ours, nor those of an extension, which belong to whoever provides it.
n.nspname <> all (array['pg_catalog', 'information_schema', 'maintenance']) and n.nspname !~ '^pg_(toast|temp)'
and c.relpersistence <> 't'
and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
)

-- name: pages
-- Of the last VACUUM or ANALYZE: to ask for a size of now would be to wait for whoever has the table for himself.
select c.oid, c.relpages::bigint * pg_catalog.current_setting('block_size')::int as bytes, greatest(c.reltuples, 0)::bigint as rows
from pg_catalog.pg_class c where c.oid = any ($1::oid[]);
