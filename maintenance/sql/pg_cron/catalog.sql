-- What the system catalogs know, by the statements of the Python service.
create or replace function maintenance.cron_leaves(p_root text) returns table (oid oid, schema name, name name)
language plpgsql stable as $$
begin
    return query execute pg_catalog.format('select l.oid, l.schema, l.name from (%s) as l', maintenance.cron_say('leaves'))
    using pg_catalog.to_regclass(p_root)::oid;
end $$;

create or replace function maintenance.cron_fingerprint(p_tables text[], p_columns text[]) returns text
language plpgsql stable as $$
declare
    v_found text;
begin
    execute maintenance.cron_say('fingerprint') into v_found using p_tables, p_columns;
    return v_found;
end $$;
