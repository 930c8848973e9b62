-- name: size
select set_config('demo.devices', $1, false), set_config('demo.events', $2, false);

-- name: tables
select n.nspname as schema, c.relname as name
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind = 'r'
order by c.relname;

-- name: rows
select count(*) from {table};
