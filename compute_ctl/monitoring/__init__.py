"""Monitoring of Postgres and of the daemon itself: activity, metrics, watchdog, reports."""

import os

# Set for some other program: with it prometheus_client would keep our counters in files there.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
