-- The log of 60 days, oldest first as the API wrote it, and one state row a device, all of them fresh.
-- Without foreign key and indexes while it is filled: both come back below, as they were.
do $$
declare statement text;
begin
    create temp table later on commit preserve rows as
    select 'alter table events add constraint ' || conname || ' ' || pg_get_constraintdef(oid) as statement, 1 as place
    from pg_constraint where conrelid = 'events'::regclass and contype = 'f'
    union all
    select pg_get_indexdef(indexrelid), 0 from pg_index where indrelid = 'events'::regclass and not indisprimary
    union all
    -- What a database has whose owner knows that rows go by it; a contender without it drops it first.
    select 'create index idx_events_created_at on events (created_at)', 0;
    for statement in
        select 'alter table events drop constraint ' || conname from pg_constraint
        where conrelid = 'events'::regclass and contype = 'f'
        union all
        select 'drop index ' || indexrelid::regclass from pg_index
        where indrelid = 'events'::regclass and not indisprimary
    loop
        execute statement;
    end loop;
end $$;

insert into events (device_id, event_type, module_id, message, details, timestamp, created_at)
select id, 'info', 'os_update', 'Operating system update state', jsonb_build_object('pending', 1, 'channel', 'stable'),
       now() - interval '2 hours', now() - interval '2 hours'
from devices order by id;

create temp table kind as
select e, (array['info', 'info', 'info', 'info', 'info', 'info', 'info', 'success', 'success', 'warning', 'error',
                 'system'])[e % 12 + 1] as event_type,
       (array['Inventory collected', 'Check-in complete', 'Software update available',
              'Installs need attention'])[e / 12 % 4 + 1] as message,
       jsonb_build_object('collection', md5('collection ' || e), 'modules', e % 13 + 1, 'seconds', e % 900 / 10.0,
                          'client', '2025.' || e % 12 + 1 || '.0', 'delivery', 'https') as details
from generate_series(0, 996) as e;
analyze kind;

-- Where a cutoff may lie: so many of the oldest rows are expired. Around each of them an hour has no rows, so that contenders
-- whose clocks differ by the time of a round judge the same rows.
create schema bench;
create table bench.cut (name text primary key, rows bigint, cutoff timestamptz);
insert into bench.cut (name, rows)
values ('half', current_setting('bench.events')::bigint / 2),
       ('sixtieth', current_setting('bench.events')::bigint / 60),
       ('fixed', least(current_setting('bench.fixed')::bigint, current_setting('bench.events')::bigint * 3 / 4));

insert into events (device_id, event_type, module_id, message, details, timestamp, created_at)
select 'D' || lpad((log.hash % current_setting('bench.devices')::int + 1)::text, 8, '0'), kind.event_type, null, kind.message,
       kind.details, log.created_at - make_interval(secs => log.hash % 40), log.created_at
from (select n, (n * 48271 % 2147483647)::int as hash,
             now() - interval '3 hours' - interval '60 days' * (1 - (n - 0.5)::float8 / current_setting('bench.events')::int)
             - interval '1 hour' * (select count(*) from bench.cut where n <= cut.rows) as created_at
      from generate_series(1, current_setting('bench.events')::bigint) as n
      offset 0) as log
join kind on kind.e = log.hash / 1000 % 997
order by log.n;

do $$
declare statement text;
begin
    for statement in select later.statement from later order by place loop
        execute statement;
    end loop;
end $$;
drop table kind, later;

update bench.cut set cutoff = (
    select created_at + interval '30 minutes' from events
    where module_id is null order by created_at offset cut.rows - 1 limit 1
);
