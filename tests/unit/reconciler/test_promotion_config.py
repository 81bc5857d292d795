"""What a standby runs with around a promotion, on real files; what Postgres says is scripted."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from compute_common.document.document import Document, decode_document
from compute_common.errors import RequestError, SpecError
from compute_ctl.decisions.model import PUSH, Outcome
from compute_ctl.decisions.proof import Complaint
from compute_ctl.document.generation import LiveFile
from compute_ctl.errors import StoreError
from compute_ctl.reconciler.promotion_config import PromotionConfig
from tests.unit.reconciler.road import BAD, Road, road

FOLLOWS = {"primary_conninfo": "host=old", "primary_slot_name": "s"}


def document(mode: str, version: int, **settings: str) -> Document:
    """Return a document."""
    options = [{"name": name, "value": value} for name, value in settings.items()]
    spec = {"mode": mode, "generation": version, "cluster": {"settings": options}}
    return decode_document(json.dumps({"spec": spec}).encode())


async def follow(standby: Road) -> None:
    """Bring version 3 into force."""
    standby.postgres.in_recovery = True
    await standby.applier.apply(document("Replica", 3, **FOLLOWS), source=PUSH)


@pytest.fixture
async def standby(tmp_path: Path) -> AsyncIterator[Road]:
    """A standby with version 3 in force."""
    async with road(tmp_path) as parts:
        await follow(parts)
        yield parts


@pytest.fixture
def config(standby: Road) -> PromotionConfig:
    """What is under test."""
    return config_of(standby)


def config_of(standby: Road) -> PromotionConfig:
    """Return what writes the configurations before and after a promotion of *standby*."""
    applier = standby.applier
    return PromotionConfig(
        node=standby.node,
        store=standby.store,
        activation=standby.activation,
        precheck=applier.precheck,
        context=applier.context,
    )


def body(standby: Road) -> str:
    """Return the live file without its marker."""
    return LiveFile.parse(standby.live).body


def is_as_before(standby: Road, before: str) -> None:
    """Check that version 3 is desired and in force."""
    assert before == body(standby)
    config = standby.node.config
    assert config.desired is not None
    assert ("3", "3") == (str(config.desired.version), str(config.state.floor))
    assert "Replica" == config.desired.mode


async def test_it_follows_until_it_is_a_primary(standby: Road, config: PromotionConfig) -> None:
    """All settings of the primary are in force, and it follows; then it does not any more."""
    wanted = document("Primary", 4, synchronous_standby_names="s1")
    assert Outcome.APPLIED == (await config.prepare(wanted)).outcome
    assert "synchronous_standby_names = 's1'" in body(standby)
    assert "primary_conninfo = 'host=old'" in body(standby)
    assert "primary_slot_name = 's'" in body(standby)
    standby.postgres.in_recovery = False

    result = await standby.applier.apply(wanted, source=PUSH, force=True)

    assert Outcome.APPLIED == result.outcome
    assert "primary" not in body(standby)


@pytest.mark.parametrize("fault", ["refused", "disk"])
async def test_the_way_back(
    standby: Road, config: PromotionConfig, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Version 3 is welcome again; the refused document is not, but another promotion takes it."""
    before, wanted = body(standby), document("Primary", 4, work_mem="5MB")
    if fault == "refused":
        standby.verifier.verdicts = [BAD]
    else:
        monkeypatch.setattr(standby.conf, "swap", full)
    result = await config.prepare(wanted)
    assert result.outcome is not Outcome.APPLIED
    monkeypatch.undo()

    await config.go_back(wanted, result.reason)

    is_as_before(standby, before)
    pulled = await standby.applier.apply(document("Replica", 3, **FOLLOWS), source="file")
    assert Outcome.UNCHANGED == pulled.outcome
    assert Outcome.REJECTED == (await standby.applier.apply(wanted, source="file")).outcome
    assert before == body(standby)
    assert Outcome.APPLIED == (await config.prepare(wanted)).outcome
    assert standby.node.config.state.quarantine_entry(wanted.content_sha256) is None


def full(text: str) -> None:
    """Have no room for *text*."""
    raise StoreError("No space left on device")


async def test_the_way_back_of_the_next_daemon(tmp_path: Path) -> None:
    """It finds the promotion in the live file, and what to go back to in the state folder."""
    wanted = document("Primary", 4)
    async with road(tmp_path) as standby:
        await follow(standby)
        before = body(standby)
        await config_of(standby).prepare(wanted)
    async with road(tmp_path) as after:
        await after.recovery.restore()
        unfinished = after.node.promotions.unfinished
        assert unfinished is not None
        assert wanted.content_sha256 == unfinished.content_sha256

        await config_of(after).go_back(unfinished, "the daemon ended")

        is_as_before(after, before)


async def test_what_is_refused_changes_nothing(
    standby: Road, config: PromotionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one, one of a standby, and one that the server's binary refuses."""
    before = body(standby)
    with pytest.raises(RequestError, match="version 2 is older than 3"):
        await config.prepare(document("Primary", 2))
    with pytest.raises(SpecError, match="got Replica"):
        await config.prepare(document("Replica", 4))
    found = [Complaint(name="work_mem", reason="too small", file=standby.store.path)]
    monkeypatch.setattr(standby.conf, "check", lambda _text: found)
    with pytest.raises(SpecError, match="work_mem"):
        await config.prepare(document("Primary", 4, work_mem="1kB"))
    is_as_before(standby, before)
    assert () == standby.node.config.state.quarantine


async def test_the_document_in_force(standby: Road, config: PromotionConfig) -> None:
    """As that of a primary it says so, and follows nobody."""
    found = await config.of_primary()
    assert ("Primary", "3") == (found.mode, str(found.version))
    assert [] == [one.name for one in found.spec.cluster.settings or ()]
