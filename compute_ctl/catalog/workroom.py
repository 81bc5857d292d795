"""Runs blocking catalog work: one piece at a time, each given up at its deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from compute_ctl.errors import CatalogError, ProbeError
from compute_ctl.system.blocking_worker import BlockingWorker

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Workroom:
    """A room from which nothing but a CatalogError comes."""

    def __init__(self) -> None:
        self._worker = BlockingWorker("catalog")

    async def run(self, work: Callable[[], T], *, name: str, within_s: float) -> T:
        """Return the result of *work*.

        Raises:
            CatalogError: it failed, it has not ended in time, or an earlier one has not yet.
        """
        try:
            return await self._worker.run(work, within_s=within_s)
        except CatalogError:
            raise
        except TimeoutError as error:
            why = str(error) or f"it has not ended within {within_s:g} s"
            raise CatalogError(why) from None
        except ProbeError as error:
            raise CatalogError(str(error)) from None
        except Exception as error:  # a mistake of ours here must not cost a heal
            logger.exception("%s ended unexpectedly", name)
            raise CatalogError(f"unexpected {type(error).__name__}") from error
