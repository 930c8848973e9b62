-- The server's own vacuum must not come in between, also where it is on.
do $$
declare
    own record;
begin
    for own in
        select c.oid::regclass as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_'
    loop
        execute format('alter table %s set (autovacuum_enabled = off, toast.autovacuum_enabled = off)', own.name);
    end loop;
end $$;
