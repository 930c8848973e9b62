-- name: writable
select pg_catalog.pg_is_in_recovery() as in_recovery,
       pg_catalog.current_setting('transaction_read_only')::boolean as read_only;

-- name: limit_statements
select pg_catalog.set_config('statement_timeout', $1, $2);

-- name: clock
select pg_catalog.statement_timestamp();

-- name: name_session
select pg_catalog.set_config('application_name', $1, false), pg_catalog.set_config('statement_timeout', $2, false);

-- name: commit_without_waiting
-- A batch that a crash takes back is in the ledger as little as in its table, and the next run does it again.
set synchronous_commit = off;

-- name: commit_for_good
-- A commit that waits for the disk waits for all those before it too.
reset synchronous_commit;

-- name: watch_client
-- Else a backend whose client is gone goes on with its statement, holding the lease and its locks, until it has to answer.
select pg_catalog.set_config('client_connection_check_interval', '2s', false);
