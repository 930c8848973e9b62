delete from policy_catalog where policy_hash not in (
    select distinct unnest(intune_policy_hashes) from profiles where intune_policy_hashes is not null
    union
    select distinct unnest(security_policy_hashes) from profiles where security_policy_hashes is not null
);
update policy_catalog set device_count = (
    select count(*) from profiles
    where policy_catalog.policy_hash = any (profiles.intune_policy_hashes)
       or policy_catalog.policy_hash = any (profiles.security_policy_hashes)
);
