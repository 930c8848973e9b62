-- VACUUM runs alone in its job, which can write nothing down. This looks afterwards whether the server did it.
create or replace procedure maintenance.cron_vacuumed(p_within interval, p_name text default 'weekly-vacuum')
language plpgsql as $$
declare
    v_policy maintenance.cron_policy;
    v_run    bigint;
    v_as_of  timestamptz;
    v_began  timestamptz := pg_catalog.clock_timestamp();
    v_step   bigint;
    v_status text;
    v_reason text;
    v_error  text;
    t        record;
begin
    select * into strict v_policy from maintenance.cron_policy;
    call maintenance.cron_session(v_policy.lock_timeout, 'maintenance pg_cron ' || p_name);
    call maintenance.cron_begin(p_name, v_run, v_as_of);
    if v_run is null then
        return;
    end if;
    for t in
        select v.name, v.oid, v.sql, c.oid is not null as there,
               pg_catalog.pg_stat_get_last_vacuum_time(v.oid) as stamp,
               exists (select from pg_catalog.pg_stat_progress_vacuum p where p.relid = v.oid) as busy
        from maintenance.cron_table v left join pg_catalog.pg_class c on c.oid = v.oid
        order by v.name
    loop
        v_error := null;
        if not t.there then
            v_status := 'absent'; v_reason := 'done';
        elsif t.stamp > v_as_of - p_within then
            v_status := 'succeeded'; v_reason := 'done';
        elsif t.busy then
            v_status := 'interrupted'; v_reason := 'budget';
            v_error := 'its VACUUM has not come to its end yet';
        else
            v_status := 'blocked'; v_reason := 'blocked';
            v_error := pg_catalog.format(maintenance.cron_say('not_vacuumed'), t.name, p_within, coalesce(t.stamp::text, 'never'), t.sql);
        end if;
        execute maintenance.cron_say('add_step') into v_step
        using v_run, 'vacuum', t.name, 'vacuum', '', 'by a job of its own', null::jsonb;
        execute maintenance.cron_say('end_step') using v_step, v_status, v_reason, null::text, v_error, null::text, null::bigint,
            0::double precision, 0::double precision, (v_status = 'succeeded')::int::bigint, null::bigint,
            null::double precision, null::double precision;
        commit;
    end loop;
    call maintenance.cron_end(v_run, false, v_began, v_policy.ledger_keep);
end $$;
