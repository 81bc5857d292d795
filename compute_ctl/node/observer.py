"""Observers of what happens to the compute."""

from __future__ import annotations

from typing import Protocol

from compute_ctl.decisions.model import AckAnswer, Attempt, CatalogRun, RequestOrigin
from compute_ctl.decisions.transitions import Event, Status


class Observer(Protocol):
    """Is told of events, and must not raise: metrics, sd_notify, a test."""

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


class Observers:
    """An observer that tells all added ones, in order."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []

    def add(self, observer: Observer) -> None:
        """Tell *observer* of everything from now on."""
        self._observers.append(observer)

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """The status changed."""
        for observer in self._observers:
            observer.on_move(old, new, why)

    def on_illegal_event(self, status: Status, event: Event) -> None:
        """An event was dropped that is not allowed in this status."""
        for observer in self._observers:
            observer.on_illegal_event(status, event)

    def on_refresh_request(self, source: RequestOrigin) -> None:
        """A refresh was requested."""
        for observer in self._observers:
            observer.on_refresh_request(source)

    def on_attempt(self, attempt: Attempt) -> None:
        """An attempt ended."""
        for observer in self._observers:
            observer.on_attempt(attempt)

    def on_ack(self, answer: AckAnswer) -> None:
        """Postgres acknowledged something."""
        for observer in self._observers:
            observer.on_ack(answer)

    def on_catalog(self, run: CatalogRun) -> None:
        """Work on the catalog ended."""
        for observer in self._observers:
            observer.on_catalog(run)


class SilentObserver:
    """Base class that ignores all events."""

    def on_move(self, old: Status, new: Status, why: str) -> None:
        """Ignore a change of status."""

    def on_illegal_event(self, status: Status, event: Event) -> None:
        """Ignore a dropped event."""

    def on_refresh_request(self, source: RequestOrigin) -> None:
        """Ignore a request."""

    def on_ack(self, answer: AckAnswer) -> None:
        """Ignore an acknowledgement."""

    def on_attempt(self, attempt: Attempt) -> None:
        """Ignore an attempt."""

    def on_catalog(self, run: CatalogRun) -> None:
        """Ignore work on the catalog."""
