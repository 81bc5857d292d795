"""What must hold after every step, and when all is over."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from compute_common.document.versions import Version, is_older
from compute_ctl.decisions.model import Attempt
from compute_ctl.decisions.persistent_state import GenerationRef, Quarantined
from compute_ctl.decisions.transitions import TRANSITIONS, Status
from compute_ctl.document.body import split_body
from compute_ctl.document.generation import LiveFile
from compute_ctl.node import Node
from compute_ctl.settings import Deadlines
from tests.simulation import rules
from tests.simulation.disk import CONF
from tests.simulation.starts import Starts
from tests.simulation.worker import LATE_S

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_APPLY_S = Deadlines().apply_total + 2.0
"""From the signal until the state is saved and shown. Each step has a moment even where the time of
the whole is over."""
RAN_LATELY_S = LATE_S + MAX_APPLY_S
"""How long ago the server may have run what is said to be applied: an acknowledgement on its way
still arrives, and is believed in the application under way."""
WINDOW_S = 60.0
MAX_FETCHES = 60
"""In a window: while a suspicion grows old, and where there is none."""
A_SUSPICION = 50
"""In the first seconds of a suspicion; an operator's request and the like may cost one each."""
GRACE_S = 10.0
MAX_ATTEMPT_S = Deadlines().fetch_total + MAX_APPLY_S + Deadlines().fallback
KEPT = (rules.CONNSTRING, "neon.tenant_id", "neon.timeline_id")
"""What no document takes away by leaving it out."""


class InvariantError(AssertionError):
    """Something is so that must never be so."""


class Invariants:
    """Watches one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.fetches = 0
        self.checked = 0
        """How often something was held against a rule."""
        self.empties: list[float] = []
        """When the source said so, with no document between."""
        self.texts: dict[str, str] = {}
        """Every text ever written, by its marker."""
        self.foreign: set[str] = set()
        """Texts that somebody else has put in place of the file."""
        self.highest: Version | None = None
        """The newest version that was ever applied."""
        self._recent: deque[float] = deque()
        self._allowed: deque[float] = deque()
        """When each fetch was allowed that is no part of the steady pace."""
        self.starts = Starts(world)
        self._suspected: float | None = None
        self._leave_alone_until = 0.0
        self._last_plain = -1.0
        self._applied: GenerationRef | None = None
        self._good: GenerationRef | None = None
        self._proven: GenerationRef | None = None
        self._started: GenerationRef | None = None
        self._quarantine: tuple[Quarantined, ...] = ()
        self._proven_rests: set[str] = set()
        self._body: str | None = None
        """What the live file said last."""

    def new_life(self) -> None:
        """Another process: it remembers only what is on disk."""
        self.starts.helped()
        self._last_plain = -1.0
        self._leave_alone_until = 0.0
        self._applied = self._good = self._proven = self._started = None
        self.empties.clear()
        self.allow(3)
        live = LiveFile.parse(self._world.disk.files.get(CONF) or "")
        if not live.intact:
            self.highest = None  # what was applied last may be known from nowhere else

    def power_lost(self) -> None:
        """Forget what may not have reached the disk: the last application, the first file."""
        self.highest = None
        if CONF not in self._world.disk.files:
            self._body = None

    def allow(self, fetches: int) -> None:
        """Allow for something that may cost so many fetches beside the pace."""
        self._allowed.extend([self._world.loop.now] * fetches)
        self.starts.helped()

    # After every step

    def check(self) -> None:
        """Look at the facts, where they have changed."""
        daemon = self._world.daemon
        if daemon is None or not daemon.serving:
            return
        since = daemon.node.requests.suspected_since
        if since != self._suspected:
            self._suspected = since
            self.allow(A_SUSPICION if since is not None else 0)
        self._check_locked(daemon.node)
        state = daemon.node.config.shown
        if state.quarantine is not self._quarantine:
            # What is desired was refused, or was known no more: then what is applied is the floor.
            self._quarantine = state.quarantine
            if state.quarantine and state.applied is not None:
                self.highest = state.applied.version or self.highest
        if state.applied is not self._applied:
            before, self._applied = self._applied, state.applied
            if state.applied is not None and daemon.restored:
                self._check_applied(state.applied, before)
        if state.last_known_good is not self._good:
            self._good = state.last_known_good
            if self._good is not None and daemon.restored:
                self._check_proven(self._good)
                self._check_started(self._good)
        if state.fallback is not self._proven:
            self._proven = state.fallback
            if self._proven is not None and daemon.restored:
                self._check_proven(self._proven)
        if state.started is not self._started:
            self._started = state.started
            if self._started is not None and daemon.restored:
                self._check_started(self._started)

    def _check_locked(self, node: Node) -> None:
        """Check that what lets nobody log in is not called in sync."""
        if not self._world.postgres.locked_by_document:
            return
        self.checked += 1
        written = node.config.written
        runs = written is not None and str(written.marker) == self._world.postgres.marker
        if runs and node.snapshot().config.in_sync:
            self._world.fail("in sync, and nobody can log in")

    def _check_applied(self, fact: GenerationRef, before: GenerationRef | None) -> None:
        world = self._world
        self.checked += 1
        last = world.postgres.ran.get(fact.marker)
        same_file = before is not None and before.marker == fact.marker
        if not same_file and (last is None or world.loop.now - last > RAN_LATELY_S):
            world.fail(f"generation {fact.generation} is called applied, but never ran")
        if is_older(fact.version, self.highest):
            world.fail(f"version {fact.version} applied after {self.highest}")
        self._raise(fact.version)
        world.note(f"applied: generation {fact.generation}, version {fact.version}")

    def accepted(self, version: Version | None) -> None:
        """Check that no document was accepted after a newer one, even if nothing changed by it."""
        self.checked += 1
        if is_older(version, self.highest):
            self._world.fail(f"version {version} accepted after {self.highest}")
        self._raise(version)

    def _raise(self, version: Version | None) -> None:
        """Remember a version, unless the daemon says that it could not keep it."""
        daemon = self._world.daemon
        if daemon is not None and not daemon.node.config.not_kept:
            self.highest = version or self.highest

    def _check_proven(self, fact: GenerationRef) -> None:
        """Check that nothing is wrong with what is proven in full, as far as a reload shows it."""
        self.checked += 1
        text = self.texts.get(fact.marker, "")
        self._proven_rests.add(split_body(LiveFile.parse(text).body)[0])
        if rules.complaints(text) or not text:
            self._world.fail(f"generation {fact.generation} is called good, but is in error")
        if rules.locks_out(rules.values(text)):
            self._world.fail(f"generation {fact.generation} is called good, but lets nobody in")
        if self._world.postgres.waits_for_restart(text):
            self._world.fail(
                f"generation {fact.generation} is called good, but waits for a restart"
            )

    def _check_started(self, fact: GenerationRef) -> None:
        """Check that a server came up with *fact*, and would do so again."""
        self.checked += 1
        if self._world.clocks_set >= 2:
            return
        if fact.marker not in self._world.postgres.came_up_with:
            self._world.fail(f"no server came up with generation {fact.generation}")
        if not rules.startable(self.texts.get(fact.marker, "")):
            self._world.fail(f"no server starts with generation {fact.generation}")

    def server_starts(self, text: str) -> None:
        """Check that a server that does not come up is not started again and again."""
        self.checked += 1
        self.starts.begins(text)

    def file_changed(self, name: str) -> None:
        """Check that the live file is whole, or somebody else's."""
        if name != CONF:
            return
        self.checked += 1
        text = self._world.disk.files.get(CONF)
        if text is None or text in self.foreign:
            return
        live = LiveFile.parse(text)
        if not live.intact:
            self._world.fail("the live file is torn")
        self.starts.file_written(str(live.marker))
        self.texts[str(live.marker)] = text
        self._check_kept(live.body)

    def _check_kept(self, body: str) -> None:
        """Check that no document has taken away by omission what the compute had."""
        self.checked += 1
        before, self._body = self._body, body
        if before is None or self._world.forces:
            return
        had, has = ({row.name for row in rules.rows(text) if row.value} for text in (before, body))
        lost = [name for name in KEPT if name in had - has]
        if lost:
            self._world.fail(f"an omission took away {', '.join(lost)}")

    def moved(self, old: Status, new: Status) -> None:
        """Check a change of status against the table."""
        self.checked += 1
        if new not in TRANSITIONS[old].values():
            self._world.fail(f"illegal move from {old} to {new}")

    def attempted(self, attempt: Attempt) -> None:
        """Check that an attempt was bounded."""
        self.checked += 1
        if attempt.duration_ms > MAX_ATTEMPT_S * 1000:
            self._world.fail(f"an attempt took {attempt.duration_ms / 1000:.0f} s")

    def fetched(self, *, plain: bool) -> None:
        """Count a fetch, and check the pace."""
        now = self._world.loop.now
        self.checked += 1
        self.fetches += 1
        if now < self._leave_alone_until:
            self._world.fail("asked again before the end of Retry-After")
        if plain:
            interval = self._world.settings.refresh_min_interval
            if now - self._last_plain < interval - 1e-6:
                self._world.fail(f"two fetches within {now - self._last_plain:.4f} s")
            self._last_plain = now
        self._recent.append(now)
        for times in (self._recent, self._allowed):
            while times and times[0] < now - WINDOW_S:
                times.popleft()
        if len(self._recent) > MAX_FETCHES + len(self._allowed):
            self._world.fail(f"{len(self._recent)} fetches within {WINDOW_S:g} s")

    def answered(self, *, retry_after_s: float = 0.0) -> None:
        """Note what the source has said: nothing but force may ask it again before that."""
        daemon = self._world.daemon
        if daemon is None or daemon.node.requests.forced_at is None:
            self._leave_alone_until = self._world.loop.now + retry_after_s

    def forced(self) -> None:
        """Somebody asks by force."""
        self._leave_alone_until = 0.0

    def detached(self) -> None:
        """Check that the source has said it twice, some time apart."""
        if not self.empties or self.empties[-1] - self.empties[0] < GRACE_S - 0.1:
            self._world.fail(f"terminated without a confirmed detach: {self.empties}")

    def fallback_refused(self, node: Node, live: LiveFile) -> bool:
        """Whether the fallback in the file is refused in turn: then the compute is failed."""
        written, text = node.config.written, self.texts.get(str(live.marker), "")
        falls_back = written is not None and written.is_fallback
        return falls_back and node.status is Status.FAILED and not rules.startable(text)

    def is_bad(self, live: LiveFile) -> bool:
        """Whether the file has something that no server should be left with."""
        text = self.texts.get(str(live.marker), "nonsense")
        proven = split_body(live.body)[0] in self._proven_rests
        return bool(rules.complaints(text)) or not (proven or rules.startable(text))
