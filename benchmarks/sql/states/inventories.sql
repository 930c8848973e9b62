-- One row a device, and one in a hundred more whose device is gone.
insert into inventory (device_id, data, collected_at, created_at, updated_at)
select device_id, jsonb_build_object('asset', k), now() - interval '9 days', now() - interval '90 days', now() - interval '9 days'
from (
    select k, 'D' || lpad(k::text, 8, '0') as device_id from generate_series(1, current_setting('bench.devices')::int) as k
    union all
    select k, 'GONE' || k from generate_series(1, greatest(current_setting('bench.devices')::int / 100, 1)) as k
) as report
order by md5(device_id);
