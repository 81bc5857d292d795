"""Computes that are ahead of us, as after the store was restored from a backup. Pure."""

from __future__ import annotations

from typing import Final

from control_plane.decisions.model import ComputeRecord, Report, ReportedDocument

MAX_FLOOR: Final = 2**53
"""A compute that names a generation from here on has made it up."""


def ahead(record: ComputeRecord, report: Report | None) -> int:
    """Return the generation above which the next document must be, 0 for none.

    The compute has one that we did not publish, and takes no older one.
    """
    if report is None or not record.generation:
        return 0
    floor = max(_foreign(record, one) for one in (report.desired, report.applied))
    return floor if floor < MAX_FLOOR else 0


def _foreign(record: ComputeRecord, said: ReportedDocument | None) -> int:
    """Return a generation not below that of a document which is not ours, 0 for one of ours."""
    if said is None or said.generation is None or said.generation < record.generation:
        return 0
    if said.generation > record.generation:
        return said.generation
    return 0 if said.hash in ("", record.content_sha256) else said.generation + 1
