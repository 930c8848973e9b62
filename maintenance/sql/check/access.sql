-- name: whose
select pg_catalog.statement_timestamp() as as_of, current_user::text as role, pg_catalog.current_database()::text as database,
       pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') as monitors;

-- name: session
-- A pooler between us and the server gives us a process number of its own, and keeps our time-outs to itself.
-- Only from PostgreSQL 16 on there is a name for how somebody logged in, which is why it is asked for apart.
select coalesce(s.ssl, false) as ssl, s.version as tls, pg_catalog.pg_backend_pid() as pid,
       pg_catalog.current_setting('lock_timeout') as lock_timeout,
       r.rolsuper as super, r.rolcreaterole as creates_roles, r.rolbypassrls as bypasses, r.rolreplication as replicates,
       nullif(r.rolvaliduntil, 'infinity') as until,
       exists (
           select from pg_catalog.pg_roles a
           where a.rolname = 'azure_pg_admin' and pg_catalog.pg_has_role(a.oid, 'MEMBER')
       ) as administers
from pg_catalog.pg_roles r
left join pg_catalog.pg_stat_ssl s on s.pid = pg_catalog.pg_backend_pid()
where r.rolname = current_user;

-- name: login
select system_user;

-- name: row_security
-- Whether rows of these tables would be hidden from this role; our sessions get an error instead.
select n.nspname as schema, c.relname as name
from unnest($1::text[], $2::text[]) as asked (schema, name)
join pg_catalog.pg_namespace n on n.nspname = asked.schema
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = asked.name
where c.relkind in ('r', 'p') and pg_catalog.row_security_active(c.oid);

-- name: lacking
-- The places (from 1) of what this role does not have. A lock needs UPDATE on any one column. MAINTAIN is the table's or the
-- database's owner's before PostgreSQL 17; a superuser is a member of everybody.
select asked.place
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[]) with ordinality
     as asked (schema, name, privilege, "column", lock, place)
join pg_catalog.pg_namespace n on n.nspname = asked.schema
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = asked.name
where not case
    when asked.privilege = 'maintain' then
        pg_catalog.pg_has_role(c.relowner, 'USAGE')
        or (select pg_catalog.pg_has_role(d.datdba, 'USAGE') from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
        or case when pg_catalog.current_setting('server_version_num')::int >= 170000
                then pg_catalog.has_table_privilege(c.oid, 'MAINTAIN') else false end
    when asked.lock then pg_catalog.has_any_column_privilege(c.oid, asked.privilege)
    when asked."column" is null then pg_catalog.has_table_privilege(c.oid, asked.privilege)
    else pg_catalog.has_column_privilege(c.oid, asked."column", asked.privilege)
end
order by asked.place;

-- name: closed_schemas
select n.nspname as schema from pg_catalog.pg_namespace n
where n.nspname = any ($1::text[]) and not pg_catalog.has_schema_privilege(n.oid, 'USAGE');
