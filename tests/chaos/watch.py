"""What must hold at every moment, whatever is broken."""

from compute_ctl.document.generation import LiveFile
from tests.chaos.cluster import Cluster
from tests.chaos.schedule import DAEMON


class Watch:
    """Looks at one cluster, and tells each violation once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pid = cluster.postgres.pid
        self._generation = 0
        self._told: set[str] = set()

    def look(self) -> list[str]:
        """Return what is wrong now and was not told before."""
        found = [what for what in (self._postgres(), self._file(), self._daemon()) if what]
        new = [what for what in found if what not in self._told]
        self._told.update(new)
        return new

    def _postgres(self) -> str:
        if not self._cluster.postgres.running:
            return "postgres has ended"
        return "" if self._cluster.postgres.pid == self._pid else "postgres was started again"

    def _daemon(self) -> str:
        """The daemon ends only where we end it; it is started again in any case."""
        child = self._cluster.daemon.child
        if DAEMON in self._cluster.held or child is None or child.poll() is None:
            return ""
        self._cluster.revive(DAEMON)
        return f"the daemon {child.pid} ended by itself with status {child.poll()}"

    def _file(self) -> str:
        """The live configuration file is whole at any time, and never an older one."""
        try:
            live = LiveFile.parse(self._cluster.conf.read_text())
        except FileNotFoundError:
            return "the live configuration file is gone"
        if not live.intact or live.marker is None:
            return "the live configuration file is torn"
        number = live.marker.generation
        if number < self._generation:
            return f"the live configuration file went back from {self._generation} to {number}"
        self._generation = number
        return ""
