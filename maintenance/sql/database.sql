-- name: writable
select pg_catalog.pg_is_in_recovery() as in_recovery,
       pg_catalog.current_setting('transaction_read_only')::boolean as read_only;

-- name: limit_statements
select pg_catalog.set_config('statement_timeout', $1, $2);

-- name: clock
select pg_catalog.statement_timestamp();

-- name: name_session
select pg_catalog.set_config('application_name', $1, false);
