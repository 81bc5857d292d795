import pytest

from pg_hook import Certainty, Source, Trouble, classify_report

DEAD, SILENT, WRONG, NONSENSE = Trouble.DEAD, Trouble.SILENT, Trouble.WRONG, Trouble.NONSENSE
NEON = "[NEON_SMGR] [shard %d] "


@pytest.mark.parametrize(
    ("text", "values", "trouble"),
    [
        ("could not establish connection to pageserver", "", DEAD),
        ("could not connect to pageserver", "", DEAD),
        ("could not connect to pageserver: %s", "Connection refused", DEAD),
        ("could not connect to pageserver: %s", "ERROR:  JWT authentication error", WRONG),
        ("could not send pagestream command to pageserver", "", DEAD),
        ("could not complete handshake with pageserver: %s", "server closed", DEAD),
        ("could not get response from pageserver: %s", "server closed", DEAD),
        ("could not get response from pageserver: %s", "ERROR:  JWT expired", WRONG),
        ("no response received from pageserver for %0.3f s, still waiting", "", SILENT),
        ("no response from pageserver for %0.3f s, disconnecting", "", SILENT),
        ("pageserver_send disconnect bad connection", "", DEAD),
        ("pageserver_send disconnected: failed to send page request", "", DEAD),
        ("pageserver_flush disconnect because failed to flush", "", DEAD),
        ("pageserver_send disconnected: failed to send page request: %s", "ERROR:  JWT", WRONG),
        ("pageserver_receive disconnect: psql end of copy data: %s", "", WRONG),
        ("pageserver_receive disconnect: psql end of copy data: %s", "server closed the", DEAD),
        ("pageserver_receive: returning NULL for non-connected connection: 0x%02x", "1", DEAD),
        ("Tried to flush while disconnected", "", DEAD),
        ("request failed too many times, cancelling query", "", DEAD),
        ("refresh_configuration request failed, cancelling query", "", DEAD),
        ("Broken connection state: %s", "x", NONSENSE),
        ("Unexpected prefetch response %u", "7", NONSENSE),
        ("unexpected neon message tag 0x%02x", "7", NONSENSE),
        ("Error message {reqid=%lx} doesn't match exists request", "", NONSENSE),
        ("pageserver_receive disconnect: could not read COPY data: %s", "lost", NONSENSE),
        ("pageserver_receive disconnect: unexpected PQgetCopyData return value: %d", "", NONSENSE),
        (
            "pageserver_receive: disconnect due to failure while parsing response",
            "",
            NONSENSE,
        ),
    ],
)
def test_neon_client(text: str, values: str, trouble: Trouble) -> None:
    """Neon's pageserver client is known by its format string, the shard by the message."""
    message = "[NEON_SMGR] [shard 17] " + text.split("%", maxsplit=1)[0] + values
    verdict = classify_report(NEON + text, message)
    assert verdict is not None
    assert (Source.PAGESERVER, 17) == (verdict.source, verdict.shard)
    assert (verdict.trouble, verdict.certainty) == (trouble, Certainty.SUSPECT)


@pytest.mark.parametrize(
    ("detail", "trouble", "certainty"),
    [
        ("Not found: Tenant x was not found", WRONG, Certainty.CERTAIN),
        ("LSN timeout: x", SILENT, Certainty.SUSPECT),
    ],
)
def test_neon_page_error(detail: str, trouble: Trouble, certainty: Certainty) -> None:
    """An error inside Neon's stream says its reason in the detail."""
    verdict = classify_report(
        "[NEON_SMGR] [shard %d] [reqid %lx] could not read block %u",
        "[NEON_SMGR] [shard 3] [reqid 1f] could not read block 7",
        sqlstate="58030",
        detail=f"page server returned error: {detail}",
    )
    assert verdict is not None
    assert (verdict.trouble, verdict.certainty, verdict.shard) == (trouble, certainty, 3)


@pytest.mark.parametrize(
    ("message_id", "message", "sqlstate", "detail"),
    [
        (None, "[NEON_SMGR] [shard 1] could not connect to pageserver", "XX000", ""),
        ("%s", "[NEON_SMGR] [shard 1] could not connect to pageserver", "XX000", ""),
        ("%s", "[NEON_SMGR] x", "58030", "page server returned error: Not found: Tenant"),
        ("[NEON_SMGR] Shard %d is greater or equal than number of shards %d", "", "XX000", ""),
        (NEON + "could not read block", "", "58030", "page server returned error: Bad request: x"),
        ("could not read block", "", "58030", "page server returned error: Not found: Tenant"),
        ("[WP] restarting walproposer to change safekeeper list", "", "XX000", ""),
        ("[WP] restarting to adopt mconf generation %d", "", "XX000", ""),
        ("[WP] connected with node %s:%s", "[WP] connected with node a:1", "00000", ""),
        ("could not connect to the primary server: %s", "", "08006", ""),
        ("", "", "", ""),
    ],
)
def test_not_ours(message_id: str | None, message: str, sqlstate: str, detail: str) -> None:
    """What a user can raise, what is routine, and what has no format string means nothing."""
    assert classify_report(message_id, message, sqlstate=sqlstate, detail=detail) is None


@pytest.mark.parametrize(
    ("digits", "shard"), [("0", 0), ("127", 127), ("128", -1), ("9" * 40, -1), ("x", -1)]
)
def test_shard_number(digits: str, shard: int) -> None:
    """A shard number that cannot be is none."""
    verdict = classify_report(
        NEON + "could not connect to pageserver",
        f"[NEON_SMGR] [shard {digits}] could not connect to pageserver",
    )
    assert verdict is not None
    assert verdict.shard == shard


@pytest.mark.parametrize(
    ("text", "values", "trouble"),
    [
        ("immediate failure to connect with node '%s:%s'", "'sk1:5454'", DEAD),
        ("failed to connect to node '%s:%s': %s", "'sk1:5454': Connection refused", DEAD),
        ("EOF from node %s:%s in %s state", "sk1:5454 in active state", DEAD),
        ("failed to read from node %s:%s in %s state: %s", "sk1:5454 in x state: y", DEAD),
        (
            "terminating connection to safekeeper '%s:%s' in '%s' state",
            "'sk1:5454' in 'active' state",
            SILENT,
        ),
        (
            "failed to send '%s' query to safekeeper %s:%s: %s",
            "'Q' to safekeeper sk1:5454: x",
            DEAD,
        ),
        ("failed to flush write to node %s:%s in %s state: %s", "sk1:5454 in x state: y", DEAD),
        ("unexpected message tag %c from node %s:%s", "sk1:5454", NONSENSE),
        (
            "received bad response from safekeeper %s:%s query execution",
            "sk1:5454 query execution",
            NONSENSE,
        ),
    ],
)
def test_safekeeper(text: str, values: str, trouble: Trouble) -> None:
    """Each report of walproposer names the same node alike."""
    named = classify_report("[WP] EOF from node %s:%s", "[WP] EOF from node sk1:5454")
    verdict = classify_report(
        "[WP] " + text,
        "[WP] " + text.split("'%s", maxsplit=1)[0].split("%s", maxsplit=1)[0] + values,
    )
    assert named is not None
    assert verdict is not None
    assert (verdict.source, verdict.trouble) == (Source.SAFEKEEPER, trouble)
    assert (verdict.certainty, verdict.peer) == (Certainty.SUSPECT, named.peer)


def test_safekeepers_differ() -> None:
    """Another node is another peer, and a message without a name has none."""
    peers = [
        verdict.peer
        for name in ("node sk1:5454 in", "node sk2:5454 in", "node '::1:5454': x", "nothing")
        if (verdict := classify_report("[WP] EOF from node", f"[WP] EOF from {name}"))
    ]
    assert 4 == len(set(peers))
    assert 0 == peers[3]


def test_safekeeper_greeting_is_success() -> None:
    """A greeting proves that a node works; it is the node that failed before."""
    failed = classify_report("[WP] EOF from node", "[WP] EOF from node sk1:5454 in x state")
    greeted = classify_report(
        "[WP] received AcceptorGreeting from safekeeper %s:%s, node_id = %lu",
        "[WP] received AcceptorGreeting from safekeeper sk1:5454, node_id = 1",
        sqlstate="00000",
    )
    assert failed is not None
    assert greeted is not None
    assert greeted.useful
    assert greeted.peer == failed.peer


@pytest.mark.parametrize(
    ("message_id", "values", "sqlstate", "trouble", "certainty"),
    [
        ("could not connect to the primary server: %s", "refused", "08006", DEAD, 1),
        (
            'streaming replication receiver "%s" could not connect to the primary server: %s',
            "refused",
            "08006",
            DEAD,
            1,
        ),
        ("could not connect to the primary server: %s", "FATAL:  no entry", "08006", WRONG, 1),
        ("could not receive data from WAL stream: %s", "closed", "08006", DEAD, 1),
        ("could not receive data from WAL stream: %s", "ERROR:  removed", "08P01", WRONG, 1),
        ("could not send data to WAL stream: %s", "closed", "08006", DEAD, 1),
        ("terminating walreceiver due to timeout", "", "08006", SILENT, 1),
        (
            "database system identifier differs between the primary and standby",
            "",
            "55000",
            WRONG,
            2,
        ),
        ("highest timeline %u of the primary is behind", "", "55000", WRONG, 1),
        ("could not start WAL streaming: %s", "", "08P01", WRONG, 1),
        ("invalid response from primary server", "", "08P01", NONSENSE, 1),
        ("something new about the connection", "", "08003", DEAD, 1),
    ],
)
def test_walreceiver(
    message_id: str, values: str, sqlstate: str, trouble: Trouble, certainty: int
) -> None:
    """The walreceiver's errors, by format string first and SQLSTATE last."""
    verdict = classify_report(message_id, f"x: {values}", sqlstate=sqlstate, is_wal_receiver=True)
    assert verdict is not None
    assert (verdict.source, verdict.trouble) == (Source.PRIMARY, trouble)
    assert verdict.certainty == certainty


@pytest.mark.parametrize(
    ("message_id", "sqlstate"),
    [
        ("terminating walreceiver process due to administrator command", "57P01"),
        ("replication terminated by primary server", "00000"),
        ("could not write to log file", "53100"),
    ],
)
def test_walreceiver_not_trouble(message_id: str, sqlstate: str) -> None:
    """A reload ends a healthy walreceiver, and a local error is not the primary's."""
    assert classify_report(message_id, "x", sqlstate=sqlstate, is_wal_receiver=True) is None


@pytest.mark.parametrize(
    "message_id",
    [
        "new timeline %u forked off current database system timeline %u before current recovery "
        "point %X/%X",
        "new timeline %u is not a child of database system timeline %u",
    ],
)
def test_a_history_that_forked_off(message_id: str) -> None:
    """The startup process knows that no primary of this history can be followed."""
    verdict = classify_report(message_id, "new timeline 2 ...", sqlstate="00000")
    assert verdict is not None
    assert (Source.PRIMARY, Trouble.WRONG) == (verdict.source, verdict.trouble)
    assert Certainty.CERTAIN == verdict.certainty
    assert classify_report("%s", "new timeline 2 forked off current", sqlstate="00000") is None


def test_walreceiver_success() -> None:
    """Streaming ends the suspicion."""
    verdict = classify_report(
        "started streaming WAL from primary at %X/%X on timeline %u",
        "x",
        sqlstate="00000",
        is_wal_receiver=True,
    )
    assert verdict is not None
    assert (Source.PRIMARY, True) == (verdict.source, verdict.useful)
