"""What is in force and not on disk is said: a crash would forget it."""

import asyncio

import pytest

from compute_common.errors import RequestError
from compute_ctl.decisions.apply_plan import ApplyResult
from compute_ctl.decisions.model import Outcome
from compute_ctl.node.push import Push
from compute_ctl.reconciler.pushes import Pushes
from tests.support.small_disk import Disk
from tests.unit.node.test_config_state import document
from tests.unit.reconciler.road import Road, road


async def answered(one: Road, version: int) -> None:
    """Answer a push of a document that was applied just now; raises what its caller is told."""
    push = Push(document=document(version), who="a test")
    Pushes(node=one.node, catalog=None).answer(push, ApplyResult(outcome=Outcome.APPLIED))
    await asyncio.wait_for(push.wait(1.0), 5.0)


async def test_a_full_disk_is_said_to_who_pushes(disk: Disk) -> None:
    """The document comes into force and is not kept; once there is space it is."""
    async with road(disk.folder) as one:
        one.conf.prepare()
        assert Outcome.APPLIED == await one.apply(1, "1MB")
        await answered(one, 1)
        disk.fill()

        assert Outcome.APPLIED == await one.apply(2, "2MB")

        said = one.node.snapshot().config.not_kept
        assert said is not None
        assert "could not keep generation 2" in said
        with pytest.raises(RequestError, match="in force, but could not be kept") as caught:
            await answered(one, 2)
        assert 500 == caught.value.code

        disk.free()
        assert Outcome.UNCHANGED == await one.apply(2, "2MB")
        assert one.node.snapshot().config.not_kept is None
        await answered(one, 2)
