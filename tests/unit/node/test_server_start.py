"""Which generation a server is said to have come up with."""

from datetime import UTC, datetime
from typing import Any, cast

from compute_ctl.decisions.model import Written
from compute_ctl.document.generation import Marker
from compute_ctl.node.server_start import ServerStart

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Starting:
    """A server that was started a moment ago."""

    ready = False
    has_read_files = True

    def blocked_on(self) -> None:
        """Wait for no file."""

    def started_after(self, at: datetime) -> bool:
        """Say that it was started later."""
        del at
        return True


def test_one_that_is_not_ready_has_not_come_up() -> None:
    """While the file is read another server may be started: it has to come up, too."""
    server = Starting()
    start = ServerStart(cast(Any, server))
    marker = Marker.of(generation=1, nonce="0" * 32, body="")
    written = Written(marker=marker, rest="", upstream="", at=NOW, content_sha256="")
    start.begin(written)
    assert start.came_up(written, NOW) is None
    server.ready = True
    assert written == start.came_up(written, NOW)
