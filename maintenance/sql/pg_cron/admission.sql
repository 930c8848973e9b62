-- Whether a step may begin, and how far it may go.

-- The cutoff in the words of the column's type, as text: what casts it back is the statement.
create or replace function maintenance.cron_bound(p_rule maintenance.cron_rule, p_as_of timestamptz) returns text
language plpgsql stable as $$
declare
    v_cutoff timestamptz := p_as_of - p_rule.keep;
    v_bound  text := v_cutoff::text;
begin
    if p_rule.keep is null then
        return null;
    end if;
    if p_rule.moment = 'date' then
        v_bound := (v_cutoff at time zone 'UTC')::date::text;
    elsif p_rule.moment = 'timestamp' then
        v_bound := (v_cutoff at time zone 'UTC')::text;
    end if;
    if p_rule.floor is not null then
        execute pg_catalog.format('select f.moment::text from (%s) as f (moment)', p_rule.floor)
        into v_bound using v_bound, p_rule.newest;
    end if;
    return v_bound;
end $$;

-- Why nothing can be deleted from a table at all, or NULL; and the triggers that may keep its rows.
create or replace function maintenance.cron_obstacle(p_leaf oid, p_name text, p_sql text, out stops text, out triggers text[])
language plpgsql stable as $$
declare
    v_found record;
begin
    execute pg_catalog.format('select o.* from (%s) as o where o.oid = $1', maintenance.cron_say('obstacles'))
    into v_found using p_leaf;
    triggers := coalesce(v_found.triggers, '{}');
    if pg_catalog.cardinality(v_found.rules) > 0 then
        stops := pg_catalog.format(
            'the rule %s rewrites every DELETE on %s, so nothing was deleted: what it would do instead nobody can foresee; '
            'DROP RULE %s ON %s, or take the table out of the policy',
            v_found.rules[1], p_name, maintenance.cron_quoted(v_found.rules[1]), p_sql);
    elsif pg_catalog.cardinality(v_found.anonymous) > 0 then
        stops := pg_catalog.format(
            '%s has no replica identity, and the publication %s replicates its deletes, so the server refuses them and nothing was '
            'deleted; give it a primary key, or ALTER TABLE %s REPLICA IDENTITY FULL', p_name, v_found.anonymous[1], p_sql);
    end if;
end $$;

create or replace function maintenance.cron_number(p_number bigint) returns text
language sql immutable
begin atomic
    select pg_catalog.to_char(p_number, 'FM999,999,999,999,999,999');
end;

-- By how much so many rows are over the limits of the rule, in words; NULL where they are within.
create or replace function maintenance.cron_excess(p_rule maintenance.cron_rule, p_going bigint, p_whole bigint) returns text
language plpgsql stable as $$
declare
    v_way text := pg_catalog.format(maintenance.cron_say('limit'), p_rule.task);
begin
    if p_going > p_rule.max_rows then
        return pg_catalog.format(
            '%s rows of %s would go, and max_rows = %s allows no more%s',
            maintenance.cron_number(p_going), p_rule.table_name, p_rule.max_rows, v_way);
    end if;
    if p_rule.max_fraction < 1 and p_going > 0 and p_going > p_rule.max_fraction * p_whole then
        return pg_catalog.format(
            '%s of the %s rows of %s would go (%s%%), and max_fraction = %s allows no more%s',
            maintenance.cron_number(p_going), maintenance.cron_number(p_whole), p_rule.table_name,
            pg_catalog.round(least(100, 100.0 * p_going / greatest(p_whole, 1))), p_rule.max_fraction, v_way);
    end if;
    return null;
end $$;

-- What a rule may still take after it was measured: a ramp is so many a run; else something must be wrong beyond the margin.
create or replace function maintenance.cron_most(p_rule maintenance.cron_rule, p_going bigint) returns bigint
language sql stable
begin atomic
    select coalesce((p_rule).ramp, (p_going * 1.1)::bigint + 1000);
end;

-- Whether the step may begin. `measured` is what the rule would take of its whole table, and of how many rows; it is asked
-- once a run, before the first partition has lost any.
create or replace function maintenance.cron_admitted(
    p_rule maintenance.cron_rule, p_leaf oid, p_name text, p_sql text, p_bound text,
    inout measured jsonb, out status text, out reason text, out message text, out state text,
    out triggers text[], out most bigint)
language plpgsql as $$
declare
    v_may    boolean;
    v_going  bigint;
    v_whole  bigint;
    v_excess text;
    v_place  text := p_rule.place::text;
    v_told   boolean := p_rule.strategy = 'ordered' and pg_catalog.to_regclass(p_rule.root) = p_leaf;
begin
    triggers := '{}';
    most := p_rule.ramp;
    for i in 1 .. pg_catalog.cardinality(p_rule.guards) loop
        execute p_rule.guards[i] into v_may using p_bound;
        if v_may is not true then
            status := 'interrupted'; reason := 'guard'; message := p_rule.stops[i];
            return;
        end if;
    end loop;
    select o.stops, o.triggers into message, triggers from maintenance.cron_obstacle(p_leaf, p_name, p_sql) as o;
    if message is not null then
        status := 'blocked'; reason := 'blocked';
        return;
    end if;
    -- The pass of an ordered step finds out by itself.
    if v_told or (p_rule.max_rows is null and coalesce(p_rule.max_fraction, 1) >= 1) then
        return;
    end if;
    if not measured ? v_place then
        execute p_rule.counts into v_going using p_bound;
        if p_rule.max_fraction < 1 and v_going > 0 then
            execute p_rule.how_many into v_whole;
        end if;
        measured := measured || pg_catalog.jsonb_build_object(v_place, pg_catalog.jsonb_build_array(v_going, v_whole));
    end if;
    v_going := (measured -> v_place ->> 0)::bigint;
    v_whole := (measured -> v_place ->> 1)::bigint;
    v_excess := maintenance.cron_excess(p_rule, v_going, v_whole);
    if v_excess is not null and p_rule.ramp is null then
        status := 'interrupted'; reason := 'guard'; message := v_excess;
    elsif v_going = 0 and p_rule.correct is null then
        status := 'succeeded'; reason := 'done';
    end if;
    most := maintenance.cron_most(p_rule, v_going);
exception when others then
    status := 'failed'; state := sqlstate; message := sqlerrm;
    reason := case when state = '55P03' then 'lock' else 'error' end;
end $$;

-- Why a step is not done although it came to its end: a trigger has kept its rows. What the application has just written, it
-- has not; so some of what is left is deleted once more, and that is rolled back.
create or replace function maintenance.cron_kept(
    p_rule maintenance.cron_rule, p_name text, p_sql text, p_bound text, p_triggers text[]) returns text
language plpgsql as $$
declare
    v_left   bigint;
    v_places tid[];
    v_stays  bigint;
begin
    if pg_catalog.cardinality(p_triggers) = 0 then
        return null;
    end if;
    execute maintenance.cron_about(p_rule.leaf_counts, p_sql)
    into v_left using p_bound;
    if v_left = 0 then
        return null;
    end if;
    begin
        execute pg_catalog.format('select array_agg(l.address) from (select d.address from (%s) as d (address) limit 1000) as l',
            maintenance.cron_about(p_rule.doomed, p_sql))
        into v_places using p_bound;
        execute pg_catalog.format('delete from only %s where ctid = any ($1)', p_sql) using v_places;
        execute pg_catalog.format('select count(*) from only %s where ctid = any ($1)', p_sql) into v_stays using v_places;
        raise exception using errcode = 'MT002', message = v_stays::text;
    exception when sqlstate 'MT002' then
        v_stays := sqlerrm::bigint;
    end;
    if v_stays = 0 then
        return null;
    end if;
    return pg_catalog.format(
        '%s rows that should be gone are still there: the trigger %s runs before each delete on %s and keeps them; '
        'change the trigger, or give the rule a `where`',
        maintenance.cron_number(v_left), pg_catalog.array_to_string(p_triggers, ', '), p_name);
end $$;
