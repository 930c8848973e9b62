-- The whole script is one transaction; VACUUM ANALYZE follows it.
delete from events where created_at < now() - interval '{keep}';
delete from applications where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from applications) as ranked
    where place > 1
);
delete from displays where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from displays) as ranked
    where place > 1
);
delete from hardware where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from hardware) as ranked
    where place > 1
);
delete from installs where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from installs) as ranked
    where place > 1
);
delete from inventory where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from inventory) as ranked
    where place > 1
);
delete from management where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from management) as ranked
    where place > 1
);
delete from network where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from network) as ranked
    where place > 1
);
delete from printers where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from printers) as ranked
    where place > 1
);
delete from profiles where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from profiles) as ranked
    where place > 1
);
delete from security where id in (
    select id from (select id, row_number() over (partition by device_id order by updated_at desc) as place from security) as ranked
    where place > 1
);
delete from applications where device_id not in (select serial_number from devices);
delete from displays where device_id not in (select serial_number from devices);
delete from hardware where device_id not in (select serial_number from devices);
delete from installs where device_id not in (select serial_number from devices);
delete from inventory where device_id not in (select serial_number from devices);
delete from management where device_id not in (select serial_number from devices);
delete from network where device_id not in (select serial_number from devices);
delete from printers where device_id not in (select serial_number from devices);
delete from profiles where device_id not in (select serial_number from devices);
delete from security where device_id not in (select serial_number from devices);
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
