-- name: database
select pg_catalog.current_database();

-- name: condition
-- A condition over some of the columns only, under a name that it cannot know: the server refuses it if it needs more.
select from (select {columns} from {table}) as maintenance_rows where {where};

-- name: named
-- To prepare a statement locks the tables that it names until its transaction ends; what else it may mean by a name, only
-- the server knows. A view asks for its owner's rights to what is behind it, not for ours.
with locked as (
    select c.oid, c.relkind, n.nspname as schema, c.relname as name
    from pg_catalog.pg_locks l
    join pg_catalog.pg_class c on c.oid = l.relation
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and c.relkind in ('r', 'p', 'v', 'm', 'f')
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
      and n.nspname <> all (array['pg_catalog', 'information_schema'])
)
select locked.schema, locked.name
from locked
where not exists (
    select
    from locked as view
    join pg_catalog.pg_rewrite r on r.ev_class = view.oid
    join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
         and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = locked.oid
    where view.relkind = 'v' and view.oid <> locked.oid
)
order by locked.schema, locked.name;

-- name: owners
-- Mighty: whoever is a member of it could do far more than keep house.
select distinct r.rolname as name,
       r.rolsuper or r.rolcreaterole or r.rolbypassrls or exists (
           select from pg_catalog.pg_roles above
           where (above.rolname ~ '^pg_' or above.rolname = 'azure_pg_admin') and above.rolname <> 'pg_database_owner'
             and pg_catalog.pg_has_role(r.oid, above.oid, 'MEMBER')
       ) as mighty
from pg_catalog.pg_class c
join pg_catalog.pg_roles r on r.oid = c.relowner
where c.oid = any ($1::oid[])
order by 1;
