delete from inventory where device_id not in (select serial_number from devices);
