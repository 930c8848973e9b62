-- bench.rows rows of bench.keys devices, in no order; the rows of one device never have the same updated_at.
insert into installs (device_id, data, collected_at, created_at, updated_at)
select 'D' || lpad(((n - 1) % current_setting('bench.keys')::bigint * 48271 % 2147483647)::text, 10, '0'),
       jsonb_build_object('package', n % 50), now(), now(),
       now() - make_interval(days => 1 + (n * 7919 % 2147483647 % 700)::int) - n * interval '1 microsecond'
from generate_series(1, current_setting('bench.rows')::bigint) as n
order by n * 69621 % 2147483647;
