-- Fifteen tables, one large, two of middle size and a dozen small ones.
do $$
declare
    place int;
begin
    for place in 1..15 loop
        execute format('create table module_%s (id serial primary key, device_id varchar(255), document text, updated_at timestamptz)', place);
        execute format(
            $sql$insert into module_%1$s (device_id, document, updated_at)
            select 'D' || n * 48271 %% 2147483647 %% 1000, repeat(md5(n::text), 6), now() - n * interval '1 second'
            from generate_series(1, %2$s::bigint) as n order by n$sql$,
            place,
            current_setting('bench.rows')::int / case place when 1 then 1 when 2 then 2 when 3 then 3 else 12 end);
        execute format('create index on module_%s (device_id)', place);
        execute format('create index on module_%s (updated_at)', place);
    end loop;
end $$;
