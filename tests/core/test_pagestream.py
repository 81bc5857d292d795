import re
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pg_hook import (
    HookError,
    Request,
    RequestType,
    ResponseType,
    decode_response,
    encode_request,
    ffi,
    lib,
    pagestream_query,
)
from tests.core import model

PAGE = bytes(range(256)) * 32
UINT32, UINT64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
TENANT, TIMELINE = "0123456789abcdef" * 2, "F" * 32

REQUESTS = st.builds(
    Request,
    type=st.sampled_from(RequestType),
    request_id=UINT64,
    request_lsn=UINT64,
    not_modified_since=UINT64,
    tablespace_oid=UINT32,
    database_oid=UINT32,
    rel_number=UINT32,
    fork=st.integers(0, 3),
    block=UINT32,
    slru_kind=st.integers(0, 2),
    slru_segment=UINT32,
)
VERSIONS = st.sampled_from([2, 3])

EXAMPLE = Request(
    type=RequestType.GET_PAGE,
    request_id=0x0000_1092_0000_0001,
    request_lsn=2**64 - 1,
    not_modified_since=0x16B3748,
    tablespace_oid=1663,
    database_oid=5,
    rel_number=16384,
    fork=1,
    block=7,
    slru_kind=2,
    slru_segment=12,
)
ANSWERS = {
    RequestType.EXISTS: (ResponseType.EXISTS, b"\x01"),
    RequestType.NBLOCKS: (ResponseType.NBLOCKS, struct.pack(">I", 9)),
    RequestType.GET_PAGE: (ResponseType.GET_PAGE, PAGE),
    RequestType.DB_SIZE: (ResponseType.DB_SIZE, struct.pack(">q", 8192 * 3)),
    RequestType.GET_SLRU_SEGMENT: (
        ResponseType.GET_SLRU_SEGMENT,
        struct.pack(">I", 2) + PAGE + PAGE[::-1],
    ),
}


def ask(kind: RequestType) -> Request:
    """The example request of a kind."""
    return replace(EXAMPLE, type=kind)


def answer(kind: RequestType, version: int) -> bytes:
    """A good answer to it."""
    tag, value = ANSWERS[kind]
    return model.response_message(ask(kind), version, tag, value)


def refused(message: bytes, request: Request, version: int) -> str:
    """The name of the reason for which the message is refused."""
    with pytest.raises(HookError) as caught:
        decode_response(message, request, version=version)
    return caught.value.name


def test_get_page_bytes() -> None:
    """A version 3 page request, byte for byte."""
    assert encode_request(EXAMPLE).hex() == (
        "02" "0000109200000001" "ffffffffffffffff" "00000000016b3748"
        "0000067f" "00000005" "00004000" "01" "00000007"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "v2", "v3"),
    [
        (RequestType.EXISTS, 30, 38),
        (RequestType.NBLOCKS, 30, 38),
        (RequestType.GET_PAGE, 34, 42),
        (RequestType.DB_SIZE, 21, 29),
        (RequestType.GET_SLRU_SEGMENT, 22, 30),
    ],
)
def test_request_sizes(kind: RequestType, v2: int, v3: int) -> None:
    """Each request has the size that the protocol's table gives."""
    assert len(encode_request(ask(kind), version=2)) == v2
    assert len(encode_request(ask(kind), version=3)) == v3


@given(request=REQUESTS, version=VERSIONS)
def test_request_model(request: Request, version: int) -> None:
    """Every request encodes as the model does."""
    assert encode_request(request, version=version) == model.request_message(request, version)


@pytest.mark.parametrize(
    ("request_", "version", "name"),
    [
        (EXAMPLE, 1, "PROTOCOL_VERSION"),
        (EXAMPLE, 4, "PROTOCOL_VERSION"),
        (replace(EXAMPLE, fork=4), 3, "VALUE"),
        (replace(EXAMPLE, type=RequestType.GET_SLRU_SEGMENT, slru_kind=3), 3, "VALUE"),
    ],
)
def test_request_refused(request_: Request, version: int, name: str) -> None:
    """What the server could not understand is not sent."""
    with pytest.raises(HookError) as caught:
        encode_request(request_, version=version)
    assert caught.value.name == name


def test_request_needs_a_whole_buffer() -> None:
    """The encoder does not count on luck with short requests."""
    request = ffi.new("struct pgh_request *", {"type": lib.PGH_REQUEST_DB_SIZE})
    out, size = ffi.new("uint8_t[]", 41), ffi.new("size_t *")
    assert lib.pgh_request_encode(request, 3, out, 41, size) == lib.PGH_ERR_BUFFER_TOO_SMALL


@pytest.mark.parametrize("version", [2, 3])
def test_answers(version: int) -> None:
    """Each kind of answer gives its value."""
    got = {
        kind: decode_response(answer(kind, version), ask(kind), version=version) for kind in ANSWERS
    }
    assert got[RequestType.EXISTS].exists
    assert 9 == got[RequestType.NBLOCKS].block_count
    assert PAGE == got[RequestType.GET_PAGE].pages
    assert 8192 * 3 == got[RequestType.DB_SIZE].db_size_bytes
    assert got[RequestType.GET_SLRU_SEGMENT].pages == PAGE + PAGE[::-1]
    assert {kind: response.type for kind, response in got.items()} == {
        kind: tag for kind, (tag, _) in ANSWERS.items()
    }


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"Not found: Tenant\0", b"Not found: Tenant"),
        (b"no end", b"no end"),
        (b"", b""),
        (b"one\0two", b"one"),
    ],
)
def test_error_answer(version: int, kind: RequestType, value: bytes, text: bytes) -> None:
    """An error answers every request; its text may lack the NUL and is never read past the end."""
    message = model.response_message(ask(kind), version, ResponseType.ERROR, value)
    response = decode_response(message, ask(kind), version=version)
    assert (response.type, response.text) == (ResponseType.ERROR, text)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ANSWERS)
def test_every_cut_is_short_and_every_rest_is_long(version: int, kind: RequestType) -> None:
    """An answer cut anywhere is short; one byte more is long."""
    message = answer(kind, version)
    cuts = [*range(60), *range(8190, 8250), len(message) - 1]
    names = {refused(message[:cut], ask(kind), version) for cut in cuts if cut < len(message)}
    assert {"MESSAGE_SHORT"} == names
    assert "MESSAGE_LONG" == refused(message + b"\0", ask(kind), version)


@pytest.mark.parametrize("kind", ANSWERS)
def test_echo_is_compared_byte_for_byte(kind: RequestType) -> None:
    """Any flipped byte between the tag and the value means another request."""
    message = answer(kind, 3)
    echo_size = 24 + len(model.key(ask(kind)))
    for at in range(1, 1 + echo_size):
        wrong = message[:at] + bytes([message[at] ^ 0x40]) + message[at + 1 :]
        assert "ECHO" == refused(wrong, ask(kind), 3)


def test_echo_of_an_error_is_compared_too() -> None:
    """An error for another request is not ours; the stream is out of step."""
    other = replace(EXAMPLE, request_id=1)
    message = model.response_message(other, 3, ResponseType.ERROR, b"x\0")
    assert "ECHO" == refused(message, EXAMPLE, 3)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ANSWERS)
def test_tags(version: int, kind: RequestType) -> None:
    """Only the tag that belongs to the request is taken, and unknown ones are told apart."""
    message = answer(kind, version)
    names = {}
    for tag in range(256):
        if tag not in (ANSWERS[kind][0], ResponseType.ERROR):
            names[tag] = refused(bytes([tag]) + message[1:], ask(kind), version)
    known = {tag for tag, name in names.items() if name == "TAG_UNEXPECTED"}
    assert known == {100, 101, 102, 104, 105} - {int(ANSWERS[kind][0])}
    assert {"TAG_UNEXPECTED", "TAG_UNKNOWN"} == set(names.values())


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RequestType.EXISTS, b"\x02"),
        (RequestType.DB_SIZE, struct.pack(">q", -1)),
        (RequestType.GET_SLRU_SEGMENT, struct.pack(">I", 33) + bytes(33 * 8192)),
        (RequestType.GET_SLRU_SEGMENT, struct.pack(">I", 2**32 - 1)),
    ],
)
def test_value_out_of_range(version: int, kind: RequestType, value: bytes) -> None:
    """A value that cannot be is refused; 33 SLRU pages would not fit the reader's buffer."""
    message = model.response_message(ask(kind), version, ANSWERS[kind][0], value)
    assert "VALUE" == refused(message, ask(kind), version)


def test_full_slru_segment() -> None:
    """32 pages are a whole segment, none is an empty one."""
    kind = RequestType.GET_SLRU_SEGMENT
    for count in (0, 32):
        value = struct.pack(">I", count) + bytes(count * 8192)
        message = model.response_message(ask(kind), 3, ANSWERS[kind][0], value)
        response = decode_response(message, ask(kind))
        assert (response.block_count, len(response.pages)) == (count, count * 8192)


@given(request=REQUESTS, version=VERSIONS, message=st.binary(max_size=100))
def test_garbage_never_passes_for_data(request: Request, version: int, message: bytes) -> None:
    """Random bytes are refused, an error, or exactly what the model would have sent."""
    try:
        response = decode_response(message, request, version=version)
    except HookError:
        return
    if response.type == ResponseType.ERROR:
        assert ResponseType.ERROR == message[0]
        return
    size = {ResponseType.EXISTS: 1, ResponseType.NBLOCKS: 4, ResponseType.DB_SIZE: 8}
    value = message[len(message) - size.get(response.type, 4) :]
    assert message == model.response_message(request, version, response.type, value)


@pytest.mark.parametrize("version", [2, 3])
def test_query(version: int) -> None:
    """The query names version and ids, in lower case."""
    assert pagestream_query(TENANT, TIMELINE, version=version) == (
        f"pagestream_v{version} {TENANT} {'f' * 32}"
    )


@pytest.mark.parametrize(
    ("tenant", "timeline", "version", "name"),
    [
        (TENANT, TIMELINE, 1, "PROTOCOL_VERSION"),
        ("", TIMELINE, 3, "TENANT_ID"),
        (TENANT[:31], TIMELINE, 3, "TENANT_ID"),
        (TENANT + "0", TIMELINE, 3, "TENANT_ID"),
        (TENANT[:31] + "g", TIMELINE, 3, "TENANT_ID"),
        (TENANT, TIMELINE[:31] + " ", 3, "TIMELINE_ID"),
        (TENANT, TIMELINE + "-0102", 3, "TIMELINE_ID"),
    ],
)
def test_query_refused(tenant: str, timeline: str, version: int, name: str) -> None:
    """An id that is not 32 hexadecimal digits never becomes part of a query."""
    with pytest.raises(HookError) as caught:
        pagestream_query(tenant, timeline, version=version)
    assert caught.value.name == name


@given(st.one_of(st.text("0123456789abcdefABCDEFg -", max_size=40), st.from_regex(r"[0-9a-f]{32}")))
def test_an_id_is_32_hexadecimal_digits(text: str) -> None:
    """Nothing shorter, longer or with any other character is a tenant or a timeline."""
    expected = re.fullmatch(r"[0-9a-fA-F]{32}", text) is not None
    assert lib.pgh_id_valid(text.encode()) is expected
