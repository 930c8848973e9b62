-- serial_number equals id and is never NULL, so that a peer which looks for parents there finds the same ones as we do in id.
insert into devices (id, device_id, serial_number, name, os, platform, status, last_seen, created_at, updated_at)
select id, upper(md5('uuid ' || k)::uuid::text), id, 'Lab-' || k, 'macOS Sequoia', 'macOS', 'active',
       now() - make_interval(secs => k % 43200), now() - interval '400 days', now() - make_interval(secs => k % 43200)
from (select k, 'D' || lpad(k::text, 8, '0') as id from generate_series(1, current_setting('bench.devices')::int) as k) as device
order by k;
