"""SQL with the running server, where every wait ends at a deadline."""
