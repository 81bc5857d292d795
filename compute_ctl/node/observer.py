"""Observers of what happens to the compute."""

from __future__ import annotations

from compute_ctl.decisions.model import AckAnswer, Attempt, CatalogRun, RequestOrigin
from compute_ctl.decisions.transitions import Event, Status


class Observer:
    """Is told of events, and must not raise; this base class ignores all of them."""

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """The status changed."""

    def on_illegal_event(self, status: Status, event: Event) -> None:
        """An event was dropped that this status does not allow: a bug."""

    def on_refresh_request(self, source: RequestOrigin) -> None:
        """A refresh was requested."""

    def on_attempt(self, attempt: Attempt) -> None:
        """An attempt ended."""

    def on_ack(self, answer: AckAnswer) -> None:
        """Postgres acknowledged something."""

    def on_catalog(self, run: CatalogRun) -> None:
        """Work on the catalog ended."""


class Observers(Observer):
    """An observer that tells all added ones, in order."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []

    def add(self, observer: Observer) -> None:
        """Tell *observer* of everything from now on."""
        self._observers.append(observer)

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Tell of a change of status."""
        for observer in self._observers:
            observer.on_move(old, new, why)

    def on_illegal_event(self, status: Status, event: Event) -> None:
        """Tell of a dropped event."""
        for observer in self._observers:
            observer.on_illegal_event(status, event)

    def on_refresh_request(self, source: RequestOrigin) -> None:
        """Tell of a request."""
        for observer in self._observers:
            observer.on_refresh_request(source)

    def on_attempt(self, attempt: Attempt) -> None:
        """Tell of an attempt."""
        for observer in self._observers:
            observer.on_attempt(attempt)

    def on_ack(self, answer: AckAnswer) -> None:
        """Tell of an acknowledgement."""
        for observer in self._observers:
            observer.on_ack(answer)

    def on_catalog(self, run: CatalogRun) -> None:
        """Tell of work on the catalog."""
        for observer in self._observers:
            observer.on_catalog(run)
