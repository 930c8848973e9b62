delete from events where created_at < now() - interval '{keep}' and module_id is null;
