delete from inventory where not exists (select from devices where devices.id = inventory.device_id);
