-- name: state
-- Of all databases together, as the limit is the server's.
select pg_catalog.current_setting('server_version') as version,
       (select sum(s.numbackends) from pg_catalog.pg_stat_database s)::int as connections,
       pg_catalog.current_setting('max_connections')::int as most;
