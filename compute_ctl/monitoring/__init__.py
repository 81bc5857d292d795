"""Monitoring of Postgres and of the daemon itself: activity, metrics, watchdog, reports."""
