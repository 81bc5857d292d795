"""Whether safekeepers agree already, asked over the wire."""

import time
from contextlib import ExitStack

import pytest

from compute_ctl.decisions.backup_request import BackupRequest
from compute_ctl.sql import safekeepers
from compute_ctl.sql.safekeepers import agreed
from tests.support.safekeeper import Safekeeper

END = "0/16B5A50"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give answers more time than a busy machine takes; only a silent one takes all of it."""
    monkeypatch.setattr(safekeepers, "ANSWER_S", 5.0)


def request(*names: str, prefix: str = "") -> BackupRequest:
    """Return what is asked for."""
    return BackupRequest(
        server="", tenant="a" * 32, timeline="b" * 32, mode="primary",
        safekeepers=prefix + ",".join(names),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "position"),
    [
        ([(END, END)] * 3, END),
        ([(END, END)], END),
        ([(END, END), (END, "0/16B5A00"), (END, END)], None),
        ([(END, END), ("0/16B5A99", END), (END, END)], None),
        ([(END, END), (None, None), (None, None)], None),
        ([("0/0", "0/0")] * 3, None),
        ([("nonsense", "nonsense")], None),
    ],
)
async def test_a_quorum(said: list[tuple[str | None, str | None]], position: str | None) -> None:
    """All of it has flushed and committed the same; any other answer may count or be too late."""
    with ExitStack() as stack:
        places = [stack.enter_context(Safekeeper(*one)) for one in said]
        found = await agreed(request(*(one.address for one in places)), token="t")
        if len({*said}) == 1:
            assert position == found
        else:
            assert found in (position, END)
        if found is not None:
            assert sum(one.commands == ["TIMELINE_STATUS"] for one in places) > len(places) // 2


async def test_one_that_is_down_or_silent() -> None:
    """It is left out; of two that do not answer, nobody waits for long."""
    with Safekeeper(END) as one, Safekeeper(END) as two, Safekeeper(None, silent=True) as silent:
        names = (one.address, silent.address, two.address)
        began = time.monotonic()
        assert END == await agreed(request(*names, prefix="g#7:"), token=None)
        assert time.monotonic() - began < safekeepers.ANSWER_S
        assert "-c tenant_id=" + "a" * 32 in one.options
    assert await agreed(request("127.0.0.1:1", "127.0.0.1:2"), token=None) is None
    assert await agreed(request(), token=None) is None
