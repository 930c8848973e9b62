-- Every device has one row in each module table. Where the table allows it, one device in thirty has an older row as well, and one
-- in seventy was removed and left its row behind. updated_at is never NULL and never the same twice in one device, so that both
-- ways of telling the newest row agree.
do $$
declare
    module record;
begin
    for module in
        select * from (values
            ('applications', true, true, 16), ('hardware', true, true, 2), ('installs', true, true, 4), ('inventory', true, true, 2),
            ('network', true, true, 2), ('profiles', true, true, 4), ('security', true, true, 2), ('displays', true, false, 1),
            ('printers', false, true, 1), ('identity', false, false, 1), ('management', false, false, 1), ('system', false, false, 2)
        ) as module (name, has_duplicates, has_orphans, kilobytes)
    loop
        execute format($sql$
            insert into %1$I (device_id, data, collected_at, created_at, updated_at)
            select device_id, jsonb_build_object('module', %1$L, 'report', k, 'document', document.hex),
                   updated_at, updated_at - interval '90 days', updated_at
            from (
                select k, 'D' || lpad(k::text, 8, '0') as device_id, now() - make_interval(secs => k %% 43200) as updated_at
                from generate_series(1, current_setting('bench.devices')::int) as k
                union all
                select k, 'D' || lpad(k::text, 8, '0'), now() - interval '20 days' - make_interval(secs => k %% 43200)
                from generate_series(30, current_setting('bench.devices')::int, 30) as k where %2$L
                union all
                select k, 'GONE' || k, now() - interval '9 days' - make_interval(secs => k)
                from generate_series(1, greatest(current_setting('bench.devices')::int / 70, 1)) as k where %3$L
            ) as report
            cross join lateral (
                select string_agg(md5(%1$L || k %% 24 || '/' || part), '') as hex from generate_series(1, 32 * %4$s) as part
            ) as document
            order by md5(device_id), updated_at$sql$,
            module.name, module.has_duplicates, module.has_orphans, module.kilobytes);
    end loop;
end $$;
