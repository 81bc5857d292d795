"""States of a control plane for tests of what people see: fleets of any size, with trouble."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from msgspec import Raw
from msgspec.structs import replace as changed

from control_plane.decisions.model import (
    ComputeRecord,
    Heard,
    HistoryEvent,
    NodeList,
    PendingHook,
    Placement,
    PlacementSource,
    Report,
    ReportedDocument,
    StorageNode,
    Suspicion,
    TenantRecord,
    Verdict,
    VerdictState,
)
from control_plane.decisions.view_state import FleetState, Moment

WALL = datetime(2026, 11, 27, 9, 12, 3, tzinfo=UTC)
NOW = Moment(monotonic=100_000.0, wall=WALL)
TENANT = "c0ffee00c0ffee00c0ffee00c0ffee{:02x}"


def ago(seconds: float) -> datetime:
    """The time so many *seconds* before `NOW`."""
    return WALL - timedelta(seconds=seconds)


def node(number: int, *, availability: str = "Active") -> StorageNode:
    """A pageserver."""
    return StorageNode(
        id=number,
        availability=availability,
        availability_zone_id=f"zone-{number % 3}",
        listen_pg_addr=f"10.0.0.{number}",
        listen_pg_port=6400,
        listen_http_addr=f"10.0.0.{number}",
        listen_http_port=9898,
    )


def record(name: str, *, generation: int = 7, tenant: str | None = None) -> ComputeRecord:
    """A compute for which *generation* is published."""
    return ComputeRecord(
        id=name,
        document=Raw(b'{"spec":{}}'),
        generation=generation,
        body=Raw(b"{}"),
        content_sha256="ab" * 32 if generation else "",
        published_at=ago(42) if generation else None,
        tenant_id=tenant,
        timeline_id="de" * 16 if tenant else None,
    )


def report(applied: int, *suspicions: Suspicion, desired: int = 7, **more: str) -> Report:
    """A report of a compute that runs with generation *applied*."""
    return Report(
        daemon="compute_ctl",
        version="1.4.0",
        status="running",
        desired=ReportedDocument(generation=desired, hash="ab" * 32),
        applied=ReportedDocument(
            generation=applied, hash=("ab" if applied == desired else "cd") * 32, proof="full"
        ),
        outcome=more.get("outcome", "applied"),
        reason=more.get("reason", ""),
        suspicions=suspicions,
    )


def heard(said: Report | None, *, ago_s: float = 3.0, holds: int = 1) -> Heard:
    """A compute that reported so long ago and has a request open."""
    at = NOW.monotonic - ago_s
    return Heard(asked_at=at, holds=holds, reported_at=at if said else None, report=said)


def suspicion(number: int = 2, *, trouble: str = "dead") -> Suspicion:
    """That node *number* is in trouble."""
    return Suspicion(
        source="pageserver",
        shard=0,
        endpoint=f"10.0.0.{number}:6400",
        trouble=trouble,
        text="could not connect: Connection refused",
        since=ago(6),
        count=4,
    )


def fleet(size: int = 1000) -> FleetState:
    """A fleet of *size* computes with 3 laggards, and a dead node that others suspect."""
    names = [f"compute-{number:05}" for number in range(size)]
    tenants = {
        TENANT.format(number): TenantRecord(
            tenant_id=TENANT.format(number),
            placement=Placement(nodes=(number % 3 + 1,)),
            placement_source=PlacementSource.LOCATE,
        )
        for number in range(9)
    }
    state = FleetState(
        computes={
            name: record(name, tenant=TENANT.format(at % 9)) for at, name in enumerate(names)
        },
        tenants=tenants,
        nodes=NodeList(nodes=(node(1), node(2, availability="Offline"), node(3))),
        heard={name: heard(report(7)) for name in names},
        started_at=NOW.monotonic - 3 * 3600,
    )
    return with_trouble(state, names)


def with_trouble(state: FleetState, names: list[str]) -> FleetState:
    """The *state* with 3 laggards, 12 computes that are down, a verdict and a held hook."""
    heard_of = dict(state.heard)
    computes = dict(state.computes)
    refused = "setting work_mem: invalid value for parameter: “banana”"
    heard_of[names[-1]] = heard(report(6, outcome="rejected", reason=refused))
    heard_of[names[-2]] = heard(report(5))
    heard_of[names[-3]] = heard(report(6, suspicion()))
    computes[names[-2]] = changed(computes[names[-2]], published_at=ago(190))
    for name in names[10:22]:
        heard_of[name] = heard(report(7), ago_s=4000, holds=0)
    for name in names[31:52:3]:  # those whose tenant is on node 2
        heard_of[name] = heard(report(7, suspicion()))
    tenant = TENANT.format(1)
    return replace(
        state,
        heard=heard_of,
        computes=computes,
        history=(
            HistoryEvent(at=ago(5000), kind="document", text="generation 6", compute_id=names[-1]),
            HistoryEvent(at=ago(5), kind="verdict", text="node 2 is down", node_id=2),
            HistoryEvent(at=ago(4), kind="hook", text="notify-attach: node 3", tenant_id=tenant),
            HistoryEvent(at=ago(4), kind="moved", text="now on 3 (locate)", tenant_id=tenant),
        ),
        verdicts=(verdict(names[31:52:3], users=len(names) // 3),),
        pending_hooks=(
            PendingHook(
                kind="notify-attach",
                tenant_id=tenant,
                since=NOW.monotonic - 3.2,
                waits_for=(names[-2],),
            ),
        ),
    )


def verdict(suspects: list[str], *, users: int) -> Verdict:
    """That node 2 is down; the storage controller was told."""
    return Verdict(
        node_id=2,
        at=ago(5),
        suspected_by=tuple(suspects),
        users=users,
        probes=("libpq: connection refused", "http: connection refused"),
        state=VerdictState.ACTED,
    )
