"""The command line: the daemon's own (`run`, `run_flags`, `checks`), and the other commands.

The daemon's own modules import none of the others, so it starts without click and rich.
"""
