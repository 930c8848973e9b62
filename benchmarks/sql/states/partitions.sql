-- Three partitions, two of which hold nothing that is younger than the policy's 30 days.
create table events (
    id          bigint not null,
    device_id   varchar(255) not null,
    event_type  varchar(20),
    message     text,
    details     jsonb,
    created_at  timestamptz not null default now()
) partition by range (created_at);

do $$
declare
    place int;
    youngest timestamptz := date_trunc('day', now()) - interval '31 days';
begin
    for place in 0..2 loop
        execute format('create table %I partition of events for values from (%L) to (%L)', 'events_' || place,
                       youngest - place * interval '30 days', youngest - (place - 1) * interval '30 days');
        execute format(
            $sql$insert into %I (id, device_id, event_type, message, details, created_at)
            select n * 3 + %s, 'D' || n %% 1000, 'info', 'Check-in complete', '{"modules": 12, "client": "2025.4.0", "delivery": "https"}',
                   %L::timestamptz + interval '3 days' + interval '26 days' * ((n - 0.5)::float8 / %s)
            from generate_series(1, %s) as n order by n$sql$,
            'events_' || place, place, youngest - place * interval '30 days',
            current_setting('bench.events'), current_setting('bench.events'));
    end loop;
end $$;

-- Once the rows are there, which is quicker.
alter table events add primary key (id, created_at);
create index idx_events_device_id on events (device_id);
