-- Each device's profile names 80 policies; bench.stale of the policies are named by nobody. The count of one policy in eleven is
-- wrong, and so are those of the policies that nobody names any more.
insert into profiles (device_id, data, updated_at)
select device.id, '{}', now() from devices as device
where not exists (select from profiles where profiles.device_id = device.id) order by device.id;

create temp table policy as
select p, encode(sha256(convert_to('policy ' || p, 'UTF8')), 'hex') as hash
from generate_series(0, current_setting('bench.policies')::int - 1) as p;
create unique index on policy (p);
analyze policy;

update profiles set intune_policy_hashes = assigned.intune, security_policy_hashes = assigned.security
from (
    select device.id, array_agg(policy.hash order by slot) filter (where slot < 40) as intune,
           array_agg(policy.hash order by slot) filter (where slot >= 40) as security
    from (select id, row_number() over (order by id) - 1 as k from devices) as device
    cross join generate_series(0, 79) as slot
    join policy on policy.p = (device.k * 80 + slot) % (current_setting('bench.policies')::int - current_setting('bench.stale')::int)
    group by device.id
) as assigned
where assigned.id = profiles.device_id
  and profiles.id = (select newest.id from profiles as newest where newest.device_id = assigned.id order by updated_at desc limit 1);

insert into policy_catalog (policy_hash, policy_name, policy_data, device_count)
select policy.hash, 'Policy ' || p,
       jsonb_build_object('settings', jsonb_build_array(md5('a ' || p), md5('b ' || p), md5('c ' || p))),
       case when used.devices is null then p % 4 when p % 11 = 0 then used.devices + 3 else used.devices end
from policy
left join (
    select hash, count(distinct profiles.id) as devices
    from profiles cross join lateral unnest(intune_policy_hashes || security_policy_hashes) as hash group by hash
) as used on used.hash = policy.hash
-- Old and new policies, named or not, lie side by side.
order by md5(policy.hash);
drop table policy;
