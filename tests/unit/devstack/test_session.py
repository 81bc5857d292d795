"""devstack.pageserver.session: the connection as a state machine."""

import struct

import pytest

from devstack.pageserver import session, wire
from devstack.pageserver.session import Phase, Session

TENANT, TIMELINE = "9f3c1d5e7a804b26a1c4e85d02f7b369", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
STREAM = session.StreamQuery(version=3, tenant=TENANT, timeline=TIMELINE)


def fed(data: bytes, phase: Phase = Phase.STARTUP) -> Session:
    """A session in `phase` that has received `data`."""
    result = Session()
    result.phase = phase
    if phase is Phase.STREAM:
        result.begin_stream(STREAM)
    result.feed(data)
    return result


def query(text: str) -> bytes:
    """A simple query."""
    return wire.message(b"Q", text.encode() + b"\0")


def test_libpqs_handshake() -> None:
    """SSLRequest, StartupMessage, query, request: each becomes its event, in order."""
    params = b"user\0no_user\0database\0no_user\0\0"
    machine = fed(
        bytes.fromhex("00000008 04d2162f")
        + struct.pack("!II", len(params) + 8, 196608)
        + params
        + query(f"pagestream_v3 {TENANT} {TIMELINE}")
        + wire.copy_data(b"\x02abc")
    )

    assert isinstance(machine.next_event(), session.EncryptionRequested)
    startup = session.Startup(params={"user": "no_user", "database": "no_user"})
    assert startup == machine.next_event()
    assert machine.admit() == wire.TRUST_WELCOME
    assert STREAM == machine.next_event()
    assert machine.begin_stream(STREAM) == wire.COPY_BOTH
    assert session.Payload(data=b"\x02abc", stream=STREAM) == machine.next_event()
    assert machine.next_event() is None


def test_token_login() -> None:
    """The token loses its NUL, and the welcome is the short one."""
    machine = fed(b"")
    machine.feed(struct.pack("!II", 9, 196608) + b"\0")

    assert session.Startup(params={}) == machine.next_event()
    assert bytes.fromhex("52 00000008 00000003") == machine.ask_token()
    machine.feed(wire.message(b"p", b"the.token\0"))
    assert session.Token(text="the.token") == machine.next_event()
    assert machine.admit() == wire.TOKEN_WELCOME


@pytest.mark.parametrize(
    ("data", "phase"),
    [
        pytest.param(bytes.fromhex("00000008 04d2162e"), Phase.STARTUP, id="cancel"),
        pytest.param(query("select 1"), Phase.TOKEN, id="query for password"),
        pytest.param(wire.copy_data(b"x"), Phase.IDLE, id="copy data outside copy"),
        pytest.param(wire.COPY_DONE, Phase.IDLE, id="copy done outside copy"),
    ],
)
def test_breach_drops_the_connection(data: bytes, phase: Phase) -> None:
    """What the reference answers by hanging up raises."""
    with pytest.raises(wire.WireError):
        fed(data, phase).next_event()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (f"pagestream_v2 {TENANT} {TIMELINE}", 2),
        (f"  PageStream_V3   {TENANT.upper()}  {TIMELINE} ", 3),
    ],
)
def test_stream_query(text: str, version: int) -> None:
    """The command is not case-sensitive, blanks do not matter, ids become lower case."""
    expected = session.StreamQuery(version=version, tenant=TENANT, timeline=TIMELINE)

    assert expected == fed(query(text), Phase.IDLE).next_event()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("select 1", "unsupported command select 1"),
        (f"pagestream {TENANT} {TIMELINE}", f"unsupported command pagestream {TENANT} {TIMELINE}"),
        (f"pagestream_v3 {TENANT}", "invalid param number for pagestream command"),
        (
            f"pagestream_v3 {TENANT}-0004 {TIMELINE}",
            f"Failed to parse tenant id from {TENANT}-0004",
        ),
        (f"pagestream_v2 {TENANT} xyz", "Failed to parse timeline id from xyz"),
    ],
)
def test_refused_query(text: str, error: str) -> None:
    """A query that is not understood is refused, and the connection stays usable."""
    expected = wire.error_response("XX000", error) + wire.READY

    assert session.OtherQuery(answer=expected) == fed(query(text), Phase.IDLE).next_event()


def test_set_is_accepted() -> None:
    """`set` is answered as if it had done something."""
    expected = bytes.fromhex("43 0000000d") + b"SELECT 1\0" + wire.READY

    answer = fed(query("set x = 1"), Phase.IDLE).next_event()

    assert session.OtherQuery(answer=expected) == answer


@pytest.mark.parametrize(
    ("data", "name"), [(wire.COPY_DONE, "CopyDone"), (wire.message(b"f", b"x\0"), "CopyFail")]
)
def test_stray_message_in_a_stream(data: bytes, name: str) -> None:
    """A message that is no request ends the stream and is named."""
    expected = session.Stray(text=f"unexpected message: {name} during COPY")

    assert expected == fed(data, Phase.STREAM).next_event()


def test_terminate() -> None:
    """The goodbye is recognised with and without a stream."""
    for phase in (Phase.IDLE, Phase.STREAM):
        assert session.Terminate() == fed(wire.message(b"X"), phase).next_event()


def test_stream_ends_out_of_copy_mode() -> None:
    """After an error the connection takes a new query."""
    machine = fed(b"", Phase.STREAM)

    answer = machine.end_stream("XX000", "not found", ready=True)

    assert wire.error_response("XX000", "not found") + wire.READY == answer
    assert Phase.IDLE is machine.phase
