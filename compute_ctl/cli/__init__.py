"""The command line: that of the daemon itself, and the commands for people.

`run` and `checks` serve the daemon, which starts without what the other modules import.
"""
