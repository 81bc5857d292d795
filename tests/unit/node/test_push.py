"""A caller who pushes is answered once, and never waits for ever."""

import pytest

from compute_common.errors import RequestError
from compute_ctl.node.push import Push


async def test_patience_ends() -> None:
    """At the deadline the caller gets a 504, and the push is not over: the work goes on."""
    push = Push(document=None, who="test")
    with pytest.raises(RequestError, match=r"was not proven within 0\.01 s") as caught:
        await push.wait(0.01)
    assert (504, False) == (caught.value.code, push.over)


async def test_first_answer_counts() -> None:
    """Who comes second changes nothing any more."""
    push = Push(document=None, who="test")
    push.supersede()
    push.succeed()
    with pytest.raises(RequestError, match="superseded") as caught:
        await push.wait(1.0)
    assert 409 == caught.value.code
