import pytest

from pg_hook import Cause, Certainty, Phase, Source, Trouble, classify_client, ffi, lib

NONE, SUSPECT, CERTAIN = Certainty.NONE, Certainty.SUSPECT, Certainty.CERTAIN
DEAD, SILENT, WRONG, NONSENSE = (
    Trouble.DEAD,
    Trouble.SILENT,
    Trouble.WRONG,
    Trouble.NONSENSE,
)
RESPONSE, STARTUP, CONNECT, QUERY = (
    Phase.RESPONSE,
    Phase.STARTUP,
    Phase.CONNECT,
    Phase.PAGESTREAM,
)

SERVER_ERRORS = [
    (RESPONSE, "08006", "reconnect", WRONG, CERTAIN),
    (RESPONSE, "08006", "reconnecting", DEAD, SUSPECT),
    (RESPONSE, "XX000", "not found", WRONG, CERTAIN),
    (RESPONSE, "XX000", "Tenant is broken: x", WRONG, CERTAIN),
    (RESPONSE, "08006", "Timed out waiting 5s for tenant active state", SILENT, SUSPECT),
    (RESPONSE, "57P02", "crash", WRONG, SUSPECT),
    (RESPONSE, "XX000", "JWT authentication error", WRONG, SUSPECT),
    (RESPONSE, "XX000", "reconnect to switch tenant id", WRONG, SUSPECT),
    (RESPONSE, "XX000", "invalid message tag", NONSENSE, SUSPECT),
    (RESPONSE, "", "", NONSENSE, SUSPECT),
    (QUERY, "XX000", "JWT authentication error", WRONG, SUSPECT),
    (QUERY, "XX000", "unsupported command pagestream_v9", NONSENSE, SUSPECT),
    (QUERY, "42601", 'syntax error at or near "pagestream_v3"', NONSENSE, SUSPECT),
    (QUERY, "08006", "reconnect", WRONG, SUSPECT),
    (QUERY, "53300", "too many connections", DEAD, SUSPECT),
    (STARTUP, "57P03", "the database system is starting up", DEAD, SUSPECT),
    (STARTUP, "53300", "too many connections", DEAD, SUSPECT),
    (STARTUP, "28000", "no entry", WRONG, SUSPECT),
    (STARTUP, "XX000", "must connect with TLS", WRONG, SUSPECT),
    (CONNECT, "", "", WRONG, SUSPECT),
]


@pytest.mark.parametrize(("phase", "sqlstate", "text", "trouble", "certainty"), SERVER_ERRORS)
def test_server_error(
    phase: Phase, sqlstate: str, text: str, trouble: Trouble, certainty: Certainty
) -> None:
    """An ErrorResponse is judged by phase, SQLSTATE and text; idle or not, retried or not."""
    for idle in (False, True):
        for retried in (False, True):
            verdict = classify_client(
                phase,
                Cause.SERVER_ERROR,
                sqlstate=sqlstate,
                text=text,
                idle_before_request=idle,
                already_retried=retried,
            )
            assert (verdict.trouble, verdict.certainty) == (trouble, certainty)
            assert not verdict.retry_at_once
            assert not verdict.useful


@pytest.mark.parametrize(
    ("phase", "sqlstate", "text", "trouble"),
    [
        (RESPONSE, "57P01", "shutdown", WRONG),
        (QUERY, "57P01", "shutdown", WRONG),
        (STARTUP, "57P01", "shutdown", WRONG),
        (RESPONSE, "08006", "timed out", SILENT),
    ],
)
def test_orderly_end_gets_one_free_reconnect(
    phase: Phase, sqlstate: str, text: str, trouble: Trouble
) -> None:
    """A shutdown or idle timeout is no failure the first time, and one the second."""
    first = classify_client(phase, Cause.SERVER_ERROR, sqlstate=sqlstate, text=text)
    assert (Trouble.NONE, NONE, True) == (first.trouble, first.certainty, first.retry_at_once)
    second = classify_client(
        phase, Cause.SERVER_ERROR, sqlstate=sqlstate, text=text, already_retried=True
    )
    assert (second.trouble, second.certainty, second.retry_at_once) == (trouble, SUSPECT, False)


@pytest.mark.parametrize(
    ("text", "trouble", "certainty"),
    [
        (
            "Not found: Timed out waiting 5s for tenant active state. Latest state: None",
            SILENT,
            SUSPECT,
        ),
        ("Not found: Tenant 0123 was not found", WRONG, CERTAIN),
        ("Not found: Tenant is broken: x", WRONG, CERTAIN),
        ("Not found: Timeline 01/02 was not found", WRONG, CERTAIN),
        ("Not found: Timeline 01/02 is not active, state: Loading", WRONG, SUSPECT),
        ("Not found: reconnect to switch tenant id", WRONG, SUSPECT),
        ("LSN timeout: Timed out while waiting for WAL record at LSN 0/1", SILENT, SUSPECT),
        ("Bad request: invalid SLRU kind", Trouble.NONE, NONE),
        ("Read error", Trouble.NONE, NONE),
        ("", Trouble.NONE, NONE),
        ("Not found", Trouble.NONE, NONE),
    ],
)
def test_page_error(text: str, trouble: Trouble, certainty: Certainty) -> None:
    """An error inside the stream counts where it means wrong place or too late."""
    verdict = classify_client(RESPONSE, Cause.PAGE_ERROR, text=text)
    assert (verdict.trouble, verdict.certainty) == (trouble, certainty)
    assert not verdict.useful


@pytest.mark.parametrize(
    ("phase", "text", "trouble"),
    [
        (CONNECT, 'connection to server at "x" failed: Connection refused', DEAD),
        (CONNECT, 'could not translate host name "x" to address', DEAD),
        (CONNECT, "", DEAD),
        (STARTUP, "server closed the connection unexpectedly", DEAD),
        (STARTUP, "connection to server failed: ERROR:  JWT authentication error", WRONG),
        (STARTUP, "connection to server failed: FATAL:  no pg_hba.conf entry", WRONG),
        (STARTUP, "fe_sendauth: no password supplied", WRONG),
        (STARTUP, "server does not support SSL, but SSL was required", WRONG),
        (STARTUP, "expected authentication request from server, but received H", NONSENSE),
        (STARTUP, 'received invalid response to SSL negotiation: "H"', NONSENSE),
        (QUERY, 'lost synchronization with server: got message type "d", length 1', NONSENSE),
        (RESPONSE, "server closed the connection unexpectedly", DEAD),
        (RESPONSE, "ERROR:  what came before", DEAD),
    ],
)
def test_connection_lost(phase: Phase, text: str, trouble: Trouble) -> None:
    """libpq's words tell a refusal and nonsense from plain death."""
    verdict = classify_client(phase, Cause.CONNECTION, text=text)
    assert (verdict.trouble, verdict.certainty) == (trouble, SUSPECT)


def test_idle_close_gets_one_free_reconnect() -> None:
    """A connection that had ended before the request is no failure; a second time it is."""
    first = classify_client(RESPONSE, Cause.CONNECTION, idle_before_request=True)
    assert (Trouble.NONE, NONE, True) == (first.trouble, first.certainty, first.retry_at_once)
    again = classify_client(
        RESPONSE, Cause.CONNECTION, idle_before_request=True, already_retried=True
    )
    assert (DEAD, SUSPECT, False) == (again.trouble, again.certainty, again.retry_at_once)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(("cause", "trouble"), [("DEADLINE", SILENT), ("MALFORMED", NONSENSE)])
def test_silence_and_nonsense_in_every_phase(phase: Phase, cause: str, trouble: Trouble) -> None:
    """Silence is silent and a broken message is nonsense, whatever the phase."""
    verdict = classify_client(phase, Cause[cause])
    assert (verdict.trouble, verdict.certainty, verdict.useful) == (trouble, SUSPECT, False)


def test_answer_is_the_only_useful_event() -> None:
    """A data answer proves health, and nothing else does."""
    assert classify_client(RESPONSE, Cause.ANSWER).useful
    assert NONE == classify_client(RESPONSE, Cause.ANSWER).certainty
    assert Source.PAGESERVER == classify_client(RESPONSE, Cause.ANSWER).source
    assert not [c for c in Cause if c != Cause.ANSWER and classify_client(RESPONSE, c).useful]


def test_missing_texts() -> None:
    """Texts that libpq did not give may be NULL."""
    event = ffi.new(
        "struct pgh_client_event *",
        {
            "phase": Phase.RESPONSE,
            "cause": Cause.SERVER_ERROR,
            "sqlstate": ffi.NULL,
            "text": ffi.NULL,
            "text_len": 99,
        },
    )
    verdict = ffi.new("struct pgh_verdict *")
    lib.pgh_classify_client(event, verdict)
    assert (NONSENSE, SUSPECT) == (verdict.trouble, verdict.certainty)


@pytest.mark.parametrize(
    ("certainty", "failures", "threshold", "raises"),
    [
        (NONE, 9, 1, False),
        (SUSPECT, 1, 1, True),
        (SUSPECT, 2, 3, False),
        (SUSPECT, 3, 3, True),
        (CERTAIN, 1, 3, True),
    ],
)
def test_threshold(certainty: Certainty, failures: int, threshold: int, raises: bool) -> None:
    """Suspects count, a certain error needs one."""
    verdict = ffi.new("struct pgh_verdict *", {"certainty": certainty})
    assert lib.pgh_verdict_raises(verdict, failures, threshold) is raises
