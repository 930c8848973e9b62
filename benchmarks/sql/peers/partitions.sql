delete from events where created_at < now() - interval '30 days';
