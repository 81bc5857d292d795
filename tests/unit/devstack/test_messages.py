"""devstack.pageserver.messages: the page stream's layouts."""

import struct
from dataclasses import replace

import pytest

from devstack.pageserver import messages
from devstack.pageserver.messages import Rel, Request, RequestKind

V3_HEAD = bytes.fromhex("0000006f 00000001 ffffffffffffffff 00000000016b3748")
V2_HEAD = V3_HEAD[8:]
REL_BYTES = bytes.fromhex("0000067f 00000005 00004000 00")
OBJECTS: dict[RequestKind, bytes] = {
    "exists": REL_BYTES,
    "nblocks": REL_BYTES,
    "getpage": REL_BYTES + bytes.fromhex("00000007"),
    "dbsize": bytes.fromhex("00000005"),
    "slru": bytes.fromhex("01 0000000c"),
}
TAGS: dict[RequestKind, int] = {"exists": 0, "nblocks": 1, "getpage": 2, "dbsize": 3, "slru": 4}
REQUESTS: dict[RequestKind, Request] = {
    kind: Request(
        kind=kind,
        version=3,
        reqid=0x6F_0000_0001,
        request_lsn=messages.MAX_LSN,
        not_modified_since=0x16B3748,
    )
    for kind in TAGS
}
for _kind in ("exists", "nblocks", "getpage"):
    REQUESTS[_kind] = replace(
        REQUESTS[_kind],
        rel=Rel(spcnode=1663, dbnode=5, relnode=16384, forknum=0),
    )
REQUESTS["getpage"] = replace(REQUESTS["getpage"], blkno=7)
REQUESTS["dbsize"] = replace(REQUESTS["dbsize"], dbnode=5)
REQUESTS["slru"] = replace(REQUESTS["slru"], slru_kind=1, segno=12)

kinds = pytest.mark.parametrize("kind", list(TAGS))


@kinds
def test_decode_version_3(kind: RequestKind) -> None:
    """Every request of version 3 is read field by field."""
    payload = bytes([TAGS[kind]]) + V3_HEAD + OBJECTS[kind]

    assert REQUESTS[kind] == messages.decode_request(payload, 3)


@kinds
def test_decode_version_2(kind: RequestKind) -> None:
    """Version 2 has no request id."""
    payload = bytes([TAGS[kind]]) + V2_HEAD + OBJECTS[kind]

    assert replace(REQUESTS[kind], version=2, reqid=0) == messages.decode_request(payload, 2)


@pytest.mark.parametrize(
    ("kind", "version", "size"),
    [
        *(("exists", 2, 30), ("exists", 3, 38), ("nblocks", 2, 30), ("nblocks", 3, 38)),
        *(("getpage", 2, 34), ("getpage", 3, 42), ("dbsize", 2, 21), ("dbsize", 3, 29)),
        *(("slru", 2, 22), ("slru", 3, 30)),
    ],
)
def test_a_request_one_byte_short_is_refused(kind: RequestKind, version: int, size: int) -> None:
    """The documented size decodes, one byte less does not, one more is ignored."""
    payload = bytes([TAGS[kind]]) + (V3_HEAD if version == 3 else V2_HEAD) + OBJECTS[kind]

    assert size == len(payload)
    with pytest.raises(messages.DecodeError, match="failed to fill whole buffer"):
        messages.decode_request(payload[:-1], version)
    assert kind == messages.decode_request(payload + b"x", version).kind


@pytest.mark.parametrize("tag", [5, 99, 102, 255])
def test_unknown_tag(tag: int) -> None:
    """A tag that is no request is named in the error."""
    with pytest.raises(messages.DecodeError, match=f"^invalid tag {tag}$"):
        messages.decode_request(bytes([tag]) + V3_HEAD, 3)


@pytest.mark.parametrize(
    ("kind", "body", "v2_size", "v3_size"),
    [
        ("exists", messages.exists_body(True), 2, 39),
        ("nblocks", messages.nblocks_body(8), 5, 42),
        ("getpage", bytes(8192), 8193, 8234),
        ("dbsize", messages.dbsize_body(1 << 40), 9, 37),
        ("slru", messages.slru_body(bytes(8192 * 2)), 5 + 8192 * 2, 34 + 8192 * 2),
    ],
)
def test_answer_sizes(kind: RequestKind, body: bytes, v2_size: int, v3_size: int) -> None:
    """Answers have the documented sizes in both versions."""
    request = REQUESTS[kind]

    assert v3_size == len(messages.encode_answer(request, body))
    assert v2_size == len(messages.encode_answer(replace(request, version=2), body))


@pytest.mark.parametrize(
    ("kind", "tag", "body"),
    [
        ("exists", 100, "01"),
        ("nblocks", 101, "00000008"),
        ("dbsize", 104, "0000010000000000"),
    ],
)
def test_version_3_answer_echoes_the_request(kind: RequestKind, tag: int, body: str) -> None:
    """The head and the object come back unchanged before the data."""
    data = bytes.fromhex(body)
    expected = bytes([tag]) + V3_HEAD + OBJECTS[kind] + data

    assert expected == messages.encode_answer(REQUESTS[kind], data)


def test_error_answer() -> None:
    """An error echoes the head only and ends in NUL."""
    request = REQUESTS["getpage"]

    assert b"\x67" + V3_HEAD + b"Read error\0" == messages.encode_error(request, "Read error")
    assert b"\x67no\0" == messages.encode_error(replace(request, version=2), "no")


def test_slru_answer_counts_whole_blocks() -> None:
    """A trailing part of a block is not sent."""
    body = messages.slru_body(b"x" * 8192 + b"part")

    assert struct.pack("!I", 1) + b"x" * 8192 == body


@pytest.mark.parametrize(
    ("text", "lsn"), [("0/16B3748", 0x16B3748), ("1A/0", 0x1A_0000_0000), ("0/0", 0)]
)
def test_lsn_text(text: str, lsn: int) -> None:
    """A WAL position is written and read as PostgreSQL does."""
    assert text == messages.format_lsn(lsn)
    assert lsn == messages.parse_lsn(text)


@pytest.mark.parametrize("text", ["16B3748", "x/1", ""])
def test_bad_lsn(text: str) -> None:
    """Something else is refused."""
    with pytest.raises(ValueError, match="inval"):
        messages.parse_lsn(text)
