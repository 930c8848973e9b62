-- name: parts
-- A table that somebody has for himself is left out: to ask for its size would be to wait for him.
select c.oid, c.reltoastrelid as toast_oid,
       pg_catalog.pg_table_size(c.oid) - coalesce(pg_catalog.pg_total_relation_size(toast.oid), 0) as heap,
       coalesce(pg_catalog.pg_total_relation_size(toast.oid), 0) as toast,
       pg_catalog.pg_indexes_size(c.oid) as indexes,
       pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint as blocks,
       coalesce((select o.option_value::float8 from pg_catalog.pg_options_to_table(c.reloptions) o where o.option_name = 'fillfactor'), 100)
           / 100 as fill,
       exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary) as keyed
from pg_catalog.pg_class c
left join pg_catalog.pg_class toast on toast.oid = c.reltoastrelid
where c.oid = any ($1::oid[])
  and not exists (
      select from pg_catalog.pg_locks l
      where l.relation = c.oid and l.mode = 'AccessExclusiveLock'
        and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
  );

-- name: columns
-- A virtual generated column takes no room, and to ask for its size would be to compute it.
select a.attname as name
from pg_catalog.pg_attribute a
where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
order by a.attnum;

-- name: sample
-- What a value takes where it is stored, without fetching it. One above 2,000 bytes does not stay in its row.
select count(*) as rows, coalesce(avg({inline}), 0)::float8 as inline, coalesce(avg({apart}), 0)::float8 as apart
from only {table} as t tablesample system ($1::float4);

-- name: widths
-- What a row takes in the heap, as ANALYZE saw it.
select sum(s.avg_width)::float8 from pg_catalog.pg_stats s
where s.schemaname = $1 and s.tablename = $2 and not s.inherited;

-- name: pgstattuple
-- The schema of the extension, if there is one that this role may use.
select n.nspname as schema
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
join pg_catalog.pg_proc p on p.pronamespace = n.oid and p.proname = 'pgstattuple_approx'
where e.extname = 'pgstattuple' and pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
limit 1;

-- name: measured
-- Reads only the pages that are not all visible; of the others the free space is known.
select approx_tuple_len::bigint as bytes from {schema}.pgstattuple_approx($1::oid);

-- name: repack
-- Whether the extension is here, and the database's name for its command.
select pg_catalog.current_database() as database,
       exists (select from pg_catalog.pg_extension e where e.extname = 'pg_repack') as installed;

-- name: rewrite
vacuum (full) {table};

-- name: afterwards
-- A rewritten table has no visibility map, and the planner's statistics are those of before.
vacuum (analyze, truncate false) {table};

-- name: rewritten
-- A rewrite leaves no time stamp, but another file.
select pg_catalog.pg_relation_filenode(c.oid) as stamp,
       pg_catalog.pg_table_size(c.oid) - coalesce(pg_catalog.pg_total_relation_size(toast.oid), 0) as heap,
       coalesce(pg_catalog.pg_total_relation_size(toast.oid), 0) as toast,
       pg_catalog.pg_indexes_size(c.oid) as indexes
from pg_catalog.pg_class c
left join pg_catalog.pg_class toast on toast.oid = c.reltoastrelid
where c.oid = $1::oid;

-- name: bytes
select pg_catalog.pg_size_bytes($1);
