"""What log_min_messages hides from the log is hidden from us, and said."""

from pathlib import Path

import pytest

from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon


def test_blind_is_the_server_not_a_session(make_neon: MakeNeon) -> None:
    """With log_min_messages at fatal no report reaches the hook; `blind` shows it."""
    server = make_neon()
    blind = "SELECT blind FROM neon_refresh.stat"
    assert server.value(blind) is False
    with server.connect(options="-c log_min_messages=fatal") as connection:
        assert (False,) == connection.execute(blind).fetchone()  # of this session alone
    server.configure({"log_min_messages": "fatal"})
    server.reload()
    with server.connect(options="-c log_min_messages=warning") as connection:
        wait_until("blind", lambda: connection.execute(blind).fetchone() == (True,))


@pytest.mark.parametrize(
    ("level", "stock", "with_neon"),
    [("warning", False, False), ("error", False, True), ("log", True, True), ("fatal", True, True)],
)
def test_a_blind_server_says_so(
    make_neon: MakeNeon, fake_neon: Path, level: str, *, stock: bool, with_neon: bool
) -> None:
    """What log_min_messages hides from the log is hidden from the hook; `blind` shows it."""
    for libraries, expected in (
        ("neon_refresh", stock),
        (f"{fake_neon},neon_refresh", with_neon),
    ):
        server = make_neon(
            {"shared_preload_libraries": libraries, "log_min_messages": level}, name=level
        )
        assert server.value("SELECT blind FROM neon_refresh.stat") is expected
        server.stop()
