-- One step: its batches, each committed with its checkpoint. COMMIT needs procedures that are called by procedures, and no
-- exception block around it.

-- What the batch after this one may be of: twice as much at most, so much as takes about the time that one should.
create or replace function maintenance.cron_paced(
    p_rule maintenance.cron_rule, p_size bigint, p_seconds double precision, p_target double precision) returns bigint
language sql immutable
begin atomic
    select least((p_rule).largest, p_size * 2,
                 greatest((p_rule).smallest, p_size / 4, (p_size * p_target / greatest(p_seconds, 0.0001))::bigint));
end;

-- So much of it as fits into what is left of the budget; NULL where not even the smallest batch would.
create or replace function maintenance.cron_fitting(
    p_rule maintenance.cron_rule, p_size bigint, p_last bigint, p_seconds double precision, p_left double precision) returns bigint
language sql immutable
begin atomic
    select case when p_left <= 0.02 then null
                when p_last is null then p_size
                when p_left * p_last / (greatest(p_seconds, 0.0001) * 1.25) < (p_rule).smallest then null
                else least(p_size::double precision, p_left * p_last / (greatest(p_seconds, 0.0001) * 1.25))::bigint end;
end;

-- The end of a step whose batch came back with an error; none where it is to be tried again, smaller or past what others hold.
create or replace function maintenance.cron_refused(
    p_rule maintenance.cron_rule, p_state text, p_message text, p_batches bigint, p_gone bigint, p_most bigint,
    out status text, out reason text, out message text)
language plpgsql stable as $$
begin
    if p_state = 'MT001' then
        status := 'interrupted'; reason := 'guard';
        message := case when p_rule.ramp is not null
            then pg_catalog.format('%s rows went, and the rule has ramp = %s: the next run takes as many',
                                   maintenance.cron_number(p_gone), p_rule.ramp)
            else pg_catalog.format('%s rows went, and more than %s would have gone, which is more than were measured: something makes '
                                   'more of them while they are deleted; look at what has changed, the next run measures anew',
                                   maintenance.cron_number(p_gone), maintenance.cron_number(p_most)) end;
    elsif p_state = '55P03' and p_batches > 0 then
        status := 'interrupted'; reason := 'lock';
        message := p_message || '; the application holds what is left, the next run goes on from here';
    else
        status := 'failed'; reason := case when p_state = '55P03' then 'lock' else 'error' end;
        message := p_message || coalesce(maintenance.cron_say('remedy ' || p_state), '');
    end if;
end $$;

-- All stretches of a heap.
create or replace procedure maintenance.cron_heap(
    p_rule maintenance.cron_rule, p_step bigint, p_leaf oid, p_sql text, p_bound text, p_most bigint, p_deadline timestamptz,
    p_target double precision, p_place jsonb, inout status text, inout reason text, inout message text, inout state text)
language plpgsql as $$
declare
    b          record;
    v_place    jsonb := coalesce(p_place, '{"block": 0}');
    v_size     bigint := p_rule.first_size;
    v_fitting  bigint;
    v_last     bigint;
    v_seconds  double precision;
    v_began    timestamptz;
    v_gone     bigint := 0;
    v_batches  bigint := 0;
    v_attempts integer := 0;
    v_paused   boolean;
    v_lockable boolean := pg_catalog.has_any_column_privilege(p_leaf, 'UPDATE') or p_rule.sweep is null;
begin
    loop
        v_fitting := maintenance.cron_fitting(p_rule, v_size, v_last, v_seconds, pg_catalog.date_part('epoch', p_deadline - pg_catalog.clock_timestamp()));
        if v_fitting is null then
            status := 'interrupted'; reason := 'budget'; message := maintenance.cron_say('budget');
            return;
        end if;
        v_began := pg_catalog.clock_timestamp();
        select * into b from maintenance.cron_sweep(p_rule, p_leaf, p_sql, p_bound, v_fitting, v_gone, p_most, v_place);
        if b.state = 'MT001' and v_fitting > p_rule.smallest then
            v_size := greatest(p_rule.smallest, v_fitting / 8);
            commit;
            continue;
        elsif b.state in ('55P03', '40P01', '40001', '23503', '23001') and v_attempts < 2 then
            v_attempts := v_attempts + 1;
            if b.state = '55P03' and v_lockable then
                v_place := v_place || '{"over": 1}';
            end if;
            commit;
            perform pg_catalog.pg_sleep(0.2 * v_attempts);
            commit;
            continue;
        elsif b.state is not null then
            state := case when b.state = 'MT001' then null else b.state end;
            select r.status, r.reason, r.message into status, reason, message
            from maintenance.cron_refused(p_rule, b.state, b.message, v_batches, v_gone, p_most) as r;
            return;
        end if;
        v_last := v_fitting;
        v_seconds := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - v_began);
        execute maintenance.cron_say('checkpoint') into v_paused using p_step, b.gone, b.updated, v_seconds, b.place;
        commit;
        v_place := b.place;
        v_gone := v_gone + b.gone;
        v_batches := v_batches + 1;
        v_attempts := 0;
        v_size := maintenance.cron_paced(p_rule, v_fitting, v_seconds, p_target);
        if b.done and b.held > 0 then
            status := 'interrupted'; reason := 'lock';
            message := maintenance.cron_number(b.held) || maintenance.cron_say('held');
            return;
        elsif b.done then
            status := 'succeeded'; reason := 'done';
            return;
        elsif v_paused then
            status := 'interrupted'; reason := 'paused'; message := maintenance.cron_say('paused');
            return;
        end if;
    end loop;
end $$;

-- All pairs of one ordered pass, which the server keeps while they are deleted; and a second pass where the application wrote to
-- some of them meanwhile.
create or replace procedure maintenance.cron_ordered(
    p_rule maintenance.cron_rule, p_step bigint, p_leaf oid, p_sql text, p_most bigint, p_deadline timestamptz,
    p_target double precision, inout status text, inout reason text, inout message text, inout state text)
language plpgsql as $$
declare
    b          record;
    c          record;
    v_pass     text := maintenance.cron_about(p_rule.pass, p_sql);
    v_size     bigint := p_rule.first_size;
    v_fitting  bigint;
    v_last     bigint;
    v_seconds  double precision;
    v_began    timestamptz;
    v_most     bigint := p_most;
    v_whole    bigint;
    v_excess   text;
    v_gone     bigint := 0;
    v_batches  bigint := 0;
    v_attempts integer;
    v_over     boolean;
    v_seen     bigint;
    v_missed   bigint;
    v_held     bigint;
    v_paused   boolean;
    v_losers   text[];
    v_winners  text[];
    v_homes    text[];
    v_pairs    bigint;
begin
    for turn in 1 .. 2 loop
        v_seen := 0; v_missed := 0; v_held := 0; v_losers := '{}'; v_winners := '{}'; v_homes := '{}'; v_pairs := 0;
        execute maintenance.cron_say('sorted');
        for c in execute v_pass loop
            if turn = 1 and v_seen = 0 and pg_catalog.to_regclass(p_rule.root) = p_leaf then
                if p_rule.max_fraction < 1 then
                    execute p_rule.how_many into v_whole;
                end if;
                v_excess := maintenance.cron_excess(p_rule, c.total::bigint, v_whole);
                if v_excess is not null and p_rule.ramp is null then
                    status := 'interrupted'; reason := 'guard'; message := v_excess;
                    return;
                end if;
                if p_rule.max_rows is not null or p_rule.max_fraction < 1 then
                    v_most := maintenance.cron_most(p_rule, c.total::bigint);
                end if;
            end if;
            v_seen := v_seen + c.pairs;
            v_losers := v_losers || pg_catalog.btrim(c.losers, '{}');
            v_winners := v_winners || pg_catalog.btrim(c.winners, '{}');
            v_homes := v_homes || pg_catalog.btrim(c.homes, '{}');
            v_pairs := v_pairs + c.pairs;
            v_fitting := maintenance.cron_fitting(p_rule, v_size, v_last, v_seconds, pg_catalog.date_part('epoch', p_deadline - pg_catalog.clock_timestamp()));
            if v_fitting is null then
                status := 'interrupted'; reason := 'budget'; message := maintenance.cron_say('budget');
                return;
            end if;
            continue when v_pairs < v_fitting and v_seen < c.total;
            v_attempts := 0;
            v_over := false;
            loop
                v_began := pg_catalog.clock_timestamp();
                select * into b from maintenance.cron_pairs(
                    p_rule, p_sql, '{' || pg_catalog.array_to_string(v_losers, ',') || '}', '{' || pg_catalog.array_to_string(v_winners, ',') || '}',
                    '{' || pg_catalog.array_to_string(v_homes, ',') || '}', v_over, v_pairs, v_gone, v_most);
                exit when b.state is null;
                if b.state not in ('55P03', '40P01', '40001', '23503', '23001') or v_attempts >= 2 then
                    state := case when b.state = 'MT001' then null else b.state end;
                    select r.status, r.reason, r.message into status, reason, message
                    from maintenance.cron_refused(p_rule, b.state, b.message, v_batches, v_gone, v_most) as r;
                    return;
                end if;
                v_attempts := v_attempts + 1;
                v_over := v_over or (b.state = '55P03' and pg_catalog.has_any_column_privilege(p_leaf, 'UPDATE'));
                commit;
                perform pg_catalog.pg_sleep(0.2 * v_attempts);
                commit;
            end loop;
            v_last := v_pairs;
            v_seconds := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - v_began);
            execute maintenance.cron_say('checkpoint') into v_paused using p_step, b.gone, 0::bigint, v_seconds, null::jsonb;
            commit;
            v_gone := v_gone + b.gone;
            v_batches := v_batches + 1;
            v_size := maintenance.cron_paced(p_rule, v_pairs, v_seconds, p_target);
            if v_over then
                v_held := v_held + v_pairs - b.gone;
            else
                v_missed := v_missed + v_pairs - b.gone;
            end if;
            v_losers := '{}'; v_winners := '{}'; v_homes := '{}'; v_pairs := 0;
            if v_paused and v_seen < c.total then
                status := 'interrupted'; reason := 'paused'; message := maintenance.cron_say('paused');
                return;
            end if;
        end loop;
        exit when v_missed + v_held = 0;
    end loop;
    if v_held > 0 then
        status := 'interrupted'; reason := 'lock';
        message := maintenance.cron_number(v_held) || maintenance.cron_say('held');
        return;
    end if;
    status := 'succeeded'; reason := 'done';
    if v_missed > 0 then
        execute maintenance.cron_say('remark_step') using p_step, maintenance.cron_number(v_missed) || maintenance.cron_say('missed');
    end if;
end $$;

-- For how long the rule of a step has not been done: since it last was or, where it never was, since it was first tried. Null where
-- the clock has gone back since.
create or replace function maintenance.cron_standing(p_step bigint, p_as_of timestamptz, out seconds double precision, out unfinished boolean)
language sql stable
begin atomic
    select pg_catalog.date_part('epoch', p_as_of - nullif(least(
               coalesce(max(r.as_of) filter (where s.status = 'succeeded'), min(r.as_of)), p_as_of), p_as_of)),
           (pg_catalog.array_agg(s.status order by s.id desc))[1] not in ('succeeded', 'absent')
    from maintenance.step own
    join maintenance.step s on s.task = own.task and s.table_name = own.table_name and s.rule = own.rule and s.id < own.id
    join maintenance.run r on r.id = s.run_id
    where own.id = p_step;
end;

-- A step from its beginning to its end, both written down.
create or replace procedure maintenance.cron_step(
    p_rule maintenance.cron_rule, p_step bigint, p_leaf oid, p_schema text, p_table text, p_as_of timestamptz, p_deadline timestamptz,
    p_target double precision, p_place jsonb, inout measured jsonb, inout missed text)
language plpgsql as $$
declare
    v_name   text := p_schema || '.' || p_table;
    v_sql    text := maintenance.cron_quoted(p_schema) || '.' || maintenance.cron_quoted(p_table);
    v_began  timestamptz := pg_catalog.clock_timestamp();
    v_now    record;
    a        record;
    v_bound  text;
    v_proof  text;
    status   text;
    reason   text;
    message  text;
    state    text;
    v_note   text;
    v_oid    oid;
    v_past   record;
    v_lag    double precision;
begin
    select * into v_past from maintenance.cron_standing(p_step, p_as_of);
    if pg_catalog.clock_timestamp() >= p_deadline then
        status := 'interrupted'; reason := 'budget'; message := maintenance.cron_say('budget');
    elsif p_rule.fingerprint is distinct from maintenance.cron_fingerprint(p_rule.named_tables, p_rule.named_columns) then
        status := 'failed'; reason := 'error'; message := pg_catalog.format(maintenance.cron_say('changed'), v_name);
    elsif p_rule.strategy = 'absent' then
        status := 'absent'; reason := 'done';
    else
        execute maintenance.cron_say('begin_step') into v_now using p_step, p_leaf, p_schema, p_table;
        commit;
        if not v_now.there then
            status := 'absent'; reason := 'done'; v_note := maintenance.cron_say('gone');
        elsif v_now.paused then
            status := 'interrupted'; reason := 'paused'; message := maintenance.cron_say('paused');
        end if;
    end if;
    if status is null and p_rule.proof is not null then
        if p_rule.parent is null then
            execute p_rule.proof into v_proof using p_leaf, p_rule.columns;
        else
            v_oid := pg_catalog.to_regclass(p_rule.parent);
            execute p_rule.proof into v_proof using p_leaf, p_rule.columns[1], v_oid, p_rule.columns[2];
        end if;
        if v_proof is not null then
            status := 'succeeded'; reason := 'done'; v_note := pg_catalog.format(p_rule.proof_says, v_proof);
        end if;
    end if;
    if status is null then
        select p.bound, p.state, p.message into v_bound, state, message from maintenance.cron_cutoff(p_rule, p_as_of) as p;
        if state is not null then
            status := 'failed'; reason := 'error';
        end if;
    end if;
    if status is null then
        select * into a from maintenance.cron_admitted(p_rule, p_leaf, v_name, v_sql, v_bound, measured);
        commit;
        measured := a.measured;
        status := a.status; reason := a.reason; message := a.message; state := a.state;
        if status is null and p_rule.strategy = 'ordered' then
            call maintenance.cron_ordered(p_rule, p_step, p_leaf, v_sql, a.most, p_deadline, p_target, status, reason, message, state);
        elsif status is null then
            call maintenance.cron_heap(p_rule, p_step, p_leaf, v_sql, v_bound, a.most, p_deadline, p_target, p_place, status, reason, message, state);
        end if;
        if status = 'succeeded' and pg_catalog.cardinality(a.triggers) > 0 then
            message := maintenance.cron_kept(p_rule, v_name, v_sql, v_bound, a.triggers);
            if message is not null then
                status := 'blocked'; reason := 'blocked';
            end if;
        end if;
    end if;
    v_lag := case status when 'absent' then null when 'succeeded' then 0 else v_past.seconds end;
    execute maintenance.cron_say('end_step') using p_step, status, reason, v_note, case when reason <> 'done' then message end, state,
        null::bigint, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - v_began), 0::double precision, 0::bigint, null::bigint,
        case when v_past.unfinished or p_rule.task = 'retention' then v_past.seconds end, v_lag;
    if missed is null and v_lag > pg_catalog.date_part('epoch', p_rule.lag_objective) then
        missed := pg_catalog.format(maintenance.cron_say('overdue'), p_rule.task, v_name, p_rule.rule,
                                    pg_catalog.date_trunc('minute', pg_catalog.justify_hours(pg_catalog.make_interval(secs => v_lag))), p_rule.lag_objective)
                  || coalesce('; ' || message, '');
    end if;
    commit;
end $$;

-- The cutoff, or why it cannot be told.
create or replace function maintenance.cron_cutoff(
    p_rule maintenance.cron_rule, p_as_of timestamptz, out bound text, out state text, out message text)
language plpgsql as $$
begin
    bound := maintenance.cron_bound(p_rule, p_as_of);
exception when others then
    state := sqlstate; message := sqlerrm;
end $$;
