"""pg_cron: the policy compiled to SQL, for a server that has to maintain itself."""
