"""Acknowledgements: only the current marker proves anything."""

import asyncio
from datetime import UTC, datetime

import pytest

from compute_ctl.decisions.model import AckAnswer, AckMessage, Written
from compute_ctl.decisions.proof import Ack
from compute_ctl.document.generation import Marker
from compute_ctl.node.reload_reports import Acks


def generation(number: int, map_sha256: str = "") -> Written:
    """Return generation *number*."""
    marker = Marker.of(generation=number, nonce=f"{number:032x}", body="\n")
    return Written(
        marker=marker, rest="\n", upstream="", at=datetime.now(UTC), map_sha256=map_sha256
    )


def message(written: Written, map_sha256: str = "") -> AckMessage:
    """Return what Postgres says when it runs *written*."""
    return AckMessage(marker=str(written.marker), map_sha256=map_sha256)


async def test_the_current_marker_wakes_the_waiter() -> None:
    """An attempt that waits is told at once."""
    acks, first = Acks(), generation(1)
    acks.expect(first)
    waiter = asyncio.ensure_future(acks.wait(5.0))
    await asyncio.sleep(0)

    assert acks.take(message(first)) is AckAnswer.TAKEN
    assert await waiter == Ack(map_matches=True)


async def test_an_early_acknowledgement_is_not_lost() -> None:
    """Postgres may answer before anybody waits."""
    acks, first = Acks(), generation(1)
    acks.expect(first)
    acks.take(message(first))

    assert await acks.wait(5.0) == Ack(map_matches=True)


@pytest.mark.parametrize(("published", "matches"), [("abc", True), ("other", False)])
def test_the_published_map_is_compared(*, published: str, matches: bool) -> None:
    """Marker and shard map can differ: ALTER SYSTEM of the list moves the one, not the other."""
    acks, first = Acks(), generation(1, map_sha256="abc")
    acks.expect(first)
    acks.take(message(first, published))

    assert acks.latest == Ack(map_matches=matches)


def test_earlier_generations_are_stale_and_others_unknown() -> None:
    """A late answer is no error; a marker that we never wrote proves nothing."""
    acks, first, second = Acks(), generation(1), generation(2)
    assert acks.take(message(first)) is AckAnswer.UNKNOWN

    acks.expect(first)
    acks.expect(second)

    assert acks.take(message(first)) is AckAnswer.STALE
    assert acks.take(AckMessage(marker="1.0.0", map_sha256="")) is AckAnswer.UNKNOWN
    assert acks.latest is None


async def test_a_new_generation_forgets_the_old_proof() -> None:
    """What acknowledged the last generation does not prove the next."""
    acks, first = Acks(), generation(1)
    acks.expect(first)
    acks.take(message(first))
    acks.expect(generation(2))

    assert await acks.wait(0.01) is None
