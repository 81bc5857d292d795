"""What the postmaster publishes, and when."""

import os
import signal

from devstack.postgres import Postgres
from devstack.wait import wait_until
from tests.pg.conftest import MakeNeon
from tests.pg.test_ack import map_hash, markers
from tests.support.daemon_stub import ACK, DaemonStub

MAP = "SELECT map_generation, shard_count, stripe_size FROM neon_refresh.stat"
ONE = "host=127.0.0.1 port=1"
TWO = "host=127.0.0.1 port=1,host=127.0.0.1 port=2"


def reload_and_wait(server: Postgres) -> None:
    """Reload and wait until the postmaster has done it."""
    start = server.log_position()
    server.reload()
    server.wait_log("received SIGHUP, reloading configuration files", start=start)


def test_list_and_stripe_size_change_as_one(make_neon: MakeNeon) -> None:
    """A file with the stripe size first changes both in one generation."""
    server = make_neon({"neon.stripe_size": 16}, pageservers=ONE)
    assert (1, 1, 16) == server.query(MAP)[0]

    server.configure({"neon.stripe_size": 32, "neon.pageserver_connstring": TWO})
    server.reload()
    wait_until("generation 2", lambda: server.query(MAP)[0] == (2, 2, 32))

    reload_and_wait(server)
    assert (2, 2, 32) == server.query(MAP)[0]


def test_the_stripe_size_may_stand_behind_the_list(make_neon: MakeNeon) -> None:
    """With the list first the pair is published once the stripe size was read too."""
    server = make_neon({"neon.stripe_size": 16}, pageservers=ONE)

    server.configure({"neon.pageserver_connstring": TWO, "neon.stripe_size": 64})
    server.reload()
    wait_until("the pair", lambda: server.query(MAP)[0][1:] == (2, 64))


def test_the_stripe_size_changes_under_a_list_of_the_command_line(make_neon: MakeNeon) -> None:
    """A list that no reload brings does not hold up the stripe size."""
    server = make_neon({"neon.stripe_size": 16}, start=False)
    server.start(arguments=["-c", f"neon.pageserver_connstring={TWO}"])
    assert (1, 2, 16) == server.query(MAP)[0]

    server.configure({"neon.stripe_size": 32, "neon.pageserver_connstring": ONE})
    server.reload()
    wait_until("generation 2", lambda: server.query(MAP)[0] == (2, 2, 32))


def test_a_crash_publishes_the_map_again(make_neon: MakeNeon, daemon: DaemonStub) -> None:
    """After a crash restart, where no setting is assigned, map and marker are there again."""
    server = make_neon(
        {"neon.stripe_size": 16, "neon_refresh.config_generation": "3.a.b"},
        daemon=daemon,
        pageservers=TWO,
    )
    daemon.wait_for(ACK)
    daemon.clear()
    start = server.log_position()
    with server.connect() as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
    server.wait_log("database system is ready to accept connections", start=start)

    body = daemon.wait_for(ACK)[0].body
    assert map_hash("3.a.b", 16, TWO) == body["map_sha256"]
    assert (1, 2, 16) == server.query(MAP)[0]


def test_alter_system_moves_the_marker_but_not_the_map(
    make_neon: MakeNeon, daemon: DaemonStub
) -> None:
    """The ack tells the map that is in force, not what the file with the marker says."""
    server = make_neon({"neon_refresh.config_generation": "1.a.b"}, daemon=daemon, pageservers=TWO)
    server.query(f"ALTER SYSTEM SET neon.pageserver_connstring = '{ONE}'")
    server.configure({"neon_refresh.config_generation": "2.a.b"})
    server.reload()

    wait_until("the ack of 2", lambda: "2.a.b" in markers(daemon))
    body = daemon.of(ACK)[-1].body
    assert map_hash("2.a.b", 2048, ONE) == body["map_sha256"]


def test_a_removed_list_is_published_as_none(make_neon: MakeNeon) -> None:
    """A list that vanishes from the file leaves no shard behind."""
    server = make_neon(pageservers=TWO)
    assert 2 == server.query(MAP)[0][1]
    server.configure({"neon.pageserver_connstring": None})
    server.reload()

    wait_until("no shards", lambda: server.query(MAP)[0][1] == 0)


def test_a_refused_list_leaves_the_map(make_neon: MakeNeon) -> None:
    """A bad list is refused as a whole, with the reason; the other lines of the file apply."""
    server = make_neon(pageservers=TWO)
    server.configure({"neon.pageserver_connstring": "port=1", "neon_refresh.enabled": False})
    server.reload()

    server.wait_log("Entry 0 names no host")
    enabled = "SELECT enabled FROM neon_refresh.stat"
    wait_until("enabled = off", lambda: server.value(enabled) is False)
    assert 2 == server.query(MAP)[0][1]


LIST = "neon.pageserver_connstring"
MARKER = "neon_refresh.config_generation"


def publish(server: Postgres, settings: dict[str, str | int | None]) -> None:
    """Reload a file at whose end *settings* stand in this order."""
    server.configure(settings)
    server.reload()


def test_with_a_marker_the_order_of_list_and_stripe_size_does_not_matter(
    make_neon: MakeNeon,
) -> None:
    """The pair waits for the marker's line: one generation, never a list with the old size."""
    server = make_neon({"neon.stripe_size": 16, MARKER: "1.a.b"}, pageservers=ONE)
    publish(server, {LIST: TWO, "neon.stripe_size": 64, MARKER: "2.a.b"})
    wait_until("the pair", lambda: server.query(MAP)[0] == (2, 2, 64))

    publish(server, {"neon.stripe_size": 16, LIST: ONE, MARKER: "3.a.b"})
    wait_until("the next pair", lambda: server.query(MAP)[0] == (3, 1, 16))


def test_a_marker_whose_hook_does_not_follow_delays_nothing(make_neon: MakeNeon) -> None:
    """Refused, before the list, removed, or overridden by the command line: the map comes."""
    server = make_neon({MARKER: "1.a.b"}, pageservers=ONE)
    publish(server, {LIST: TWO, MARKER: "no marker"})
    wait_until("two shards", lambda: server.query(MAP)[0][1] == 2)
    publish(server, {MARKER: "2.a.b", LIST: ONE})
    wait_until("one shard", lambda: server.query(MAP)[0][1] == 1)
    publish(server, {LIST: None, MARKER: "3.a.b"})
    wait_until("no shard", lambda: server.query(MAP)[0][1] == 0)
    publish(server, {LIST: TWO, MARKER: None})
    wait_until("two shards again", lambda: server.query(MAP)[0][1] == 2)

    server.stop()
    server.start(arguments=["-c", f"{MARKER}=0.x.y"])
    publish(server, {LIST: ONE, MARKER: "4.a.b"})
    wait_until("one shard again", lambda: server.query(MAP)[0][1] == 1)
