-- One bounded unit of work, each in a transaction of its own. What the application wins (a lock, a row that it has just referred
-- to) comes back as `state`, and nothing of the batch has happened.

create or replace function maintenance.cron_over(p_rule maintenance.cron_rule, p_rows bigint, p_behind bigint, p_most bigint, p_size bigint)
returns boolean
language sql immutable
begin atomic
    -- Else a ramp that is less than the smallest batch would never get anywhere.
    select coalesce(p_rows > 0 and p_behind + p_rows > p_most
                    and not ((p_rule).ramp is not null and p_behind = 0 and p_size <= (p_rule).smallest), false);
end;

-- A stretch of the heap. Its cursor is that of the Python service, and either takes up what the other one began.
create or replace function maintenance.cron_sweep(
    p_rule maintenance.cron_rule, p_leaf oid, p_sql text, p_bound text, p_size bigint, p_behind bigint, p_most bigint,
    inout place jsonb, out gone bigint, out updated bigint, out held bigint, out done boolean, out state text, out message text)
language plpgsql as $$
declare
    v_first bigint := coalesce((place ->> 'block')::bigint, 0);
    v_end   bigint := (place ->> 'end')::bigint;
    v_over  boolean := place ? 'over';
    v_last  bigint;
    v_from  tid;
    v_to    tid;
    v_rows  tid[];
begin
    gone := 0; updated := 0; held := coalesce((place ->> 'held')::bigint, 0); done := false;
    if v_end is null then
        v_end := pg_catalog.pg_relation_size(p_leaf) / pg_catalog.current_setting('block_size')::bigint;
    end if;
    v_last := least(v_first + p_size, v_end);
    v_from := pg_catalog.format('(%s,0)', v_first)::tid;
    v_to := pg_catalog.format('(%s,0)', v_last)::tid;
    if v_last > v_first and p_rule.sweep is not null and not v_over then
        execute maintenance.cron_about(p_rule.sweep, p_sql) using p_bound, v_from, v_to;
        get diagnostics gone = row_count;
    elsif v_last > v_first then
        execute pg_catalog.format('select array_agg(c.ctid) from (%s) as c', maintenance.cron_about(
            case when v_over then p_rule.claim_over else p_rule.claim end, p_sql))
        into v_rows using p_bound, v_from, v_to;
        if v_rows is not null then
            execute maintenance.cron_about(p_rule.remove, p_sql) using p_bound, v_rows;
            get diagnostics gone = row_count;
            if p_rule.correct is not null and gone < pg_catalog.cardinality(v_rows) then
                execute maintenance.cron_about(p_rule.correct, p_sql) using p_bound, v_rows;
                get diagnostics updated = row_count;
            end if;
        end if;
        if v_over then
            declare
                v_held bigint;
            begin
                execute maintenance.cron_about(p_rule.held, p_sql) into v_held using p_bound, v_from, v_to;
                held := held + v_held;
            end;
        end if;
    end if;
    if maintenance.cron_over(p_rule, gone, p_behind, p_most, p_size) then
        raise exception using errcode = 'MT001', message = 'more rows than the step may take';
    end if;
    place := place - 'over' || pg_catalog.jsonb_build_object('block', v_last, 'end', v_end);
    if held > 0 then
        place := place || pg_catalog.jsonb_build_object('held', held);
    end if;
    done := v_last >= v_end;
    if done and coalesce((place ->> 'taken_up')::bigint, 0) > 0 then
        place := place || pg_catalog.jsonb_build_object('block', 0, 'end', (place ->> 'taken_up')::bigint, 'taken_up', null);
        done := false;
    end if;
exception when others then
    gone := 0; updated := 0; state := sqlstate; message := sqlerrm; done := false;
end $$;

-- Pairs of a loser and the winner that beats it, by their addresses, as the pass found them.
create or replace function maintenance.cron_pairs(
    p_rule maintenance.cron_rule, p_sql text, p_losers text, p_winners text, p_homes text, p_over boolean,
    p_size bigint, p_behind bigint, p_most bigint, out gone bigint, out state text, out message text)
language plpgsql as $$
begin
    gone := 0;
    perform pg_catalog.set_config('enable_nestloop', 'off', true);
    execute maintenance.cron_about(case when p_over then p_rule.remove_over else p_rule.remove end, p_sql)
    using p_losers, p_winners, p_homes;
    get diagnostics gone = row_count;
    if maintenance.cron_over(p_rule, gone, p_behind, p_most, p_size) then
        raise exception using errcode = 'MT001', message = 'more rows than the step may take';
    end if;
exception when others then
    gone := 0; state := sqlstate; message := sqlerrm;
end $$;
