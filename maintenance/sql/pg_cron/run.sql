-- A run: by the holder of the lease, its steps one after the other, written down in the ledger.

-- Session settings, as those of the Python service.
create or replace procedure maintenance.cron_session(p_lock_timeout text, p_name text)
language plpgsql as $$
begin
    perform pg_catalog.set_config(s.name, s.value, false)
    from (values
        ('application_name', p_name), ('lock_timeout', p_lock_timeout), ('default_transaction_isolation', 'read committed'),
        ('TimeZone', 'UTC'), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('row_security', 'off'),
        ('max_parallel_workers_per_gather', '0'), ('random_page_cost', '1.1'), ('synchronous_commit', 'off')
    ) as s (name, value);
    commit;
end $$;

-- The lease and the run's first row; NULL where another run holds the lease, which is written down.
create or replace procedure maintenance.cron_begin(p_name text, inout run bigint, inout p_as_of timestamptz)
language plpgsql as $$
declare
    v_holder record;
    v_why    text;
begin
    run := null;
    p_as_of := pg_catalog.statement_timestamp();
    if not pg_catalog.pg_try_advisory_lock(1296124238, 1) then
        execute maintenance.cron_say('holder') into v_holder;
        v_why := pg_catalog.format(maintenance.cron_say('skipped'), coalesce(v_holder.application_name, 'another'), coalesce(v_holder.pid, 0));
        execute maintenance.cron_say('skip_run') using p_name, '{}'::text[], 'pg_cron', session_user::text, null::double precision, v_why;
        commit;
        raise notice '%', v_why;
        return;
    end if;
    execute maintenance.cron_say('close_dead');
    execute maintenance.cron_say('close_dead_steps');
    -- The statement's own time is that of the CALL, when an earlier run may still have been at work.
    p_as_of := pg_catalog.clock_timestamp();
    execute maintenance.cron_say('begin_run') into run
    using p_name, '{}'::text[], 'pg_cron', session_user::text, null::text, null::double precision, null::text, p_as_of;
    commit;
end $$;

-- As good as its worst step: failed before interrupted before succeeded; p_missed is why it is late although nothing failed.
create or replace procedure maintenance.cron_end(
    p_run bigint, p_paused boolean, p_began timestamptz, p_keep double precision, p_missed text default null)
language plpgsql as $$
declare
    v_worst  record;
    v_status text := 'succeeded';
    v_reason text := 'done';
    v_error  text;
begin
    select s.status, coalesce(s.stop_reason, 'error') as reason, s.error into v_worst
    from maintenance.step s
    where s.run_id = p_run and s.status not in ('succeeded', 'absent')
    order by s.status not in ('failed', 'blocked'), s.id
    limit 1;
    if p_missed is not null and v_worst.status is distinct from 'failed' and v_worst.status is distinct from 'blocked' then
        v_status := 'failed'; v_reason := 'objective'; v_error := p_missed;
    elsif v_worst.status is not null then
        v_status := case when v_worst.status in ('failed', 'blocked') then 'failed' else 'interrupted' end;
        v_reason := v_worst.reason;
        v_error := v_worst.error;
    elsif p_paused then
        v_status := 'interrupted'; v_reason := 'paused'; v_error := maintenance.cron_say('paused');
    end if;
    execute maintenance.cron_say('prune') using p_keep;
    execute maintenance.cron_say('prune_archives') using p_keep;
    perform pg_catalog.set_config('synchronous_commit', 'on', false);
    execute maintenance.cron_say('end_run')
    using p_run, v_status, v_reason, v_error, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - p_began),
        pg_catalog.pg_database_size(pg_catalog.current_database());
    commit;
    perform pg_catalog.pg_advisory_unlock(1296124238, 1);
    commit;
    -- Only now, when all is written down: cron.job_run_details then has it as failed.
    if v_status = 'failed' then
        raise exception 'run % failed: %', p_run, v_error
            using hint = pg_catalog.format('select * from maintenance.step where run_id = %s order by id', p_run);
    end if;
end $$;

-- ANALYZE what runs have deleted from since the planner last looked.
create or replace function maintenance.cron_analyzed(p_oid oid, p_sql text, out state text, out message text, out moved boolean)
language plpgsql as $$
declare
    v_before timestamptz;
begin
    perform pg_catalog.pg_stat_clear_snapshot();
    v_before := pg_catalog.pg_stat_get_last_analyze_time(p_oid);
    execute 'analyze ' || p_sql;
    -- PostgreSQL 14 reports with a delay.
    for attempt in 1 .. 20 loop
        perform pg_catalog.pg_stat_clear_snapshot();
        moved := pg_catalog.pg_stat_get_last_analyze_time(p_oid) is distinct from v_before;
        exit when moved;
        perform pg_catalog.pg_sleep(0.1);
    end loop;
exception when others then
    state := sqlstate; message := sqlerrm; moved := false;
end $$;

create or replace procedure maintenance.cron_statistics(p_run bigint, p_deadline timestamptz)
language plpgsql as $$
declare
    t        record;
    a        record;
    v_now    record;
    v_step   bigint;
    v_began  timestamptz;
    v_status text;
    v_reason text;
    v_error  text;
begin
    for t in
        select c.oid, n.nspname as schema, c.relname as name, maintenance.cron_quoted(n.nspname) || '.' || maintenance.cron_quoted(c.relname) as sql
        from (select s.table_name, max(s.changed_at) as at from maintenance.step s where s.changed_at is not null group by 1) as changed
        join pg_catalog.pg_class c on c.relkind in ('r', 'p')
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname || '.' || c.relname = changed.table_name
        where coalesce(greatest(pg_catalog.pg_stat_get_last_analyze_time(c.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)), '-infinity') < changed.at
        order by 2, 3
    loop
        v_began := pg_catalog.clock_timestamp();
        v_status := null; v_error := null; a := null;
        execute maintenance.cron_say('add_step') into v_step
        using p_run, 'statistics', t.schema || '.' || t.name, 'analyze', '', 'a run deleted from it', null::jsonb;
        commit;
        if pg_catalog.clock_timestamp() >= p_deadline then
            v_status := 'interrupted'; v_reason := 'budget'; v_error := maintenance.cron_say('budget');
        else
            execute maintenance.cron_say('begin_step') into v_now using v_step, t.oid, t.schema, t.name;
            commit;
            if not v_now.there then
                v_status := 'absent'; v_reason := 'done';
            elsif v_now.paused then
                v_status := 'interrupted'; v_reason := 'paused'; v_error := maintenance.cron_say('paused');
            end if;
        end if;
        if v_status is null then
            select * into a from maintenance.cron_analyzed(t.oid, t.sql);
            v_status := case when a.state is not null then 'failed' when a.moved then 'succeeded' else 'blocked' end;
            v_reason := case when a.state = '55P03' then 'lock' when a.state is not null then 'error' when a.moved then 'done' else 'blocked' end;
            v_error := coalesce(a.message, case when not a.moved then pg_catalog.format(maintenance.cron_say('passed_over'), t.schema || '.' || t.name, t.sql) end);
        end if;
        execute maintenance.cron_say('end_step') using v_step, v_status, v_reason, null::text, v_error, a.state, null::bigint,
            pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - v_began), 0::double precision, (a.moved is true)::int::bigint, null::bigint,
            null::double precision, null::double precision;
        commit;
    end loop;
end $$;

-- The steps of all rules, a partition a step, and what an earlier run left of each; the one that has waited longest first.
create or replace function maintenance.cron_steps(p_run bigint)
returns table (step bigint, place integer, leaf oid, schema text, name text, resumed jsonb)
language plpgsql as $$
begin
    return query
    with pieces as materialized (
        select r.place, r.task, r.rule, r.strategy, r.summary, l.oid, l.schema::text as schema, l.name::text as name,
               coalesce(l.schema || '.' || l.name, r.table_name) as table_name
        from maintenance.cron_rule r
        left join lateral maintenance.cron_leaves(r.root) as l on true
    ),
    past as (
        select distinct on (s.task, s.table_name, s.rule) s.task, s.table_name, s.rule, s.status, s.strategy, s.cursor,
               s.began_at is null and s.stop_reason in ('budget', 'lag', 'error') as starved,
               max(s.id) filter (where s.began_at is not null) over (partition by s.task, s.table_name, s.rule) as last_turn
        from maintenance.step s
        order by s.task, s.table_name, s.rule, s.id desc
    ),
    ordered as materialized (
        select p.*, before.strategy = p.strategy and p.strategy <> 'ordered' as same, before.cursor,
               row_number() over (order by coalesce(before.starved, false) desc,
                                           case when before.starved then coalesce(before.last_turn, 0) else 0 end,
                                           p.place, p.schema, p.name) as turn
        from pieces p
        left join past before on before.task = p.task and before.table_name = p.table_name and before.rule = p.rule
             and before.status in ('interrupted', 'failed', 'blocked', 'pending', 'running')
    ),
    added as (
        insert into maintenance.step (run_id, task, table_name, strategy, rule, summary, cursor, status)
        select p_run, o.task, o.table_name, o.strategy, o.rule, o.summary,
               case when o.same and (o.cursor ->> 'block')::bigint > 0
                    then jsonb_build_object('block', (o.cursor ->> 'block')::bigint, 'taken_up', (o.cursor ->> 'block')::bigint) end,
               'pending'
        from ordered o order by o.turn
        returning id, task, table_name, rule, cursor
    )
    select a.id, o.place, o.oid, o.schema, o.name, a.cursor
    from ordered o
    join added a on a.task = o.task and a.table_name = o.table_name and a.rule = o.rule
    order by o.turn;
end $$;

create or replace procedure maintenance.cron_run(p_name text default 'daily-cleanup')
language plpgsql as $$
declare
    v_policy   maintenance.cron_policy;
    v_rule     maintenance.cron_rule;
    v_run      bigint;
    v_as_of    timestamptz;
    v_began    timestamptz := pg_catalog.clock_timestamp();
    v_deadline timestamptz;
    v_limit    double precision;
    v_measured jsonb := '{}';
    v_paused   boolean;
    v_missed   text;
    s          record;
begin
    select * into strict v_policy from maintenance.cron_policy;
    -- The time-out of a CALL counts from its beginning, and cannot be changed from inside.
    select nullif(setting::double precision, 0) / 1000 * 0.8 into v_limit from pg_catalog.pg_settings where name = 'statement_timeout';
    v_deadline := v_began + pg_catalog.make_interval(secs => least(v_policy.budget, v_limit));
    call maintenance.cron_session(v_policy.lock_timeout, 'maintenance pg_cron ' || p_name);
    call maintenance.cron_begin(p_name, v_run, v_as_of);
    if v_run is null then
        return;
    end if;
    v_paused := exists (select from maintenance.pause);
    if not v_paused then
        for s in select * from maintenance.cron_steps(v_run) loop
            select * into v_rule from maintenance.cron_rule r where r.place = s.place;
            call maintenance.cron_step(v_rule, s.step, coalesce(s.leaf, 0::oid), coalesce(s.schema, ''), coalesce(s.name, v_rule.table_name),
                                       v_as_of, v_deadline, v_policy.batch_target, s.resumed, v_measured, v_missed);
        end loop;
        v_paused := exists (select from maintenance.pause);
        if not v_paused then
            call maintenance.cron_statistics(v_run, v_deadline);
        end if;
    end if;
    call maintenance.cron_end(v_run, v_paused, v_began, v_policy.ledger_keep, v_missed);
end $$;
