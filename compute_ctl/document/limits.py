"""Limits on the size of a document. Pure.

The server's own check of its settings takes time that grows with the square of their number (0.5 s
at 500, 12 s at 5,000), and so does every process that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

from compute_common.document.spec import ComputeSpec
from compute_common.errors import SpecError


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The largest numbers that are accepted."""

    settings: int = 1000
    """In the list of settings and in the text for the configuration file, together."""
    roles: int = 10_000
    databases: int = 10_000
    """Each also limits its changes (delta operations)."""

    def check(self, spec: ComputeSpec) -> None:
        """Refuse a document that holds more. Raises SpecError."""
        cluster = spec.cluster
        self.check_settings(len(cluster.settings or ()))
        _check(len(cluster.roles), self.roles, "spec.cluster.roles", "roles")
        _check(len(cluster.databases), self.databases, "spec.cluster.databases", "databases")
        changes, limit = len(spec.delta_operations or ()), self.roles + self.databases
        if changes > limit:
            reason = f"{changes} operations exceed the limit of {limit}"
            raise SpecError("spec.delta_operations", reason)

    def check_settings(self, listed: int, lines: int = 0) -> None:
        """Refuse so many settings *listed* and as *lines* of text. Raises SpecError."""
        path = "spec.cluster.settings" if listed > self.settings else "spec.cluster.postgresql_conf"
        shown = "settings, with those listed," if listed and listed <= self.settings else "settings"
        _check(listed + lines, self.settings, path, shown, flag="settings")


def _check(count: int, limit: int, path: str, what: str, *, flag: str | None = None) -> None:
    if count > limit:
        hint = f'The daemon takes more with "--max-{flag or what} {count}".'
        raise SpecError(path, f"{count} {what} exceed the limit of {limit}", hint=hint)
