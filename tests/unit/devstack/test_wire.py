"""devstack.pageserver.wire: bytes of the libpq protocol."""

import struct

import pytest

from devstack.pageserver import wire


def startup(params: bytes, code: int = 196608) -> bytes:
    """A start-up packet around parameters."""
    return struct.pack("!II", len(params) + 8, code) + params


def test_errors_have_the_references_bytes() -> None:
    """The reconnect and shutdown errors are exactly what a pageserver puts on the wire."""
    reconnect = bytes.fromhex(
        "45 0000001e 53 4552524f5200 43 303830303600 4d 7265636f6e6e65637400 00"
    )
    shutdown = bytes.fromhex("45 0000001d 53 4552524f5200 43 353750303100 4d 73687574646f776e00 00")

    assert reconnect == wire.error_response("08006", "reconnect")
    assert shutdown == wire.error_response("57P01", "shutdown")
    assert (31, 30) == (len(reconnect), len(shutdown))


def test_trust_welcome() -> None:
    """A trusted client is told three parameters, no key data, and that the server is idle."""
    expected = (
        bytes.fromhex("52 00000008 00000000")
        + bytes.fromhex("53 00000019") + b"client_encoding\0UTF8\0"
        + bytes.fromhex("53 00000019") + b"integer_datetimes\0on\0"
        + bytes.fromhex("53 00000018") + b"server_version\x0014.1\0"
        + bytes.fromhex("5a 00000005 49")
    )  # fmt: skip

    assert expected == wire.TRUST_WELCOME


def test_token_welcome_has_one_parameter() -> None:
    """After a token login only client_encoding is told."""
    expected = bytes.fromhex("52 00000008 00000000 53 00000019") + b"client_encoding\0UTF8\0"

    assert expected + bytes.fromhex("5a 00000005 49") == wire.TOKEN_WELCOME


def test_copy_both_bytes() -> None:
    """CopyBoth announces text format and no columns."""
    assert bytes.fromhex("57 00000007 00 0000") == wire.COPY_BOTH


def test_startup_comes_in_pieces() -> None:
    """A start-up packet is taken when its last byte is there, and only its bytes."""
    packet = startup(b"user\0no_user\0options\0-c neon.compute_mode=replica\0\0")
    buffer = bytearray(packet[:-1])

    assert wire.take_startup(buffer) is None

    buffer += packet[-1:] + b"rest"
    taken = wire.take_startup(buffer)

    assert taken is not None
    assert {"user": "no_user", "options": "-c neon.compute_mode=replica"} == taken.params
    assert b"rest" == buffer


def test_startup_with_an_empty_value() -> None:
    """An empty last value is kept."""
    taken = wire.take_startup(bytearray(startup(b"user\0u\0database\0\0\0")))

    assert taken is not None
    assert {"user": "u", "database": ""} == taken.params


@pytest.mark.parametrize("code", [80877102, 80877103, 80877104])
def test_request_codes(code: int) -> None:
    """Cancel, SSL and GSS requests carry a code and no parameters."""
    taken = wire.take_startup(bytearray(struct.pack("!II", 8, code)))

    assert wire.StartupPacket(code=code, params={}) == taken


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(struct.pack("!I", 7), id="too short"),
        pytest.param(struct.pack("!I", 10_001), id="too long"),
        pytest.param(startup(b"user\0no_user"), id="no terminator"),
        pytest.param(startup(b"user\0\xff\xfe\0\0"), id="not UTF-8"),
    ],
)
def test_startup_limits(packet: bytes) -> None:
    """A start-up packet that the reference refuses is a breach of the protocol."""
    with pytest.raises(wire.WireError):
        wire.take_startup(bytearray(packet))


def test_longest_startup_is_accepted() -> None:
    """10000 bytes are still a start-up packet."""
    padding = b"a" * (10_000 - 8 - 7)

    taken = wire.take_startup(bytearray(startup(b"user\0" + padding + b"\0\0")))

    assert taken is not None
    assert {"user": padding.decode()} == taken.params


def test_message_comes_in_pieces() -> None:
    """A typed message is taken when it is complete."""
    buffer = bytearray(b"Q\0\0\0\x08ab")

    assert wire.take_message(buffer) is None

    buffer += b"c\0X"

    assert (b"Q", b"abc\0") == wire.take_message(buffer)
    assert b"X" == buffer


@pytest.mark.parametrize("length", [0, 3, 0x7FFF_FFFF])
def test_message_length_is_checked(length: int) -> None:
    """A length that no message can have is a breach of the protocol."""
    with pytest.raises(wire.WireError):
        wire.take_message(bytearray(b"d" + struct.pack("!I", length)))


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ("-c neon.compute_mode=primary", "primary"),
        ("-c a=b -c neon.compute_mode=static", "static"),
        ("neon.compute_mode=primary", None),
        ("-c neon.compute_mode", None),
        ("", None),
    ],
)
def test_compute_mode(options: str, mode: str | None) -> None:
    """The compute mode is found in the options; malformed ones are no error."""
    assert mode == wire.compute_mode(options)
