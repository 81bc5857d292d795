"""In force means that a new session runs with it: one that cannot log in is no proof, and silence
is said to be silence."""

import json

from devstack.compute import Compute

NOLIB = {"session_preload_libraries": "nolib"}


def test_a_rest_that_locks_everybody_out_is_refused(compute: Compute) -> None:
    """The document goes, the newest servers stay, new sessions are let in, and it is said why."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a, settings={"work_mem": "5MB"})
    daemon = compute.start_daemon()

    compute.publish(b, settings={"work_mem": "6MB", **NOLIB})

    assert "rejected" == daemon.refresh()
    status = daemon.status()
    assert 'could not access file "nolib"' in status["error"]
    assert (False, 1) == (status["config"]["in_sync"], len(status["config"]["quarantined"]))
    assert 0 == daemon.metric("compute_ctl_last_apply_successful")
    assert 503 == daemon.call("GET", "/syncz")[0]
    assert b.url == compute.setting("neon.pageserver_connstring")
    assert "5120" == compute.setting("work_mem")


def test_a_lock_out_of_others_is_not_the_documents_fault(compute: Compute) -> None:
    """What kept sessions out before a document came does not refuse it; neither is it in sync."""
    a, b = compute.pageserver("a"), compute.pageserver("b")
    compute.publish(a, settings={"work_mem": "5MB"})
    daemon = compute.start_daemon()
    with compute.postgres.connect() as session:
        session.execute("ALTER SYSTEM SET session_preload_libraries = 'nolib'")
        session.execute("SELECT pg_reload_conf()")
        refused = daemon.wait_status(
            "the refused session", lambda found: found["config"]["not_in_force"]
        )
        assert "new sessions are refused" in refused

        compute.publish(b, settings={"work_mem": "6MB"})

        assert "applied" == daemon.refresh()
        status = daemon.status()
        assert (False, "upstream") == (status["config"]["in_sync"], status["config"]["proof"])
        assert [] == status["config"]["quarantined"]
        code, body = daemon.call("GET", "/syncz")
        assert (503, True) == (code, "new sessions are refused" in body["error"])
        session.execute("ALTER SYSTEM RESET session_preload_libraries")
        session.execute("SELECT pg_reload_conf()")
    compute.wait_in_sync()
    status = daemon.status()
    assert (None, "full") == (status["config"]["not_in_force"], status["config"]["proof"])
    assert "6144" == compute.setting("work_mem")


def test_a_slow_login_is_told(compute: Compute) -> None:
    """Until a session is there the rest is unproven, whatever keeps it: the delay is named."""
    a = compute.pageserver("a")
    compute.publish(a)
    daemon = compute.start_daemon()
    with compute.postgres.connect() as session:
        session.execute("ALTER SYSTEM SET pre_auth_delay = 3")
        session.execute("SELECT pg_reload_conf()")
        compute.publish(a, settings={"work_mem": "6MB"})

        assert "applied" == daemon.refresh()
        code, body = daemon.call("GET", "/syncz")
        expected = "proven for the servers only, no new session has answered yet"
        assert (503, True) == (code, expected in body["error"])
        assert "no login within" in body["error"]
        assert 0 == daemon.metric("compute_ctl_last_apply_successful")
        answer = json.dumps(daemon.call("POST", "/refresh_configuration?wait=10")[1])
        assert '"in_sync": false' in answer

        session.execute("ALTER SYSTEM SET pre_auth_delay = 1")
        session.execute("SELECT pg_reload_conf()")
        slow = daemon.wait_status(
            "a session", lambda found: found["config"]["in_sync"] and found["postgres"]["login_ms"]
        )
        assert 1000 < slow < 2000
        assert "a login takes 1." in daemon.log_text()
        session.execute("ALTER SYSTEM RESET pre_auth_delay")
        session.execute("SELECT pg_reload_conf()")
