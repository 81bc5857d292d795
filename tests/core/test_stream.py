"""What reports of Neon's client are worth, one after another: see pg_hook/stream.c."""

import pytest

from pg_hook.suspicion import (
    ReportEndpoint,
    Stream,
    Trouble,
    Value,
    Verdict,
    classify_report,
    report_names,
)

MS = 1000
START = 1_000_000
TAG, SAID = "[NEON_SMGR] [shard %d] ", "[NEON_SMGR] [shard 0] "
SAME, OTHER, UNKNOWN = ReportEndpoint.SAME, ReportEndpoint.OTHER, ReportEndpoint.UNKNOWN


def verdict(text: str, value: str = "") -> Verdict:
    """Judge a report of Neon's client."""
    found = classify_report(f"{TAG}{text}%s", f"{SAID}{text}{value}", sqlstate="00000")
    assert found is not None
    return found


CONNECTED = verdict("libpagestore: connected to ", "'host=a'")
ENDED = verdict("pageserver_receive disconnect: psql end of copy data: ")
LOST = verdict("could not get response from pageserver: ", "server closed")
REFUSED = verdict("could not connect to pageserver: ", "Connection refused")
SILENT = verdict("no response received from pageserver for ", "10 s")
ANSWERED = verdict("received response from pageserver after ", "12 s")


def test_a_connection_and_an_answer_are_heard() -> None:
    """A handshake is no success; an answer after silence is."""
    assert (False, Trouble.NONE) == (CONNECTED.useful, CONNECTED.trouble)
    assert ANSWERED.useful


def test_an_end_is_told_by_what_follows() -> None:
    """One end waits; told again it says nothing; a reconnect ends the matter."""
    stream = Stream()
    assert stream.report(CONNECTED, START) is Value.CONNECTED
    assert stream.report(LOST, START) is Value.WAITS
    assert stream.report(ENDED, START) is Value.REPEATS
    assert stream.report(CONNECTED, START + MS) is Value.CONNECTED
    assert stream.report(ENDED, START + 600_000 * MS) is Value.WAITS


@pytest.mark.parametrize(("after", "value"), [(MS, Value.COUNTS), (1001 * MS, Value.WAITS)])
def test_a_stream_that_ends_again_at_once_counts(after: int, value: Value) -> None:
    """A server that takes connections and ends each stream does not serve us."""
    stream = Stream()
    assert stream.report(ENDED, START) is Value.WAITS
    stream.report(CONNECTED, START)
    assert stream.report(ENDED, START + after) is value


def test_a_reconnect_that_fails_counts() -> None:
    """What cannot be connected to counts at once, after an end or without."""
    stream = Stream()
    assert stream.report(REFUSED, START) is Value.COUNTS
    assert stream.report(ENDED, START) is Value.WAITS
    assert stream.report(REFUSED, START + MS) is Value.COUNTS
    assert stream.report(SILENT, START + MS) is Value.COUNTS


def test_a_stream_to_the_old_endpoint_counts_no_more() -> None:
    """Its end, its silence and its answer say nothing about the new endpoint."""
    stream = Stream()
    stream.report(CONNECTED, START, renewals=1)
    for report in (SILENT, ANSWERED, ENDED):
        assert stream.report(report, START, renewals=2) is Value.STALE
    assert stream.report(CONNECTED, START, names=SAME, renewals=2) is Value.CONNECTED
    assert stream.report(ENDED, START, renewals=2) is Value.WAITS


def test_one_late_attempt_counts_no_more() -> None:
    """By its address, however late; without an address the first after the reload."""
    stream = Stream()
    assert stream.report(REFUSED, START, renewals=1) is Value.COUNTS
    for _ in range(3):
        assert stream.report(REFUSED, START, names=OTHER, renewals=2) is Value.STALE
    assert stream.report(REFUSED, START, names=SAME, renewals=2) is Value.COUNTS
    assert stream.report(REFUSED, START, names=UNKNOWN, renewals=3) is Value.STALE
    assert stream.report(REFUSED, START, names=UNKNOWN, renewals=3) is Value.COUNTS


def test_a_new_process_has_no_late_attempt() -> None:
    """Who reports for the first time read the list that is in force."""
    assert Stream().report(REFUSED, START, renewals=7) is Value.COUNTS
    assert Stream().report(ENDED, START, renewals=7) is Value.WAITS


A = 'connection to server at "10.0.0.1", port 6400 failed: Connection refused'
B = 'connection to server at "ps-1.local" (10.0.0.1), port 6400 failed: timeout'
C = 'could not translate host name "ps-1.local" to address: unknown'
D = 'could not connect to server: refused\n\tIs the server running on host "::1" and accepting\n'


@pytest.mark.parametrize(
    ("message", "endpoint", "expected"),
    [
        (A, "postgresql://no_user@10.0.0.1:6400", SAME),
        (A, "host=10.0.0.1 port=6400", SAME),
        (A, "host=10.0.0.1 port=6401", OTHER),
        (A, "host=10.0.0.11 port=6400", OTHER),
        (A, "host=10.0.0.2 port=6400", OTHER),
        (B, "postgresql://no_user@ps-1.local:6400/db", SAME),
        (B, "postgresql://no_user@eps-1.local:6400", OTHER),
        (C, "host=ps-1.local", SAME),
        (C, "host=ps-2.local", OTHER),
        (D + "\tTCP/IP connections on port 6400?", "postgresql://no_user@[::1]:6400", SAME),
        (D + "\tTCP/IP connections on port 5432?", "host=::1", SAME),
        ("libpagestore: connected to 'host=a port=1' with", "host=a port=1", SAME),
        ("libpagestore: connected to 'host=a port=1' with", "host=a port=2", OTHER),
        (A.replace("6400", "54321"), "host=10.0.0.1 port=6400", OTHER),
        ("server closed the connection unexpectedly", "host=a", UNKNOWN),
        ('at "', "host=a", UNKNOWN),
        ("", "", UNKNOWN),
    ],
)
def test_the_endpoint_that_a_message_names(
    message: str, endpoint: str, expected: ReportEndpoint
) -> None:
    """Host and port as libpq writes them, in each of its versions."""
    assert report_names(message, endpoint) is expected
