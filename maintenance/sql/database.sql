-- name: writable
select pg_catalog.pg_is_in_recovery() as in_recovery,
       pg_catalog.current_setting('transaction_read_only')::boolean as read_only;

-- name: limit_statements
select pg_catalog.set_config('statement_timeout', $1, $2);

-- name: clock
select pg_catalog.statement_timestamp();

-- name: name_session
select pg_catalog.set_config('application_name', $1, false), pg_catalog.set_config('statement_timeout', $2, false);

-- name: watch_client
-- Else a backend whose client is gone goes on with its statement, holding the lease and its locks, until it has to answer.
select pg_catalog.set_config('client_connection_check_interval', '2s', false);
