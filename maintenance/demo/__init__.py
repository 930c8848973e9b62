"""A PostgreSQL server of one's own, for the demo and the tests: started in a second, gone without a trace."""
