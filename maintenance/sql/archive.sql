-- name: cascade
-- What a foreign key takes along, or sets to NULL, is in no RETURNING. Only where its trigger is at work.
select k.conname as name, k.conrelid::pg_catalog.regclass::text as child,
       case k.confdeltype when 'c' then 'ON DELETE CASCADE' when 'n' then 'ON DELETE SET NULL'
                          else 'ON DELETE SET DEFAULT' end as action
from pg_catalog.pg_constraint k
where k.contype = 'f' and k.confrelid = $1 and k.confdeltype in ('c', 'n', 'd')
  and exists (
      select from pg_catalog.pg_trigger t
      where t.tgconstraint = k.oid and t.tgrelid = k.confrelid and t.tgenabled in ('O', 'A')
  )
order by k.conname
limit 1;

-- name: columns
-- What the server computes itself is not stored; the key comes first. The type as the table has it, with its length.
select a.attname as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type, k.place is not null as is_key
from pg_catalog.pg_attribute a
left join pg_catalog.pg_index i on i.indrelid = a.attrelid and i.indisprimary
left join lateral unnest(i.indkey::int2[]) with ordinality as k (number, place)
    on k.number = a.attnum and k.place <= i.indnkeyatts
where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
order by k.place nulls last, a.attnum;

-- name: circumstances
select pg_catalog.current_setting('server_version') as version, r.as_of from maintenance.run r where r.id = $1;

-- name: place
-- The identifier is the cluster's own; who may not read it is told apart by the name of its host.
select pg_catalog.current_database() as database,
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') as readable;

-- name: identifier
select system_identifier::text from pg_catalog.pg_control_system();

-- name: exactly
-- In the one spelling of each value that the server reads back as the same; and an archive must not be marked as committed
-- by a commit that a crash takes back, so this one waits for the disk.
select pg_catalog.set_config('extra_float_digits', '1', true), pg_catalog.set_config('bytea_output', 'hex', true),
       pg_catalog.set_config('array_nulls', 'on', true), pg_catalog.set_config('lc_monetary', 'C', true),
       pg_catalog.set_config('xmloption', 'content', true),
       pg_catalog.set_config('synchronous_commit', s.reset_val, true)
from pg_catalog.pg_settings s
where s.name = 'synchronous_commit';

-- name: literals
select {literals};

-- name: record
-- In the transaction of the deletes: it is the truth of whether they were committed.
insert into maintenance.archive (object, store, run_id, step_id, task, table_name, subject, rows, sha256, bytes, expires)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
returning created_at;

-- name: recorded
select to_regclass('maintenance.archive') is not null as made;

-- name: committed
select object from maintenance.archive where object = any ($1::text[]);

-- name: unmarked
select object from maintenance.archive where not marked and store = $1 order by created_at;

-- name: mark
update maintenance.archive set marked = true where object = any ($1::text[]);

-- name: expired
select object from maintenance.archive
where store = $1 and task = $2 and table_name = $3 and subject = $4 and created_at < $5
order by created_at
limit $6;

-- name: forget
delete from maintenance.archive where object = $1;
