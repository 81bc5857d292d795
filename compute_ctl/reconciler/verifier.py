"""Asks Postgres whether it runs what is in the live file: acknowledgement and one look over SQL."""

from __future__ import annotations

import asyncio
import logging
import posixpath
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from compute_common.system import failpoint
from compute_ctl.decisions.logins import SLOW_LOGIN_MS, Logins, is_evidence
from compute_ctl.decisions.model import Written
from compute_ctl.decisions.proof import NOTHING, Complaint, Included, Proof, Verdict, judge
from compute_ctl.decisions.reload_errors import judged
from compute_ctl.decisions.sql_report import SqlReport
from compute_ctl.document.quoting import DIRECTIVES
from compute_ctl.errors import LoginError, PostgresError, ProbeError
from compute_ctl.node import Node
from compute_ctl.ports import Clock, Postgres, SqlProbe
from compute_ctl.reconciler.budget import share
from compute_ctl.settings import Deadlines

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 0.1
"""How long to wait for the worker where it is not known whether there is one."""
BETWEEN_LOOKS_S = 0.2
CONFIRM_S = 0.1
"""After a refused login, before the second one that decides."""
LOADED_JUST_NOW = timedelta(seconds=1)
"""By which the server's clock may seem ahead of ours."""


class Verifier:
    """Proves the generation that the node says is written."""

    def __init__(
        self,
        *,
        node: Node,
        postgres: Postgres,
        probe: SqlProbe,
        clock: Clock,
        conf_path: str,
        deadlines: Deadlines,
    ) -> None:
        self._node = node
        self._postgres = postgres
        self._probe = probe
        self._clock = clock
        self._conf_path = conf_path
        self._deadlines = deadlines
        self._worker_exists = False
        self._signalled = False
        """Whether there was a Postgres at the last signal."""
        self._signalled_at: datetime | None = None
        """Wall clock just before the last signal."""
        self._loaded_at: datetime | None = None
        """When Postgres had read its files, as it said in the last look."""
        self._loaded_before_signal: datetime | None = None
        self._one_look = asyncio.Lock()
        self._logins = Logins()
        self._blocked_on: str | None = None
        """The included file that Postgres waits for, for which its generation is refused."""
        self._lockout = ""
        """Why new sessions are refused since the generation in the file is in force."""

    @property
    def sql_error(self) -> str:
        """Why the first of the looks over SQL that fail now did; empty where the last did not."""
        return self._node.server.probe_error

    @property
    def possible(self) -> bool:
        """Whether Postgres is there to prove anything."""
        return self._postgres.ready

    @property
    def postgres_exists(self) -> bool:
        """Whether a Postgres runs, and has read a configuration already."""
        return self._postgres.running

    @property
    def blocked_on(self) -> str | None:
        """The file that keeps Postgres waiting, where that can be told."""
        return self._postgres.blocked_on()

    def signal(self) -> None:
        """Have Postgres read its files; `verify` is to follow."""
        self._signalled_at, self._loaded_before_signal = self._clock.wall(), self._loaded_at
        blocked, self._blocked_on = self._blocked_on, None
        try:
            self._signalled = self._postgres.reload()
            if blocked is not None:
                self._postgres.unblock(blocked)
        except PostgresError as error:
            logger.error("%s (%s)", error, error.hint)
            self._signalled = False

    async def verify(self, *, within_s: float | None = None) -> Verdict:
        """Return what Postgres proves within the deadline, after a signal.

        The acknowledgement comes first, since it needs no SQL. SQL then says whether a setting is
        in error; without the worker it is all there is.
        """
        limit = share(within_s or self._deadlines.ack + self._deadlines.sql_probe)
        end = self._clock.monotonic() + limit
        if not self._signalled:
            return Verdict(proof=Proof.NONE)
        failpoint.reach("before-proof")
        acks = self._node.acks
        if await acks.wait(share(self._deadlines.ack if self._worker_exists else FIRST_WAIT_S)):
            self._worker_exists = True
        seen: Verdict | None = None
        while True:
            report = await self._look(end)
            verdict = self._judge(report)
            seen = verdict if report is not None else seen
            left = end - self._clock.monotonic()
            if verdict.proof is not Proof.NONE or verdict.bad or verdict.blocked:
                return verdict
            if left <= 0:  # the last look may have had none
                return seen or self._refuse_if_blocked(verdict)
            await (
                acks.wait(min(BETWEEN_LOOKS_S, left))
                if acks.latest is None
                else asyncio.sleep(min(BETWEEN_LOOKS_S, left))
            )

    def _refuse_if_blocked(self, verdict: Verdict) -> Verdict:
        """Return *verdict*; it is a refusal where Postgres waits for a file newly included."""
        file = self.blocked_on
        if file is None or not self._included.new or file not in self._included:
            return verdict
        self._blocked_on = file
        reason = f'postgres waits for included file "{file}"'
        return replace(verdict, bad=(Complaint(name=None, reason=reason, file=file),))

    @property
    def _included(self) -> Included:
        """What is included by what is written."""
        written, folder = self._node.config.written, posixpath.dirname(self._conf_path)
        if written is None:
            return NOTHING
        paths = (posixpath.normpath(posixpath.join(folder, one)) for one in written.included)
        new = not written.in_full and bool(written.changed & DIRECTIVES)
        return Included(paths=frozenset(paths), new=new)

    async def inspect(self) -> Verdict | None:
        """Return what SQL says of what runs, without a signal to Postgres.

        None where another generation was written meanwhile.
        """
        before = self._node.config.written
        report = await self._look(self._clock.monotonic() + share(self._deadlines.sql_probe))
        now = self._node.config.written
        if before is None or now is None or before.marker != now.marker:
            return None
        return self._judge(report)

    async def _look(self, end: float) -> SqlReport | None:
        """Look over SQL until *end*; one look at a time. None where there was no answer."""
        try:
            async with asyncio.timeout(max(0.0, end - self._clock.monotonic())):
                await self._one_look.acquire()
        except TimeoutError:
            return None
        try:
            return await self._look_alone(end)
        finally:
            self._one_look.release()

    async def _look_alone(self, end: float) -> SqlReport | None:
        written = self._node.config.written
        if written is not None and self._logins.written(str(written.marker)):
            self._lockout = ""
        refused: str | None = None
        while True:
            left = min(self._deadlines.sql_probe, end - self._clock.monotonic())
            if left <= 0 or not self._postgres.ready:
                return None
            try:
                report = await self._probe.look(deadline_s=left)
            except LoginError as error:
                again = self._logins.refused(error.sqlstate, earlier=refused)
                self._refused(error, written, confirmed=again)
                if again or not self._suspicious(error, written):
                    return None
                refused = error.sqlstate
                await asyncio.sleep(CONFIRM_S)  # a second one that is refused the same way decides
            except ProbeError as error:
                self._sql_fails(str(error))
                return None
            else:
                self._answered(report)
                return report

    def _suspicious(self, error: LoginError, written: Written | None) -> bool:
        """Whether the rest of *written* may be why a session was refused."""
        return (
            written is not None
            and error.sqlstate is not None
            and is_evidence(error.sqlstate, troubled=self._node.requests.worker_complains)
            and self._node.config.rest_is_new
            and self._logins.blames(error.sqlstate)
        )

    def _refused(self, error: LoginError, written: Written | None, *, confirmed: bool) -> None:
        """Note a refused session: it may be evidence against what is written."""
        self._sql_fails(str(error))
        troubled = self._node.requests.worker_complains
        if not is_evidence(error.sqlstate, troubled=troubled):
            return
        self._node.server.session_refused(str(error))
        self._logins.last = error.sqlstate
        if confirmed and self._suspicious(error, written):
            self._lockout = f"new sessions are refused: {error}"

    def _answered(self, report: SqlReport) -> None:
        """Note what a session that was let in says of the server."""
        server = self._node.server
        slow, known = report.login_ms > SLOW_LOGIN_MS, server.login_ms or 0.0
        if slow and known <= SLOW_LOGIN_MS:
            logger.warning("a login takes %.1f s (pre_auth_delay?)", report.login_ms / 1000)
        self._lockout = self._logins.last = ""
        self._logins.lost = 0
        self._loaded_at = report.conf_load_time
        if not report.library_loaded and server.library_loaded is not False:
            logger.warning('postgres has not loaded "neon_refresh", it will not ask by itself')
        server.probed(login_ms=report.login_ms, library_loaded=report.library_loaded)
        self._worker_exists = self._worker_exists or report.library_loaded

    def _sql_fails(self, reason: str) -> None:
        if self._node.server.probe_failed(reason):
            logger.warning("could not look at postgres over SQL: %s", reason)

    def _judge(self, report: SqlReport | None) -> Verdict:
        written = self._node.config.written
        if written is None or (report is None and self._was_refused(written)):
            return Verdict(proof=Proof.NONE, blind=True)
        if report is not None and (
            report.conf_load_time == self._loaded_before_signal
            or report.conf_load_time > self._clock.wall() + LOADED_JUST_NOW
        ):
            # Also where a clock that was set back makes it seem later: it was loaded before.
            report = replace(report, conf_load_time=datetime.min.replace(tzinfo=UTC))
        if report is not None:
            # The new session was let in after the reload, whose report is in the log by now.
            self._postgres.read_log()
        verdict = judge(
            report,
            self._node.acks.latest,
            our_file=self._conf_path,
            marker=str(written.marker),
            swapped_at=self._signalled_at or written.at,
            names=written.names,
            included=self._included,
            lockout=self._lockout,
        )
        errors = self._node.reload_errors
        return judged(verdict, errors.heard, before=errors.before, changed=written.changed)

    def _was_refused(self, written: Written) -> bool:
        """Whether Postgres has refused this content: it acknowledges the servers all the same."""
        content = written.content_sha256
        return bool(content) and self._node.config.state.quarantine_entry(content) is not None
