"""The compute as the daemon knows it: where listeners, loops and Postgres meet.

`Node` is the only writer of the status; its parts keep requests, acknowledgements and a push.
"""

from compute_ctl.node.node import Node

__all__ = ["Node"]
