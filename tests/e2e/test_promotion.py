"""A standby becomes a primary, or stays one that follows."""

import json
import shutil

import pytest

from devstack.daemon import UnixConnection
from devstack.installation import give_away, make_folder
from devstack.wait import wait_until
from tests.e2e.promoting import (
    FAR,
    Pair,
    is_primary,
    is_standby,
    primary,
    startup_stopped,
    waits_for_promotion,
)
from tests.e2e.test_standby import run_cli


def test_a_standby_is_promoted(pair: Pair) -> None:
    """It has replayed the log of the old primary, and runs with the document; twice is the same."""
    pair.start()
    pair.primary.query("insert into story values (7)")
    end = pair.primary.value("select pg_current_wal_flush_lsn()::text")
    body = primary(log_min_messages="log") | {"wal_flush_lsn": end}
    body["spec"]["cluster"]["roles"] = [{"name": "reporter"}]

    code, answer = pair.promote(body)

    assert 200 == code, answer
    times = {"lsn_wait_time_ms", "pg_promote_time_ms", "reconfigure_time_ms"}
    assert {"status", *times} == answer.keys()
    assert "completed" == answer["status"]
    assert answer["pg_promote_time_ms"] > 0
    assert pair.standby.query("select 1 from story where n = 7")
    is_primary(pair)
    status = pair.settles()
    assert ("completed", end) == (pair.promotion["status"], pair.promotion["wal_flush_lsn"])
    assert "2" == status["config"]["desired"]["version"]
    role = "select 1 from pg_roles where rolname = 'reporter'"
    wait_until("the role", lambda: pair.standby.query(role), 30)
    code, again = pair.promote(body)
    assert (200, dict.fromkeys(times, 0) | {"status": "completed"}) == (code, again)
    code, answer = pair.promote(primary(3))
    assert (412, "failed", "postgres is a primary already") == (
        code,
        answer["status"],
        answer["error"],
    )
    assert 1 == pair.daemon.metric("compute_ctl_promotion")


def test_a_supervised_standby_is_promoted(supervised_pair: Pair) -> None:
    """The daemon that runs it starts it as a primary from then on."""
    pair = supervised_pair.start()

    code, answer = pair.promote(primary(2, **pair.base))

    assert 200 == code, answer
    is_primary(pair)
    assert not (pair.standby.data / "standby.signal").exists()
    assert 0 == pair.daemon.stop()
    pair.daemon.start()
    pair.settles()
    assert not pair.in_recovery
    assert "6MB" == pair.standby.value("show work_mem")
    assert 0 == pair.daemon.stop()


def test_the_source_cannot_turn_it_back(pair: Pair) -> None:
    """A source that still says Replica, or says it anew, takes nothing away from the primary."""
    pair.start(generation=None)
    assert 200 == pair.promote(primary(None))[0]
    assert "unchanged" == pair.daemon.refresh(), "the document that it has brought before"

    pair.publish(pair.replica(None, log_min_messages="log"))
    code, body = pair.daemon.call("POST", "/refresh_configuration?wait=20")

    assert (200, "rejected") == (code, body["outcome"])
    assert "spec.mode: Replica, but this compute is a primary now" == body["reason"]
    is_primary(pair)
    code, body = pair.daemon.call("POST", "/rollback")
    assert 409 == code, "the document of a standby is nothing to go back to"
    pair.publish(primary(None, log_min_messages="log"))
    assert "applied" == pair.daemon.refresh()
    is_primary(pair)


@pytest.mark.parametrize("query", ["?wait=0.3", "?wait=0"])
def test_a_log_that_is_not_reached(pair: Pair, query: str) -> None:
    """Nothing is changed; the next promotion succeeds, with the same document."""
    pair.start()
    generation = pair.daemon.status()["config"]["applied"]["generation"]

    code, answer = pair.promote(primary() | {"wal_flush_lsn": FAR}, query)

    assert (500, "failed") == (code, answer["status"])
    assert f"postgres has not replayed {FAR} within {query[6:]} s: " in answer["error"]
    assert generation == pair.settles()["config"]["applied"]["generation"]
    assert answer["error"] == pair.promotion["error"] == pair.daemon.status()["error"]
    is_standby(pair, 2)
    assert 200 == pair.promote(primary())[0]
    is_primary(pair)


def test_a_push_takes_the_place_of_one_that_waits(pair: Pair) -> None:
    """The caller is told; refreshes go on while it waits."""
    pair.start()
    waiting = pair.promoting(primary() | {"wal_flush_lsn": FAR})
    pair.publish(pair.replica(2, maintenance_work_mem="70MB"))
    assert "applied" == pair.daemon.refresh()
    assert "waiting" == pair.promotion["status"]

    assert 200 == pair.daemon.call("POST", "/configure", pair.replica(3))[0]

    code, answer = waiting.result(30)
    assert (409, "not_promoted") == (code, answer["status"])
    assert "the promotion was superseded by a pushed document" == answer["error"]
    is_standby(pair, 2)


def test_another_promotion_takes_its_place(pair: Pair) -> None:
    """Its caller is told; a caller that hangs up ends nothing."""
    pair.start()
    first = pair.promoting(primary() | {"wal_flush_lsn": FAR})
    lost = UnixConnection(pair.daemon.socket, 30)
    wanted = json.dumps(primary(3))

    lost.request("POST", "/promote", wanted, {"Content-Type": "application/json"})
    wait_until("the other promotion", lambda: pair.promotion["wal_flush_lsn"] is None, 30)
    lost.close()

    assert "superseded by another promotion" in first.result(30)[1]["error"]
    pair.daemon.wait_status("the end", lambda it: it["promotion"]["status"] == "completed")
    is_primary(pair)


def test_the_end_of_the_compute_ends_it(pair: Pair) -> None:
    """The caller is told before the daemon ends."""
    pair.start()
    waiting = pair.promoting(primary() | {"wal_flush_lsn": FAR})

    assert 200 == pair.daemon.call("POST", "/terminate", timeout=60)[0]

    code, answer = waiting.result(30)
    assert (409, "not_promoted") == (code, answer["status"])


def test_a_server_that_refuses(pair: Pair) -> None:
    """Where pg_promote fails, the standby follows with its own settings again."""
    pair.start()
    obstacle = pair.standby.data / "promote"
    obstacle.mkdir()
    body = primary(synchronous_standby_names="nobody")

    code, answer = pair.promote(body)

    assert (500, "failed") == (code, answer["status"])
    assert 'could not create file "promote"' in answer["error"]
    shown = run_cli("status", "-D", str(pair.standby.data)).stdout
    assert "The standby follows as before." in " ".join(shown.split())
    assert "failed: postgres refused: could not create" in " ".join(shown.split())
    is_standby(pair, 2)
    assert "1" == pair.settles()["config"]["desired"]["version"]
    assert "unchanged" == pair.daemon.refresh()
    obstacle.rmdir()
    assert 200 == pair.promote(primary())[0]
    is_primary(pair)


def test_a_document_that_the_running_server_refuses(pair: Pair) -> None:
    """What only a new session finds is found before the server is a primary."""
    pair.start()

    code, answer = pair.promote(primary(session_preload_libraries="no_such_library"))

    assert (500, "failed") == (code, answer["status"])
    assert "no_such_library" in answer["error"]
    is_standby(pair, 2)
    assert 200 == pair.promote(primary(3))[0]
    is_primary(pair)


def test_what_comes_while_the_server_promotes(pair: Pair) -> None:
    """Another promotion is refused; a push is applied, and then the promoted document is not."""
    pair.start()
    with startup_stopped(pair):
        waiting = waits_for_promotion(pair)
        assert "6MB" == pair.standby.value("show work_mem"), "in force before it is a primary"
        assert pair.primary.dsn() == pair.standby.value("show primary_conninfo")
        assert "standby" == pair.standby.value("show primary_slot_name")
        code, answer = pair.promote(primary(3))
        assert (409, "another promotion is under way") == (code, answer["error"])
        pushed = primary(4, **pair.following)
        assert 200 == pair.daemon.call("POST", "/configure", pushed)[0]

    code, answer = waiting.result(60)

    assert (500, "failed") == (code, answer["status"])
    assert "a newer document was taken meanwhile" in answer["error"]
    wait_until("the primary", lambda: not pair.in_recovery, 30)
    assert 200 == pair.daemon.call("POST", "/configure", primary(5))[0]
    is_primary(pair)


def test_a_standby_s_document_while_the_server_promotes(pair: Pair) -> None:
    """It is refused, pushed or pulled, new or known: the settings of the primary stay."""
    pair.start()
    with startup_stopped(pair):
        waiting = waits_for_promotion(pair)
        newer = pair.replica(4, maintenance_work_mem="70MB")
        code, answer = pair.daemon.call("POST", "/configure", newer)
        said = "spec.mode: Replica, but this compute is being promoted"
        assert (400, said) == (code, answer["error"])
        pair.publish(newer)
        assert "rejected" == pair.daemon.refresh()
        code, answer = pair.daemon.call("POST", "/rollback")
        assert (409, "cannot roll back: this compute is being promoted") == (code, answer["error"])

    assert 200 == waiting.result(60)[0]
    is_primary(pair)


@pytest.mark.parametrize("generation", [1, 3])
def test_a_source_that_has_not_heard_of_it_at_a_restart(
    supervised_pair: Pair, generation: int
) -> None:
    """A primary keeps its settings, though the server does not run when the document comes."""
    pair = supervised_pair.start()
    assert 200 == pair.promote({})[0]
    assert 0 == pair.daemon.stop()
    pair.publish(pair.replica(generation))

    pair.daemon.start()

    is_primary(pair, work_mem="5MB")
    assert 0 == pair.daemon.stop()


def test_a_file_that_cannot_be_written_afterwards(pair: Pair) -> None:
    """The caller is told that the server is a primary; the document follows when there is room."""
    folder = make_folder("conf-")
    give_away(folder)
    (pair.standby.data / "compute_ctl.conf").symlink_to(folder / "compute_ctl.conf")
    pair.start()
    try:
        with startup_stopped(pair):
            waiting = waits_for_promotion(pair)
            folder.chmod(0o500)
        code, answer = waiting.result(60)
        assert (500, "failed") == (code, answer["status"])
        assert "a primary now, but the document is not in force" in answer["error"]
        assert not pair.in_recovery
        assert "applying" == pair.promotion["status"]

        folder.chmod(0o700)
        is_primary(pair)
    finally:
        shutil.rmtree(folder)


def test_documents_that_are_refused(pair: Pair) -> None:
    """By the checks and by the server's binary, before anything is written; older ones, too."""
    pair.start(generation=4)
    before = pair.live
    for code, wanted, said in (
        (422, pair.replica(5), "spec.mode: expected Primary for a promotion, got Replica"),
        (422, {"spec": {"cluster": 7}}, "spec.cluster"),
        (409, primary(3), "version 3 is older than 4"),
        (422, primary(5) | {"wal_flush_lsn": "7"}, "wal_flush_lsn: expected a position"),
        (500, primary(5, work_mem="a lot"), "work_mem"),
    ):
        got, answer = pair.promote(wanted)
        assert code == got, answer
        assert said in answer["error"]
        assert before == pair.live
    is_standby(pair, 2)


def test_the_document_in_force_as_a_primary_s(pair: Pair) -> None:
    """`compute_ctl promote` without a file needs nothing but the standby."""
    pair.start()

    done = run_cli("promote", "-D", str(pair.standby.data))

    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith("postgres is a primary after ")
    is_primary(pair, work_mem="5MB")
    assert "stale" != pair.daemon.refresh()
    is_primary(pair, work_mem="5MB")
    assert 1 == run_cli("promote", "-D", str(pair.standby.data), str(pair.config)).returncode
