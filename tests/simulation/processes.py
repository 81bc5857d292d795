"""Seeds in several processes at a time; one that dies is an error, and never waited for."""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

T = TypeVar("T")
"""What there is to say of a seed."""


class ProcessDiedError(Exception):
    """A process has ended before its work was done."""


class Processes(Generic[T]):
    """*count* processes that share the *seeds*, and begin none after *end* (monotonic seconds).

    *broken* makes of an error of `run` what is told of its seed.
    """

    def __init__(
        self,
        run: Callable[[int], T],
        broken: Callable[[str], T],
        seeds: range,
        *,
        count: int,
        end: float | None,
    ) -> None:
        self._processes: dict[Connection, multiprocessing.Process] = {}
        for number in range(count):
            told, tell = multiprocessing.Pipe(duplex=False)
            process = multiprocessing.Process(
                target=_work, args=(run, broken, seeds[number::count], end, tell), daemon=True
            )
            process.start()
            tell.close()  # theirs alone, so that it ends with them
            self._processes[told] = process

    def told(self) -> Iterator[tuple[int, T]]:
        """Return each seed with what `run` says of it, as they come.

        Raises:
            ProcessDiedError: what its seeds are worth is not known.
        """
        while self._processes:
            for told in wait(list(self._processes)):
                assert isinstance(told, Connection)
                try:
                    yield told.recv()
                except EOFError:
                    process = self._processes.pop(told)
                    process.join()
                    _check(process)

    def stop(self) -> None:
        """End those that still work."""
        for process in self._processes.values():
            process.terminate()


def _check(process: multiprocessing.Process) -> None:
    status = process.exitcode or 0
    if status:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        raise ProcessDiedError(f"process {process.pid} {how}")


def _work(
    run: Callable[[int], T],
    broken: Callable[[str], T],
    seeds: range,
    end: float | None,
    tell: Connection,
) -> None:
    """Run *seeds*, and tell of each."""
    gc.freeze()  # what has been imported stays
    for seed in seeds:
        if end is not None and time.monotonic() >= end:
            break
        try:
            tell.send((seed, run(seed)))
        except BaseException as error:  # a broken simulation must not look like a long one
            tell.send((seed, broken(f"the simulation is broken: {error!r}")))
            raise
