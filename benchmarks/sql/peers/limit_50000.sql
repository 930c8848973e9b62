delete from events where id in (
    select id from events where timestamp < now() - interval '{keep}' and module_id is null limit 50000
);
