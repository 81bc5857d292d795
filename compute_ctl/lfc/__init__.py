"""The state of Neon's local file cache, kept in the endpoint storage across restarts.

The state lists which pages were cached, not what is in them: prewarming reads them again.
"""

from compute_ctl.lfc.file_cache import FileCache

__all__ = ["FileCache"]
