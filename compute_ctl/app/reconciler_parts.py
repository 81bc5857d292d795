"""Makes the objects of the reconciler; the daemon, the simulation and the benchmarks use it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from compute_ctl.document.render import RenderContext
from compute_ctl.node import Node
from compute_ctl.ports import (
    CatalogRequests,
    Clock,
    DocumentSource,
    Postgres,
    SettingsTrial,
    SqlProbe,
)
from compute_ctl.reconciler import Reconciler
from compute_ctl.reconciler.activation import Activation
from compute_ctl.reconciler.applier import Applier
from compute_ctl.reconciler.attempts import Attempts
from compute_ctl.reconciler.candidate_switch import CandidateSwitch
from compute_ctl.reconciler.drift_checker import DriftChecker
from compute_ctl.reconciler.fallback import Fallback
from compute_ctl.reconciler.fetcher import Fetcher
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.reconciler.precheck import Precheck
from compute_ctl.reconciler.promoter import Promoter
from compute_ctl.reconciler.promotion_config import PromotionConfig
from compute_ctl.reconciler.promotion_tasks import PromotionTasks, Standby
from compute_ctl.reconciler.pushes import Pushes
from compute_ctl.reconciler.recovery import Recovery
from compute_ctl.reconciler.rollback import Rollback
from compute_ctl.reconciler.schedule import Schedule
from compute_ctl.reconciler.start_fallback import StartFallback
from compute_ctl.reconciler.verifier import Verifier
from compute_ctl.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconcilerParts:
    """What others need of the reconciler of one node."""

    reconciler: Reconciler
    """`run` is the task."""
    recovery: Recovery
    """`restore` comes before that."""
    applier: Applier
    activation: Activation
    start_fallback: StartFallback


def build_reconciler(
    *,
    node: Node,
    store: GenerationStore,
    postgres: Postgres,
    probe: SqlProbe,
    source: DocumentSource,
    clock: Clock,
    settings: Settings,
    context: RenderContext,
    rng: random.Random,
    trial: SettingsTrial | None = None,
    catalog: CatalogRequests | None = None,
    standby: Standby | None = None,
) -> ReconcilerParts:
    """Return the parts of the reconciler, connected.

    *trial*: where the running server can be asked about new values. *standby*: where it can be
    promoted.
    """
    deadlines = settings.deadlines
    verifier = Verifier(
        node=node,
        postgres=postgres,
        probe=probe,
        clock=clock,
        conf_path=store.path,
        deadlines=deadlines,
    )
    activation = Activation(node=node, store=store, verifier=verifier, deadlines=deadlines)
    fallback = Fallback(node=node, store=store, activation=activation, context=context)
    start_fallback = StartFallback(node=node, store=store, activation=activation, context=context)
    precheck = Precheck(node=node, store=store, context=context, trial=trial)
    applier = Applier(
        node=node,
        store=store,
        activation=activation,
        fallback=fallback,
        rollback=Rollback(node=node, store=store, context=context, postgres=postgres),
        precheck=precheck,
        postgres=postgres,
        clock=clock,
        context=context,
    )
    recovery = Recovery(node=node, store=store, verifier=verifier, context=context)
    schedule = Schedule(node=node, clock=clock, settings=settings, rng=rng)
    attempts = Attempts(node=node, clock=clock, schedule=schedule, catalog=catalog)
    tasks = None
    if standby is not None:
        tasks = PromotionTasks(
            standby=standby, postgres=postgres, clock=clock, promote_s=deadlines.promote
        )
    promoter = Promoter(
        node=node,
        config=PromotionConfig(
            node=node, store=store, activation=activation, precheck=precheck, context=context
        ),
        applier=applier,
        attempts=attempts,
        postgres=postgres,
        tasks=tasks,
        catalog=catalog,
        deadlines=deadlines,
    )
    reconciler = Reconciler(
        node=node,
        fetcher=Fetcher(source),
        applier=applier,
        candidates=CandidateSwitch(node=node, store=store, activation=activation, clock=clock),
        drift=DriftChecker(node=node, store=store, verifier=verifier, applier=applier, clock=clock),
        recovery=recovery,
        start_fallback=start_fallback,
        promoter=promoter,
        pushes=Pushes(node=node, catalog=catalog),
        attempts=attempts,
        schedule=schedule,
        postgres=postgres,
        clock=clock,
        settings=settings,
        rng=rng,
    )
    return ReconcilerParts(
        reconciler=reconciler,
        recovery=recovery,
        applier=applier,
        activation=activation,
        start_fallback=start_fallback,
    )
