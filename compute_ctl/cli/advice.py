"""What a status means to the person who reads it, and what to do about it. Pure.

The hints are the short form of the operating guide's table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from compute_ctl.cli.hint_texts import (
    OF_FETCH,
    OF_PRIMARY,
    OF_SILENCE,
    OF_START,
    OF_UNPROVEN,
    OF_WRITE,
    find,
)
from compute_ctl.document.spec_sources import UPSTREAM_SETTINGS

AUTO_CONF: Final = "postgresql.auto.conf"
"""Where ALTER SYSTEM writes."""
SLOW_LOGIN_MS: Final = 1000

_BY_OUTCOME: Final = {
    "rejected": "Mend the document and publish it as a newer version.",
    "fetch_failed": "Mend the source, it is asked again by itself; or push a document "
    "(POST /configure on the socket).",
    "stale": "The source is behind. To go back, publish the old content as a newer version.",
    "unproven": "It is tried again. Is PostgreSQL hung, is -C right, is neon_refresh loaded?",
    "blocked": 'Mend the file named, then "compute_ctl refresh".',
    "write_failed": 'Free space, or mend the rights, then "compute_ctl refresh".',
    "timeout": 'It goes on: "compute_ctl status" tells how far it is.',
}
_SUSPECTED_IN_VAIN: Final = frozenset({"unchanged", "applied"})
_DID_NOT_START: Final = "postgres did not start"


def out_of_sync(config: Mapping[str, Any]) -> str:
    """Return why what is desired is not in force."""
    desired, applied = config["desired"], config["applied"]
    if desired is None:
        return "no document is known"
    runs = f"generation {applied['generation']} is in force" if applied else "nothing is in force"
    if desired["sha256"] in {one["sha256"] for one in config["quarantined"]}:
        return f"the document desired was refused, {runs}"
    if applied and applied["sha256"] == desired["sha256"] and config.get("not_in_force"):
        return str(config["not_in_force"])
    return f"the document desired is not in force, {runs}"


def hints(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield what may be done about what the status *body* shows."""
    postgres, refresh, config = body["postgres"], body["refresh"], body["config"]
    outcome = (refresh["last_attempt"] or {}).get("outcome")
    if body["status"] == "empty":
        yield "Publish a document. Is -c or -p right?"
    started_in_vain = (body["error"] or "").startswith(_DID_NOT_START)
    if not postgres["pid"] and config["desired"] and not started_in_vain:
        yield "Start PostgreSQL, or read its log. With --attach the daemon does not start it."
    if postgres.get("silent_since"):
        because = find(OF_SILENCE, postgres.get("silent_because") or "")
        yield f"{because or 'Is -C right, are all connections taken?'} Healing does not need SQL."
    if started_in_vain:
        yield find(OF_START, body["error"]) or "Mend that; a refresh or a push tries again."
    elif body["error"] and not _tells(body["error"]) and outcome in _BY_OUTCOME:
        yield of_outcome(outcome, body["error"])
    if refresh["suspected_since"] and not _servers_overridden(postgres["drift"]):
        yield from _suspected(refresh.get("suspicion"), outcome)
    if postgres["drift"]:
        yield _of_drift(postgres["drift"])
    if (postgres.get("login_ms") or 0) > SLOW_LOGIN_MS:
        yield "Look at pre_auth_delay, at the load, and at what pg_hba.conf asks of the daemon."
    if postgres.get("library_loaded") is False:
        yield "Add neon_refresh to shared_preload_libraries, and restart PostgreSQL."


def of_outcome(outcome: str, reason: str) -> str:
    """Return what may be done about an attempt that ended like this; '' where *reason* says it."""
    if _tells(reason):
        return ""
    tables = {"fetch_failed": OF_FETCH, "write_failed": OF_WRITE, "unproven": OF_UNPROVEN}
    return find(tables.get(outcome, ()), reason) or _BY_OUTCOME.get(outcome, "")


def _suspected(suspicion: Mapping[str, Any] | None, outcome: str | None) -> Iterator[str]:
    """Yield what may be done while PostgreSQL complains of a server."""
    if suspicion and suspicion["source"] == "primary":
        found = find(OF_PRIMARY, suspicion["text"])
        if found:  # no other address mends that
            yield found
            return
    if outcome in _SUSPECTED_IN_VAIN:
        yield "The source still names these servers: publish the new ones."


def _of_drift(drift: Sequence[Mapping[str, Any]]) -> str:
    names = [one["name"] for one in drift]
    if "include_if_exists" in names:
        return "Put the include line back that the log of the daemon names, and reload PostgreSQL."
    first = next((one for one in drift if one["name"] in UPSTREAM_SETTINGS), drift[0])
    if str(first.get("file")).endswith(AUTO_CONF):
        reset = f"ALTER SYSTEM RESET {first['name']}; SELECT pg_reload_conf();"
        return f"{first['file']} sets {first['name']}: {reset}"
    name = names[0] if len(names) == 1 else "SETTING"
    return f'"compute_ctl explain {name}" says by what: ALTER SYSTEM RESET, or remove that line.'


def _servers_overridden(drift: Sequence[Mapping[str, Any]]) -> bool:
    """Whether Postgres may complain of servers that no document names."""
    return any(one["name"] in UPSTREAM_SETTINGS for one in drift)


def _tells(error: str) -> bool:
    """Whether *error* itself says what to do, or nothing can be done."""
    return error.startswith(("quarantined ", "cannot roll back: "))
