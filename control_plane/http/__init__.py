"""The HTTP API: routes of computes and hooks, the admin API, the page."""
