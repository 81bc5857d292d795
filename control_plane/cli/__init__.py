"""The command line: `run` is the control plane itself, the other commands ask its admin API."""
