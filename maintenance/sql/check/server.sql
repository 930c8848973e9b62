-- name: state
-- Of all databases together, as the limit is the server's. Some places are kept: for superusers, and from PostgreSQL 16 on for
-- members of one role.
select pg_catalog.current_setting('server_version') as version,
       (select sum(s.numbackends) from pg_catalog.pg_stat_database s)::int as connections,
       pg_catalog.current_setting('max_connections')::int
           - case when r.rolsuper then 0 else pg_catalog.current_setting('superuser_reserved_connections')::int end
           - case when r.rolsuper or exists (
                 select from pg_catalog.pg_roles k
                 where k.rolname = 'pg_use_reserved_connections' and pg_catalog.pg_has_role(k.oid, 'USAGE')
             ) then 0 else coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0) end as most
from pg_catalog.pg_roles r
where r.rolname = current_user;
