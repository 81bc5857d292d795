"""devstack.pageserver.faults and mangle: what is ordered, and wrong answers."""

from typing import Any

import pytest

from devstack.pageserver import messages, wire
from devstack.pageserver.faults import Fault, FaultBook, FaultError, parse_fault
from devstack.pageserver.mangle import mangle
from devstack.pageserver.messages import Rel, Request

REQUEST = Request(
    kind="getpage",
    version=3,
    reqid=7,
    request_lsn=messages.MAX_LSN,
    not_modified_since=1,
    rel=Rel(spcnode=1663, dbnode=5, relnode=16384, forknum=0),
    blkno=3,
)
ANSWER = messages.encode_answer(REQUEST, b"p" * 8192)


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"kind": "nonsense"},
        {"kind": "silent", "phase": "nowhere"},
        {"kind": "not_found", "phase": "accept"},
        {"kind": "silent", "count": 0},
        {"kind": "silent", "count": True},
        {"kind": "slow", "delay_ms": -1},
        {"kind": "silent", "request": "vacuum"},
        {"kind": "silent", "phase": "auth", "request": "getpage"},
        {"kind": "wrong_echo", "field": "color"},
        {"kind": "half_message", "end": "never"},
        {"kind": "refuse", "count": 1},
        {"kind": "error", "text": 5},
        {"kind": "silent", "knid": "silent"},
    ],
)
def test_senseless_orders(order: dict[str, Any]) -> None:
    """An order that cannot be carried out is refused with a reason."""
    with pytest.raises(FaultError):
        parse_fault(order)


def test_default_phase() -> None:
    """Each kind has a phase of its own where none is given."""
    phases = [parse_fault({"kind": kind}).phase for kind in ("reset", "silent", "refuse_query")]

    assert ["accept", "response", "pagestream"] == phases


def test_count() -> None:
    """A counted fault strikes that often and is gone."""
    book = FaultBook()
    book.add(parse_fault({"kind": "reconnect", "count": 2}))

    strikes = [book.take("response", "getpage") is not None for _ in range(3)]

    assert [True, True, False] == strikes
    assert [] == book.describe()
    assert {"reconnect": 2} == book.fired


def test_only_the_request_that_is_meant() -> None:
    """A fault for one kind of request leaves the others alone."""
    book = FaultBook()
    book.add(parse_fault({"kind": "not_found", "request": "nblocks"}))

    assert book.take("response", "getpage") is None
    assert book.take("response", "nblocks") is not None


def test_same_order_replaces() -> None:
    """Kind, phase and request name an order; others add up and strike in order of arrival."""
    book = FaultBook()
    book.add(parse_fault({"kind": "silent", "count": 5}))
    book.add(parse_fault({"kind": "error"}))
    book.add(parse_fault({"kind": "silent", "count": 1}))

    kinds = [(order["kind"], order["count"]) for order in book.describe()]

    assert [("error", None), ("silent", 1)] == kinds


def test_slow_goes_with_another_fault() -> None:
    """A delay comes before, not instead of, another fault."""
    book = FaultBook()
    book.add(parse_fault({"kind": "slow", "delay_ms": 250}))
    book.add(parse_fault({"kind": "error"}))

    assert 0.25 == book.take_delay("response", "getpage")
    fault = book.take("response", "getpage")
    assert fault is not None
    assert "error" == fault.kind


def test_clear_wakes_used_up_orders() -> None:
    """Who is silent because of an order is woken by its withdrawal, even after its last strike."""
    book = FaultBook()
    book.add(parse_fault({"kind": "silent", "count": 1}))
    fault = book.take("response")

    assert fault is not None
    assert not fault.cleared.is_set()
    assert 0 == book.clear("reset")
    assert not fault.cleared.is_set()
    book.clear()
    assert fault.cleared.is_set()


def mangled(kind: str, **fields: Any) -> bytes:
    """The right answer after a fault."""
    return mangle(Fault(kind=kind, phase="response", **fields), REQUEST, ANSWER)


def test_broken_framing() -> None:
    """The length is one that no message can have."""
    assert bytes.fromhex("64 00000001") == mangled("bad_framing")[:5]


def test_half_message() -> None:
    """The first half of the right message."""
    whole = wire.copy_data(ANSWER)

    assert whole[: len(whole) // 2] == mangled("half_message")


@pytest.mark.parametrize(
    ("field", "offset", "value"),
    [
        ("reqid", 1 + 7, 6),
        ("request_lsn", 9 + 7, 0xFE),
        ("not_modified_since", 17 + 7, 0),
        ("spcnode", 25 + 3, 1663 % 256 ^ 1),
        ("dbnode", 29 + 3, 4),
        ("relnode", 33 + 3, 1),
        ("forknum", 37, 1),
        ("blkno", 38 + 3, 2),
    ],
)
def test_wrong_echo_changes_one_field(field: str, offset: int, value: int) -> None:
    """Exactly the named number is off by one."""
    expected = bytearray(ANSWER)
    expected[offset] = value

    assert wire.copy_data(bytes(expected)) == mangled("wrong_echo", field=field)


def test_wrong_echo_of_an_error_answer() -> None:
    """An in-band error keeps its text; only its head can be wrong."""
    error = messages.encode_error(REQUEST, "Read error")
    fault = Fault(kind="wrong_echo", phase="response", field="reqid")

    assert error[25:] == mangle(fault, REQUEST, error)[5 + 25 :]
    assert wire.copy_data(error) != mangle(fault, REQUEST, error)


def test_wrong_tag_and_type() -> None:
    """An unknown tag on the right body; a well-formed answer to another question."""
    assert wire.copy_data(b"\x96" + ANSWER[1:]) == mangled("wrong_tag")
    assert (101, 42) == (mangled("wrong_type")[5], len(mangled("wrong_type")) - 5)


def test_length_is_wrong_inside_right_framing() -> None:
    """One byte less or more than the answer needs."""
    assert wire.copy_data(ANSWER[:-1]) == mangled("truncated")
    assert wire.copy_data(ANSWER + b"\0") == mangled("trailing")


def test_end_of_copy() -> None:
    """The copy ends although a pageserver never ends it that way."""
    assert bytes.fromhex("63 00000004") == mangled("copy_done")
    assert b"f" == mangled("copy_fail")[:1]
