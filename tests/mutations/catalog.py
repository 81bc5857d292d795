"""The ways in which the product is broken, each with the smallest tests that must notice. Pure.

A mutation is a text that stands exactly once in its file, and another in its place. Where the
source has moved on, `mutated` fails, and so does a test of the suite: no mutation rots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CORE: Final = "pg_hook/"


class MovedError(Exception):
    """The source is no longer as the mutation knows it."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One way to break the product."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Arguments for pytest."""

    @property
    def core(self) -> bool:
        """Whether the C core must be built again."""
        return self.file.startswith(CORE)


def mutated(mutation: Mutation, root: Path) -> str:
    """Return the whole text of the mutation's file in *root*, broken. Raises MovedError."""
    text = (root / mutation.file).read_text("utf-8")
    if (found := text.count(mutation.old)) != 1:
        raise MovedError(
            f'mutation "{mutation.name}": its text stands {found} times in {mutation.file}'
        )
    return text.replace(mutation.old, mutation.new)


def named(names: Sequence[str]) -> list[Mutation]:
    """Return the mutations with these names, all for none. Raises ValueError."""
    known = {mutation.name: mutation for mutation in MUTATIONS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f'there is no mutation "{unknown[0]}"')
    return [known[name] for name in names] or list(MUTATIONS)


MUTATIONS: Final = (
    # files
    Mutation(
        name="no fsync of the live file",
        file="compute_common/system/atomic_file.py",
        old="                if durable:\n",
        new="                if not target.name:\n",
        tests=("tests/unit/common/system/test_durability.py",),
    ),
    Mutation(
        name="written in place",
        file="compute_common/system/atomic_file.py",
        old="            temporary.replace(target)\n",
        new="            target.write_bytes(data)\n            temporary.unlink()\n",
        tests=("tests/unit/common/system/test_atomic_file.py",),
    ),
    Mutation(
        name="state not saved",
        file="compute_ctl/reconciler/generations.py",
        old="            await self._call(lambda: self._state.save(state))\n",
        new="            await self._call(lambda: None)\n",
        tests=("tests/e2e/test_crashes.py", "-k", "forgets_nothing"),
    ),
    Mutation(
        name="two daemons for one data directory",
        file="compute_ctl/store/pgdata_lock.py",
        old="        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        new="        fcntl.flock(fd, fcntl.LOCK_UN)\n",
        tests=("tests/unit/store/test_pgdata_lock.py",),
    ),
    # what a document is worth
    Mutation(
        name="compared with what is desired",
        file="compute_ctl/decisions/apply_plan.py",
        old="    if written is None or written.body != body:\n",
        new="    if desired is None or desired.content_sha256 != document.content_sha256:\n",
        tests=("tests/unit/decisions/test_apply_plan.py",),
    ),
    Mutation(
        name="no version check",
        file="compute_common/document/versions.py",
        old="        return version.generation < floor.generation\n",
        new="        return False\n",
        tests=("tests/unit/common/document/test_versions.py",),
    ),
    Mutation(
        name="no quarantine",
        file="compute_ctl/decisions/apply_plan.py",
        old="    if not force and entry and not",
        new="    if document is None and entry and not",
        tests=("tests/unit/decisions/test_apply_plan.py",),
    ),
    Mutation(
        name="no fallback",
        file="compute_ctl/decisions/apply_plan.py",
        old="    return good.rest + upstream\n",
        new="    return None\n",
        tests=("tests/unit/decisions/test_apply_plan.py",),
    ),
    Mutation(
        name="good without a start",
        file="compute_ctl/decisions/persistent_state.py",
        old="        return _with_good(state, ref) if is_same(self.started, ref) else state\n",
        new="        return _with_good(state, fact)\n",
        tests=("tests/unit/decisions/test_persistent_state.py",),
    ),
    Mutation(
        name="what was not reloaded is no evidence",
        file="compute_ctl/decisions/reload_errors.py",
        old="        (bad if blamed else shown).append(",
        new="        (shown if blamed else shown).append(",
        tests=("tests/unit/decisions/test_reload_errors.py",),
    ),
    Mutation(
        name="a document is blamed for the operator's files",
        file="compute_ctl/decisions/reload_errors.py",
        old="    if changed & (DIRECTIVES | _DEPENDS_ON[part]):\n",
        new="    if part or changed:\n",
        tests=("tests/unit/decisions/test_reload_errors.py",),
    ),
    Mutation(
        name="a failed start goes back to the started generation at once",
        file="compute_ctl/decisions/start_candidates.py",
        old="        if started is not None and one.generation < started:\n",
        new="        if started is not None and one.generation != started:\n",
        tests=("tests/unit/decisions/test_start_candidates.py",),
    ),
    Mutation(
        name="a check without end finds nothing wrong",
        file="compute_ctl/store/conf_file.py",
        old="            return [Complaint(name=None, reason=reason, file=str(self._path), ",
        new="            return [] and [Complaint(name=None, reason=reason, file=str(self._path), ",
        tests=("tests/unit/store/test_conf_file.py",),
    ),
    Mutation(
        name="any file may be included",
        file="compute_ctl/store/referenced_files.py",
        old="            if not stat.S_ISREG(mode):\n",
        new="            if not mode:\n",
        tests=("tests/unit/store/test_referenced_files.py",),
    ),
    Mutation(
        name="one empty answer detaches",
        file="compute_ctl/reconciler/schedule.py",
        old="        return now - self._empty_since >= self._settings.deadlines.empty_grace\n",
        new="        return True\n",
        tests=("tests/e2e/test_sources.py", "-k", "one_empty_answer"),
    ),
    Mutation(
        name="an equal document leaves the version floor",
        file="compute_ctl/reconciler/applier.py",
        old="            if action is not Action.KEEP:\n",
        new="            if action is None:\n",
        tests=("tests/e2e/test_documents.py", "-k", "floor_moves"),
    ),
    Mutation(
        name="an unproven live file takes the floor back",
        file="compute_ctl/decisions/persistent_state.py",
        old="    known = max(state.live_generation, state.applied",
        new="    known = max(0, state.applied",
        tests=("tests/unit/decisions/test_persistent_state.py",),
    ),
    Mutation(
        name="a push is answered with what replaced it",
        file="compute_ctl/reconciler/pushes.py",
        old="        if not self._is_written(push):\n",
        new="        if push is None:\n",
        tests=("tests/e2e/test_late_answers.py",),
    ),
    Mutation(
        name="omission takes the servers away",
        file="compute_ctl/document/continuity.py",
        old="        if live.servers.get(name) and not servers.get(name) and not promoted:\n",
        new="        if live.servers.get(name) and servers.get(name) is path:\n",
        tests=("tests/unit/document/test_continuity.py",),
    ),
    Mutation(
        name="misspelt fields not told",
        file="compute_ctl/document/lint.py",
        old="            yield _unknown(where, known)\n",
        new="            pass\n",
        tests=("tests/unit/document/test_lint.py",),
    ),
    # proof
    Mutation(
        name="no acknowledgement needed",
        file="compute_ctl/decisions/proof.py",
        old="Proof.UPSTREAM if ack and ack.map_matches else Proof.NONE",
        new="Proof.UPSTREAM",
        tests=("tests/unit/decisions/test_proof.py",),
    ),
    Mutation(
        name="nobody logs in, nobody is blamed",
        file="compute_ctl/decisions/logins.py",
        old="        return self.before != sqlstate\n",
        new="        return False\n",
        tests=("tests/unit/decisions/test_logins.py",),
    ),
    Mutation(
        name="in sync without a session",
        file="compute_ctl/node/snapshot.py",
        old="    if written.in_full or written.rest == node.config.sessions_rest:\n",
        new="    if written.in_full or written.proven:\n",
        tests=("tests/unit/node/test_in_force.py",),
    ),
    Mutation(
        name="the files compared, not what runs",
        file="compute_ctl/decisions/running.py",
        old='        same = found.value == (wanted or "")\n',
        new="        same = True\n",
        tests=("tests/unit/decisions/test_proof.py",),
    ),
    Mutation(
        name="nobody looks after a reload by others",
        file="compute_ctl/node/node.py",
        old=" and self.config.proven and self.acks.unasked:\n",
        new=" and not self.acks.latest:\n",
        tests=("tests/unit/node/test_in_force.py",),
    ),
    Mutation(
        name="forged acknowledgement taken",
        file="compute_ctl/node/reload_reports.py",
        old="        if current is None or message.marker != str(current.marker):\n",
        new="        if current is None:\n",
        tests=("tests/unit/node/test_reload_reports.py",),
    ),
    Mutation(
        name="another shard map acknowledged",
        file="compute_ctl/node/reload_reports.py",
        old='current.map_sha256 in ("", message.map_sha256)',
        new="True",
        tests=("tests/unit/node/test_reload_reports.py",),
    ),
    Mutation(
        name="no signal after the swap",
        file="compute_ctl/reconciler/verifier.py",
        old="        self._signalled = self._postgres.reload()\n",
        new="        self._signalled = self._postgres.running\n",
        tests=("tests/simulation/test_simulation.py", "-k", "ends_well"),
    ),
    # when
    Mutation(
        name="request forgotten during a refresh",
        file="compute_ctl/node/refresh_requests.py",
        old="        self.served = max(self.served, served)\n",
        new="        self.served = self.taken = self.requested\n",
        tests=("tests/unit/node/test_refresh_requests.py",),
    ),
    Mutation(
        name="no pause while it is suspected",
        file="compute_ctl/decisions/pacing.py",
        old="        at = base + self._pause(cap, low)\n",
        new="        at = base + low\n",
        tests=("tests/unit/decisions/test_pacing.py",),
    ),
    Mutation(
        name="Retry-After ignored",
        file="compute_ctl/decisions/pacing.py",
        old="at=max(patient.at, self.retry_after_until)",
        new="at=patient.at",
        tests=("tests/unit/decisions/test_pacing.py",),
    ),
    Mutation(
        name="a long poll is trusted for ever",
        file="compute_ctl/decisions/pacing.py",
        old="            low, cap = _BESIDE_LONG_POLL_S\n",
        new="            return\n",
        tests=("tests/unit/decisions/test_pacing.py",),
    ),
    Mutation(
        name="no deadline for SQL",
        file="compute_ctl/sql/session.py",
        old="poll.poll(max(self.left_s, 0) * 1000)",
        new="poll.poll(None)",
        tests=("tests/daemon/test_sql_probe.py", "-k", "silence_ends"),
    ),
    Mutation(
        name="no deadline for a fetch",
        file="compute_common/http/client.py",
        old="aiohttp.ClientTimeout(total=total_s, connect=self._connect_timeout_s)",
        new="aiohttp.ClientTimeout(total=None)",
        tests=("tests/unit/sources/test_control_plane.py", "-k", "silence_has_an_end"),
    ),
    Mutation(
        name="dead connections used again",
        file="compute_common/http/client.py",
        old="reset_on_timeout and session is self._session:",
        new="reset_on_timeout and session is None:",
        tests=("tests/unit/sources/test_control_plane_connections.py",),
    ),
    Mutation(
        name="catalog before the heal",
        file="compute_ctl/catalog/reconciler.py",
        old="            and self._node.config.proven\n"
        "            and applied is not None\n"
        "            and applied.content_sha256 == job.document.content_sha256\n",
        new="            and (applied is None or applied is not None)\n",
        tests=("tests/daemon/test_catalog_reconciler.py", "-k", "not_before_the_proof"),
    ),
    Mutation(
        name="a finished long poll before a waiting push",
        file="compute_ctl/reconciler/loop.py",
        old="                await self._node.wake.wait()\n\n    async def _take_long_poll",
        new="                await self._node.wake.wait()\n        await self._take_long_poll()\n\n"
        "    async def _take_long_poll",
        tests=("tests/unit/reconciler/test_loop.py",),
    ),
    Mutation(
        name="an answer taken although a push came with it",
        file="compute_ctl/reconciler/fetcher.py",
        old="        if interrupted():  # in the turn",
        new="        if not self._source:  # in the turn",
        tests=("tests/unit/reconciler/test_loop.py",),
    ),
    Mutation(
        name="an illegal event ends the daemon",
        file="compute_ctl/node/node.py",
        old="        except IllegalTransitionError as error:\n",
        new="        except KeyError as error:\n",
        tests=("tests/unit/reconciler/test_loop.py",),
    ),
    Mutation(
        name="a thread that is joined at the end",
        file="compute_common/system/blocking_worker.py",
        old="            threading.Thread(target=self._work, name=name, daemon=True).start()\n",
        new="            threading.Thread(target=self._work, name=name, daemon=False).start()\n",
        tests=("tests/unit/common/system/test_blocking_worker.py", "-k", "process_ends"),
    ),
    Mutation(
        name="deadlines of the steps that add up",
        file="compute_ctl/reconciler/budget.py",
        old="    return min(seconds, max(left, STEP_MIN_S))\n",
        new="    return seconds\n",
        tests=("tests/unit/reconciler/test_budget.py",),
    ),
    Mutation(
        name="a pause that outlives an answer",
        file="compute_ctl/reconciler/schedule.py",
        old="            self._retry_after_until = None\n",
        new="            self._retry_after_until = self._retry_after_until\n",
        tests=("tests/unit/reconciler/test_schedule.py",),
    ),
    # processes
    Mutation(
        name="SIGTERM swallowed",
        file="compute_ctl/app/main.py",
        old="loop.add_signal_handler(number, self._signalled.set)",
        new="loop.add_signal_handler(number, loop.time)",
        tests=("tests/e2e/test_supervise.py", "-k", "killed_daemon_adopts"),
    ),
    Mutation(
        name="pid without its start time",
        file="compute_ctl/postgres/postmaster.py",
        old="    if _is_postmaster(noted, pgdata) and process.alive:\n",
        new="    if process.alive:\n",
        tests=("tests/daemon/test_postgres.py", "-k", "recycled_pid"),
    ),
    # listeners and secrets
    Mutation(
        name="Origin allowed",
        file="compute_common/http/auth.py",
        old='    if "Origin" in request.headers:\n',
        new='    if "Origin" in ():\n',
        tests=("tests/daemon/test_http_server.py", "-k", "origin"),
    ),
    Mutation(
        name="any Host allowed",
        file="compute_common/http/auth.py",
        old="    if _LOCAL_HOST.fullmatch(hosts[0].strip()) is None:\n",
        new="    if not hosts:\n",
        tests=("tests/daemon/test_http_server.py", "-k", "host"),
    ),
    Mutation(
        name="a dead control plane asked again and again",
        file="compute_ctl/sources/control_plane.py",
        old="                    self._addresses.rotate(-1)\n",
        new="                    pass\n",
        tests=("tests/unit/sources/test_control_plane_addresses.py", "-k", "unreachable"),
    ),
    Mutation(
        name="a report ends the long poll",
        file="compute_ctl/sources/control_plane.py",
        old="reset_on_timeout=False,",
        new="reset_on_timeout=True,",
        tests=("tests/unit/sources/test_control_plane_reports.py",),
    ),
    Mutation(
        name="token in an error",
        file="compute_ctl/sources/control_plane.py",
        old='            reason = reason.replace(self._token, "***")\n',
        new="            pass\n",
        tests=("tests/unit/sources/test_control_plane.py",),
    ),
    Mutation(
        name="redaction off",
        file="compute_common/redact.py",
        old="    if _SUSPECT.search(text) is None:\n",
        new="    if text is not None:\n",
        tests=("tests/unit/common/test_redact.py",),
    ),
    Mutation(
        name="log lines not redacted",
        file="compute_common/log.py",
        old="        text = escape(redact(record.getMessage() + pairs))\n",
        new="        text = escape(record.getMessage() + pairs)\n",
        tests=("tests/unit/common/test_log.py",),
    ),
    Mutation(
        name="a port in use ends the daemon",
        file="compute_common/http/server.py",
        old="            except PortTakenError as error:\n",
        new="            except KeyError as error:\n",
        tests=("tests/daemon/test_http_sockets.py", "-k", "port_in_use"),
    ),
    # the C core
    Mutation(
        name="echo not checked",
        file="pg_hook/pagestream.c",
        old="	if (cursor->echo_differs)\n",
        new="	if (cursor->echo_differs && cursor->short_read)\n",
        tests=("tests/core/test_pagestream.py",),
    ),
    Mutation(
        name="wrong shard not counted",
        file="pg_hook/suspicion.c",
        old='	{ STREAM, "08006", "reconnect", true, false, WRONG, CERTAIN },\n',
        new="",
        tests=("tests/core/test_suspicion.py",),
    ),
    Mutation(
        name="suspicion asks only once",
        file="pg_hook/policy.c",
        old="	if (policy->asked || pgh_policy_suspects(policy))\n		plan",
        new="	if (policy->asked)\n		plan",
        tests=("tests/core/test_policy.py", "tests/core/test_policy_model.py"),
    ),
    Mutation(
        name="a success resets the backoff",
        file="pg_hook/policy.c",
        old="		if (!ended_recently(policy->ended_us, config, now_us))\n",
        new="		if (policy->ended_us != now_us)\n",
        tests=("tests/core/test_policy.py", "tests/core/test_policy_model.py"),
    ),
    Mutation(
        name="new trouble waits behind old",
        file="pg_hook/policy.c",
        old="		policy->fresh = true;\n",
        new="		policy->fresh = policy->sent_total == 0;\n",
        tests=("tests/core/test_policy.py", "tests/core/test_policy_model.py"),
    ),
    Mutation(
        name="late reports of the old endpoint renew suspicion",
        file="pg_hook/stream.c",
        old="	bool renewed = stream->heard && stream->renewals != renewals;\n",
        new="	bool renewed = stream->heard && renewals == 0;\n",
        tests=("tests/core/test_stream.py",),
    ),
    Mutation(
        name="an idle stream that ends is trouble",
        file="pg_hook/stream.c",
        old="	return again ? PGH_REPORT_COUNTS : PGH_REPORT_WAITS;\n",
        new="	return again ? PGH_REPORT_WAITS : PGH_REPORT_COUNTS;\n",
        tests=("tests/core/test_stream.py",),
    ),
    Mutation(
        name="a server that begins is sent SIGHUP",
        file="compute_ctl/postgres/process.py",
        old="            self._begins = True\n",
        new="            self._begins = False\n",
        tests=("tests/daemon/test_supervised.py", "-k", "begins"),
    ),
    Mutation(
        name="an operator's refresh starts no failed server",
        file="compute_ctl/node/node.py",
        old="        if source is RequestOrigin.OPERATOR:\n            self._start_again()\n",
        new="",
        tests=("tests/e2e/test_failed_start.py",),
    ),
    Mutation(
        name="no jitter in the worker",
        file="pg_hook/pacing.c",
        old="	return span == 0 ? random : min_us + random % span;\n",
        new="	return span == 0 ? random : ceiling;\n",
        tests=("tests/core/test_pacing.py",),
    ),
    Mutation(
        name="an empty list divides by zero",
        file="pg_hook/shard_map.c",
        old="	if (shard_count < 2 || stripe_size_pages == 0)\n",
        new="	if (shard_count == 1 || stripe_size_pages == 0)\n",
        tests=("tests/core/test_shard_map.py",),
    ),
)
