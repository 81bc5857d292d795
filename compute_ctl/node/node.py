"""The node: status, desired and live configuration, and who waits for what.

Everything that happens to the compute passes through here: the listeners ask (`request_refresh`,
`pushes`, `terminate`, `acknowledge`), the Postgres adapter reports, the reconciler works. They meet
in no other place. All methods run in the event loop's thread and none blocks; whoever has to act is
woken by `wake`.
"""

from __future__ import annotations

from typing import Final

from compute_ctl.decisions.model import (
    AckAnswer,
    AckMessage,
    Attempt,
    CatalogRun,
    Outcome,
    ReportStatus,
    RequestOrigin,
    Suspected,
    Suspicion,
    Ticket,
    Written,
)
from compute_ctl.decisions.proof import Verdict
from compute_ctl.decisions.reload_errors import ReloadError
from compute_ctl.decisions.status import StatusBody
from compute_ctl.decisions.transitions import RESTING, Event, Status, settle_event
from compute_ctl.document.generation import Marker
from compute_ctl.node import snapshot
from compute_ctl.node.attempt_log import AttemptLog
from compute_ctl.node.closed_ports import ClosedPorts
from compute_ctl.node.config_state import ConfigState
from compute_ctl.node.drift_checks import DriftChecks
from compute_ctl.node.observer import Observer, Observers
from compute_ctl.node.promotion import PromotionRequests
from compute_ctl.node.push import PushRequests
from compute_ctl.node.refresh_requests import RefreshRequests
from compute_ctl.node.reload_reports import Acks, ReloadErrors
from compute_ctl.node.server_start import ServerStart
from compute_ctl.node.server_status import ServerStatus
from compute_ctl.node.status_machine import StatusMachine
from compute_ctl.ports import Clock, Postgres

EXIT_EMPTY: Final = 3
"""Exit status after an orderly stop because the control plane detached the compute."""


class Node:
    """The compute as this daemon knows it."""

    exit_code: int | None = None
    """What the daemon exits with, where that is not Postgres's own status."""

    def __init__(
        self,
        *,
        clock: Clock,
        postgres: Postgres,
        server_version: str | None = None,
        document_file: str | None = None,
    ) -> None:
        """*server_version*: the major version of the data directory."""
        self._clock = clock
        self._postgres = postgres
        self._observers = Observers()
        self._machine = StatusMachine(clock=clock, observer=self._observers)
        self.start_time = clock.wall()
        self.restored = False
        """Whether what an earlier daemon knew is known here, if there was one."""
        self.wake = self._machine.wake
        self.terminating_event = self._machine.terminating_event
        self.immediate_stop = self._machine.immediate_stop
        self.stopped = self._machine.stopped
        self.server, self.start = ServerStatus(version=server_version), ServerStart(postgres)
        self.requests = RefreshRequests()
        self.acks, self.reload_errors = Acks(), ReloadErrors()
        self.drift_checks, self.attempts = DriftChecks(), AttemptLog(clock)
        self.pushes = PushRequests(self._machine)
        self.promotions = PromotionRequests(self._machine, clock)
        self.report = ReportStatus()
        self.config = ConfigState(clock, document_file)
        self.closed_ports = ClosedPorts()

    def subscribe(self, observer: Observer) -> None:
        """Notify *observer* of all events from now on."""
        self._observers.add(observer)

    # The status

    def move(self, event: Event, why: str = "") -> None:
        """Change the status by *event*; *why* goes to the log."""
        self._machine.move(event, why)

    @property
    def status(self) -> Status:
        """The status of the compute."""
        return self._machine.status

    @property
    def status_since(self) -> float:
        """When the status last changed, in monotonic seconds."""
        return self._machine.since

    def settle(self, why: str = "") -> None:
        """End an attempt: return to `running`, `init` or `failed`."""
        event = settle_event(
            ready=self._postgres.ready,
            in_force=self.config.state.applied is not None,
            last_failed=self.attempts.error is not None,
        )
        self.move(event, why)

    @property
    def terminating(self) -> bool:
        """Whether no further work is taken."""
        return self._machine.terminating

    # What callers ask for

    def request_refresh(
        self,
        *,
        who: str,
        source: RequestOrigin,
        suspicion: Suspicion | None = None,
        force: bool = False,
        marker: str = "",
    ) -> Ticket:
        """Record a request to fetch the configuration; *marker*: see `ServerComplaint`.

        Raises:
            RequestError: 412, the compute is terminating.
        """
        self._machine.refuse_terminating()
        ticket = self.requests.add(
            self._clock.monotonic(), source=source, suspicion=suspicion, force=force, marker=marker
        )
        self._observers.on_refresh_request(source)
        if source is RequestOrigin.OPERATOR and self.config.written is not None:
            self.start.retry()
        said = f"says that {suspicion}" if suspicion and suspicion.trouble else "asks for a refresh"
        self.move(Event.REFRESH, f"{who} {said}")
        self.wake.set()
        return ticket

    def terminate(self, mode: str, *, who: str) -> None:
        """Begin to terminate; `stopped` is set at the end. *mode*: ``fast``, ``immediate``."""
        event = Event.TERMINATE_FAST if mode == "fast" else Event.TERMINATE_IMMEDIATE
        self.move(event, f"{who} asks for termination")
        self.pushes.supersede()
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

    def restore(self, *, attempts: int, sessions_rest: str | None) -> None:
        """Take over what an earlier daemon knew."""
        self.config.sessions_rest = sessions_rest
        self.attempts.resume(attempts)
        self.restored = True

    def attempt_ended(self, attempt: Attempt, *, served: int, good: bool) -> None:
        """Record an attempt, and answer those whose requests it served."""
        self.attempts.end(attempt, good=good)
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
            self.start.configured.set()

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

    def reported(self, report: ReportStatus) -> None:
        """Show what the control plane took last of what is reported."""
        self.report = report

    def catalog_ran(self, run: CatalogRun) -> None:
        """Record a run of work on the catalog."""
        self._observers.on_catalog(run)
        self.server.last_catalog = run

    # What Postgres does

    def postgres_ready(self) -> None:
        """Postgres accepts connections; what was written while it did not can be proven now."""
        self.server.changed_at = self._clock.monotonic()
        self.move(Event.PG_READY, "postgres accepts connections")
        self.start.ready()
        self.wake.set()
        if self.config.written is None or self.terminating:
            return
        if self.config.proven:
            self.request_drift_check()
        else:
            self.request_refresh(who="postgres", source=RequestOrigin.CLOCK)

    def came_up(self, written: Written) -> None:
        """A server came up with *written*: what waited for a restart may be in force."""
        if not self.config.came_up(written) and not self.terminating:
            self.request_refresh(who="postgres", source=RequestOrigin.CLOCK)

    def postgres_lost(self) -> None:
        """Postgres does not accept connections any more."""
        self.server.changed_at = self._clock.monotonic()
        self.acks.forget()  # it proves nothing of the next server
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
            self.acks.forget()
            self.start.fail(reason, marker)
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
