"""How Postgres and the daemon itself are: activity, metrics, an event loop that hangs."""
