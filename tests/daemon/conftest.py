"""What the tests of the daemon's edges share."""

from tests.daemon.watching import watch

__all__ = ["watch"]
