"""The node: status, desired and live configuration, and who waits for what.

Everything that happens to the compute passes through here: the listeners ask (`request_refresh`,
`configure`, `terminate`, `acknowledge`), the Postgres adapter reports, the reconciler works. They
meet in no other place. All methods run in the event loop's thread and none blocks; whoever has to
act is woken by `wake`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from compute_common.document.spec import decode_document
from compute_common.errors import RequestError
from compute_common.system.blocking_worker import beside_loop
from compute_ctl.decisions.model import (
    AckAnswer,
    AckMessage,
    Attempt,
    CatalogRun,
    Outcome,
    ReportStatus,
    RequestOrigin,
    StartFailure,
    Suspected,
    Suspicion,
    Ticket,
    Written,
)
from compute_ctl.decisions.proof import Verdict
from compute_ctl.decisions.reload_errors import ReloadError
from compute_ctl.decisions.status import StatusBody
from compute_ctl.decisions.transitions import RESTING, TERMINATING, Event, Status, settle_event
from compute_ctl.document.generation import Marker
from compute_ctl.errors import IllegalTransitionError
from compute_ctl.node import snapshot
from compute_ctl.node.config_state import ConfigState
from compute_ctl.node.drift_checks import DriftChecks
from compute_ctl.node.observer import Observer, Observers
from compute_ctl.node.push import Push
from compute_ctl.node.refresh_requests import RefreshRequests
from compute_ctl.node.reload_reports import Acks, ReloadErrors
from compute_ctl.node.server_status import ServerStart, ServerStatus
from compute_ctl.node.status_machine import StatusMachine
from compute_ctl.ports import Clock, Postgres

logger = logging.getLogger(__name__)

EXIT_EMPTY: Final = 3
"""Exit status after an orderly stop because the control plane detached the compute."""


class Node:
    """The compute as this daemon knows it."""

    attempts = 0
    """Number of the last attempt begun; goes on from the history of earlier daemons."""
    exit_code: int | None = None
    """What the daemon exits with, where that is not Postgres's own status."""

    def __init__(
        self, *, clock: Clock, postgres: Postgres, server_version: str | None = None
    ) -> None:
        """*server_version*: the major version of the data directory."""
        self._clock = clock
        self._postgres = postgres
        self._observers = Observers()
        self._machine = StatusMachine(clock=clock, observer=self._observers)
        self.start_time = clock.wall()
        self.wake = asyncio.Event()
        """Set whenever the reconciler may have something to do."""
        self.attempted = asyncio.Event()
        """Set when the first attempt has ended."""
        self.configured = asyncio.Event()
        """Set while there is a configuration that Postgres has not failed to start with."""
        self.restored = False
        """Whether what an earlier daemon knew is known here, if there was one."""
        self.terminating_event = self._machine.terminating_event
        self.immediate_stop = self._machine.immediate_stop
        self.stopped = self._machine.stopped
        self.server = ServerStatus(version=server_version)
        self.start = ServerStart(postgres)
        self.start_seen = False
        """Postgres has become ready; with which generation is not checked yet."""
        self.requests = RefreshRequests()
        self.acks, self.reload_errors = Acks(), ReloadErrors()
        self.drift_checks = DriftChecks()
        self.push: Push | None = None
        self.report = ReportStatus()
        self.config = ConfigState(clock)
        self.last_attempt: Attempt | None = None
        self.closed_ports: dict[str, str] = {}
        """Why a port of the API is not open, by address; who wants it tries again."""
        self._error: str | None = None
        self.error_since: float | None = None
        """Monotonic seconds."""
        self.next_attempt_at: float | None = None
        """Monotonic seconds."""
        self.start_failure: StartFailure | None = None
        """Postgres did not start; the reconciler has not dealt with it yet."""

    def subscribe(self, observer: Observer) -> None:
        """Notify *observer* of all events from now on."""
        self._observers.add(observer)

    # The status

    def move(self, event: Event, why: str = "") -> None:
        """Change the status by *event*; *why* goes to the log.

        An event that the table does not allow is logged, counted and dropped: a bug in the order of
        two events must not end the daemon, and with it healing.
        """
        try:
            changed = self._machine.move(event, why)
        except IllegalTransitionError as error:
            logger.error("dropped an event: %s", error)
            self._observers.on_illegal_event(self.status, event)
            return
        if changed:
            self.wake.set()

    @property
    def status(self) -> Status:
        """The status of the compute."""
        return self._machine.status

    @property
    def status_since(self) -> float:
        """When the status last changed, in monotonic seconds."""
        return self._machine.since

    @property
    def error(self) -> str | None:
        """Why the last attempt did not end well; None after one that did."""
        return self._error

    @error.setter
    def error(self, reason: str | None) -> None:
        if reason != self._error:
            self.error_since = None if reason is None else self._clock.monotonic()
        self._error = reason

    def settle(self, why: str = "") -> None:
        """End an attempt: return to `running`, `init` or `failed`."""
        event = settle_event(
            ready=self._postgres.ready,
            in_force=self.config.state.applied is not None,
            last_failed=self.error is not None,
        )
        self.move(event, why)

    @property
    def terminating(self) -> bool:
        """Whether no further work is taken."""
        return self.status in TERMINATING

    def _refuse_terminating(self) -> None:
        if self.terminating:
            raise RequestError(412, f"invalid compute status: {self.status.kebab}")

    # What callers ask for

    def request_refresh(
        self,
        *,
        who: str,
        source: RequestOrigin,
        suspicion: Suspicion | None = None,
        force: bool = False,
    ) -> Ticket:
        """Record a request to fetch the configuration.

        Raises:
            RequestError: 412, the compute is terminating.
        """
        self._refuse_terminating()
        ticket = self.requests.add(
            self._clock.monotonic(), source=source, suspicion=suspicion, force=force
        )
        self._observers.on_refresh_request(source)
        if source is RequestOrigin.OPERATOR:
            self._start_again()
        said = f"says that {suspicion}" if suspicion and suspicion.trouble else "asks for a refresh"
        self.move(Event.REFRESH, f"{who} {said}")
        self.wake.set()
        return ticket

    def _start_again(self) -> None:
        """Let Postgres be started with the live file again, after it has failed to.

        An operator may have repaired what no document can: a port in use, a full disk.
        """
        if self.config.written is not None and self.start_failure is None:
            self.configured.set()

    async def wait_refresh(self, refresh_id: int, timeout_s: float) -> Outcome:
        """Wait for the end of an attempt that began after request *refresh_id*."""
        return await self.requests.wait(refresh_id, timeout_s)

    async def configure(self, raw: bytes, *, who: str, timeout_s: float = 300.0) -> None:
        """Apply a pushed document and wait until it is proven.

        Raises:
            SpecError: the document is refused.
            RequestError: 409 older or superseded, 412 terminating, 500 failed, 504 too late.
        """
        self._refuse_terminating()
        document = await beside_loop(lambda: decode_document(raw), size=len(raw), name="document")
        self._refuse_terminating()
        push = Push(document=document, who=who)
        await self._carry_out(push, f"{who} pushes a configuration", timeout_s)

    async def roll_back(self, *, who: str, old_upstream: bool, timeout_s: float = 300.0) -> None:
        """Quarantine the applied document, and wait until the one before it is proven.

        *old_upstream*: also take back its servers, which may be dead; else the newest ones stay.

        Raises:
            RequestError: 409 there is nothing to go back to, or superseded; else as `configure`.
        """
        self._refuse_terminating()
        push = Push(document=None, who=who, old_upstream=old_upstream)
        await self._carry_out(push, f"{who} asks for a rollback", timeout_s)

    async def _carry_out(self, push: Push, why: str, timeout_s: float) -> None:
        if self.push is not None:
            self.push.supersede()
        self.push = push
        self.move(Event.CONFIGURE, why)
        self.wake.set()
        await push.wait(timeout_s)

    def terminate(self, mode: str, *, who: str) -> None:
        """Begin to terminate; `stopped` is set at the end. *mode*: ``fast``, ``immediate``."""
        event = Event.TERMINATE_FAST if mode == "fast" else Event.TERMINATE_IMMEDIATE
        self.move(event, f"{who} asks for termination")
        if self.push is not None:
            self.push.supersede()
        self.requests.end_all(Outcome.TERMINATED)
        self.wake.set()

    def detach(self) -> None:
        """The source has confirmed that this compute is detached."""
        if self._postgres.running:
            self.exit_code = EXIT_EMPTY
            self.terminate("fast", who="the control plane")
        else:
            self.move(Event.DETACHED, "the control plane detached this compute")

    def acknowledge(self, message: AckMessage) -> AckAnswer:
        """Take an acknowledgement by Postgres; only the current marker proves anything."""
        answer = self.acks.take(message)
        self._observers.on_ack(answer)
        if answer is AckAnswer.TAKEN and self.reload_errors.acknowledge(message.not_reloaded):
            self.request_drift_check(hurry=True)
        if answer is AckAnswer.TAKEN and message.suspects is False:
            self.requests.trouble_over()
            self.wake.set()
        if answer is AckAnswer.TAKEN and not self.config.proven and self.status in RESTING:
            self.request_refresh(who="postgres", source=RequestOrigin.CLOCK)
        elif answer is AckAnswer.TAKEN and self.config.proven and self.acks.unasked:
            self.request_drift_check()
        return answer

    def not_reloaded(self, error: ReloadError) -> None:
        """Take what the server's log says of a reload."""
        if self.reload_errors.log(error):
            self.request_drift_check(hurry=True)

    def request_drift_check(self, *, hurry: bool = False) -> None:
        """Have what runs compared with what is written, without a fetch.

        *hurry*: at once, since somebody waits for it (`drift_checks.ended`).
        """
        self.drift_checks.want(self._clock.monotonic(), hurry=hurry)
        self.wake.set()

    # What the reconciler reports

    def show_error(self, reason: str) -> None:
        """Show *reason* until an attempt ends."""
        self.error = reason

    def begin_attempt(self) -> None:
        """Count an attempt."""
        self.attempts += 1

    def plan_attempt(self, at: float | None) -> None:
        """Record when the next attempt begins; None: not before something happens."""
        self.next_attempt_at = at

    def finish_push(self, push: Push) -> None:
        """Forget *push*, unless another has taken its place."""
        if self.push is push:
            self.push = None

    def take_start_seen(self) -> bool:
        """Return whether Postgres has become ready since this was asked last."""
        seen, self.start_seen = self.start_seen, False
        return seen

    def take_start_failure(self) -> StartFailure | None:
        """Return the failed start that is yet to be dealt with, once."""
        failure, self.start_failure = self.start_failure, None
        return failure

    def restore(self, *, attempts: int, sessions_rest: str | None) -> None:
        """Take over what an earlier daemon knew."""
        self.config.sessions_rest = sessions_rest
        self.attempts, self.restored = attempts, True

    def attempt_ended(self, attempt: Attempt, *, served: int, good: bool) -> None:
        """Record an attempt, and answer those whose requests it served."""
        self.last_attempt = attempt
        self.error = None if good else attempt.reason or attempt.outcome.value
        self.attempted.set()
        self._observers.on_attempt(attempt)
        self.requests.end(served, attempt.outcome)

    def now_written(self, written: Written, *, may_start: bool = True) -> None:
        """Record that *written* is in the live file; from now on its acknowledgement counts.

        *may_start*: a supervised Postgres that does not run may be started with it at once.
        """
        self.config.now_written(written)
        self.acks.expect(written)
        self.reload_errors.expect(written)
        if may_start:
            self.configured.set()

    def proved(self, verdict: Verdict) -> None:
        """Record that the generation in the live file runs; see `ConfigState.proved`."""
        self.config.proved(verdict)
        self._show_drift()

    def looked(self, verdict: Verdict) -> None:
        """Record the drift found by a check that proved nothing."""
        if verdict.shadowed:
            self.config.looked(verdict)
            self._show_drift()

    def _show_drift(self) -> None:
        drifts = self.config.verdict is not None and self.config.verdict.shadowed
        self.server.drifts(self._clock.monotonic() if drifts else None)

    def report_accepted(self, *, desired_sha256: str | None, applied_sha256: str | None) -> None:
        """Record that the control plane has taken a report that said so."""
        self.report = ReportStatus(
            accepted_at=self._clock.wall(),
            desired_sha256=desired_sha256,
            applied_sha256=applied_sha256,
        )

    def report_failed(self, reason: str) -> None:
        """Record why the control plane did not take the last report."""
        self.report = msgspec.structs.replace(self.report, error=reason)

    def catalog_ran(self, run: CatalogRun) -> None:
        """Record a run of work on the catalog."""
        self._observers.on_catalog(run)
        self.server.last_catalog = run

    def port_closed(self, address: str, reason: str) -> None:
        """Show why the port at *address* is not open."""
        self.closed_ports[address] = reason

    def port_opened(self, address: str) -> None:
        """The port at *address* is open now."""
        self.closed_ports.pop(address, None)

    # What Postgres does

    def postgres_ready(self) -> None:
        """Postgres accepts connections; what was written while it did not can be proven now."""
        self.server.changed_at = self._clock.monotonic()
        self.move(Event.PG_READY, "postgres accepts connections")
        self.start_seen = True
        self.wake.set()
        if self.config.written is None or self.terminating:
            return
        if self.config.proven:
            self.request_drift_check()
        else:
            self.request_refresh(who="postgres", source=RequestOrigin.CLOCK)

    def came_up(self, written: Written) -> None:
        """A server came up with *written*."""
        # A restart may have brought into force what was waiting for one.
        if not self.config.came_up(written) and not self.terminating:
            self.request_refresh(who="postgres", source=RequestOrigin.CLOCK)

    def postgres_lost(self) -> None:
        """Postgres does not accept connections any more."""
        self.server.changed_at = self._clock.monotonic()
        self.move(Event.PG_LOST, "postgres does not accept connections")

    def postgres_ended(self, why: str, *, lsn: str | None, exit_code: int | None = None) -> None:
        """Postgres has ended for good; the compute is terminated.

        *lsn*: where its log ended; None where that is not known here. *exit_code*: what the daemon
        exits with, unless that is decided already.
        """
        if self.exit_code is None:
            self.exit_code = exit_code
        self.server.lsn = lsn
        self.move(Event.STOPPED, why)

    def start_failed(self, reason: str, marker: Marker | None) -> None:
        """Postgres did not come up with the generation of *marker*: something else has to be."""
        if self.config.written is None or self.config.written.marker == marker:
            self.start_failure = StartFailure(reason=reason, marker=marker)
            self.configured.clear()
            self.wake.set()

    # What is shown

    @property
    def not_in_force(self) -> str:
        """Why a new session does not run with what is applied, or may not; '' if it does."""
        return snapshot.not_in_force(self)

    def snapshot(self) -> StatusBody:
        """Return everything there is to show."""
        return snapshot.build_snapshot(self, postgres=self._postgres, clock=self._clock)

    def suspicions(self) -> tuple[Suspected, ...]:
        """Return one complaint for each server of which Postgres complains."""
        return snapshot.suspicions(self, self._clock)
