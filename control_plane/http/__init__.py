"""The HTTP doors: computes and hooks, the admin API, the page."""
