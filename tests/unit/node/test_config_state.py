"""What the daemon remembers of documents."""

import json
from datetime import UTC, datetime

import msgspec

from compute_common.document.document import Document, decode_document
from compute_ctl.decisions.persistent_state import GenerationRef
from compute_ctl.node.config_state import ConfigState
from devstack.document import attached
from tests.support.clock import FakeClock

AT = datetime(2026, 1, 1, tzinfo=UTC)


def document(version: int, **settings: str) -> Document:
    """Return a document with a version and settings."""
    raw = attached(
        tenant="1" * 32,
        timeline="2" * 32,
        pageservers=["postgres://a/"],
        generation=version,
        settings=settings,
    )
    return decode_document(json.dumps(raw).encode())


def floor(config: ConfigState) -> str:
    """Return the version below which nothing is taken."""
    return str(config.state.floor)


def test_a_refusal_takes_the_floor_back_by_one_document() -> None:
    """What was accepted before the refused document still counts, though it was never proven."""
    config = ConfigState(FakeClock())
    config.desire(document(1, work_mem="1MB"), "file")
    config.desire(document(5, work_mem="5MB"), "file")
    refused = document(6, work_mem="banana")
    config.desire(refused, "file")
    assert str(document(6).version) == floor(config)

    config.quarantine(refused, "not a number")

    assert str(document(5).version) == floor(config)


def test_a_refused_content_may_have_come_in_two_versions() -> None:
    """The floor goes back to what it was before the content came first."""
    config = ConfigState(FakeClock())
    config.desire(document(1, work_mem="1MB"), "file")
    for version in (6, 7):
        config.desire(document(version, work_mem="banana"), "file")

    config.quarantine(document(7, work_mem="banana"), "not a number")

    assert str(document(1).version) == floor(config)


def test_a_refusal_after_the_servers_are_in_force_takes_the_floor_nowhere() -> None:
    """A refused document that is applied brought newer servers: the one before would undo it."""
    config = ConfigState(FakeClock())
    config.desire(document(6, work_mem="6MB"), "file")
    refused = document(7, ssl="on")
    config.desire(refused, "file")
    fact = GenerationRef(generation=2, marker="", content_sha256="", at=AT, version=refused.version)
    config.state = msgspec.structs.replace(config.state, applied=fact)

    config.quarantine(refused, "SSL configuration was not reloaded")

    assert str(refused.version) == floor(config)
