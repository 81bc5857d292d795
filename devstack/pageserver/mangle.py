"""Wrong answers, made from right ones, and refusals by order. Pure: bytes in, bytes out."""

import struct
from dataclasses import replace

from devstack.pageserver import messages, service, wire
from devstack.pageserver.faults import Fault
from devstack.pageserver.messages import Request
from devstack.pageserver.service import InBand

UNKNOWN_TAG = 150


def mangle(fault: Fault, request: Request, payload: bytes) -> bytes:  # noqa: PLR0911 - a table
    """The whole message to send instead of `payload` in a CopyData."""
    match fault.kind:
        case "bad_framing":
            return b"d" + struct.pack("!I", 1) + payload
        case "half_message":
            whole = wire.copy_data(payload)
            return whole[: len(whole) // 2]
        case "copy_done":
            return wire.COPY_DONE
        case "copy_fail":
            return wire.COPY_FAIL
        case "wrong_echo":
            return wire.copy_data(_wrong_echo(request, payload, fault.field or "reqid"))
        case "wrong_tag":
            return wire.copy_data(bytes([UNKNOWN_TAG]) + payload[1:])
        case "wrong_type":
            return wire.copy_data(_wrong_type(request))
        case "truncated":
            return wire.copy_data(payload[:-1])
        case "trailing":
            return wire.copy_data(payload + b"\0")
        case _:
            raise ValueError(f'"{fault.kind}" does not change an answer')


def refuse_by_order(fault: Fault) -> None:
    """Raise the refusal that the order asks for, if it asks for one. Raises InBand, EndStream."""
    if fault.kind == "error":
        raise InBand(fault.text or "Read error")
    if fault.kind == "not_found":
        raise service.not_found()


def _wrong_echo(request: Request, payload: bytes, field: str) -> bytes:
    """`payload` with one echoed number off by one; unchanged where that number is not echoed."""
    before = messages.head(request, payload[0]) + messages.echo(request)
    if not payload.startswith(before):
        before = messages.head(request, payload[0])  # an error answer echoes the head only
    other = _off_by_one(request, field)
    after = messages.head(other, payload[0]) + messages.echo(other)
    return after[: len(before)] + payload[len(before) :]


def _off_by_one(request: Request, field: str) -> Request:
    if field in ("spcnode", "relnode", "forknum") or (
        field == "dbnode" and request.kind != "dbsize"
    ):
        return replace(
            request, rel=replace(request.rel, **{field: getattr(request.rel, field) ^ 1})
        )
    name = {"kind": "slru_kind"}.get(field, field)
    return replace(request, **{name: getattr(request, name) ^ 1})


def _wrong_type(request: Request) -> bytes:
    """A well-formed answer to a question that was not asked."""
    if request.kind == "nblocks":
        return messages.encode_answer(replace(request, kind="exists"), messages.exists_body(True))
    return messages.encode_answer(replace(request, kind="nblocks"), messages.nblocks_body(1))
