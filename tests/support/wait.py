"""Bounded waiting lives in devstack, where the demo can use it too."""

from devstack.wait import wait_until

__all__ = ["wait_until"]
