"""Makes the objects by which an empty data directory gets its cluster."""

from __future__ import annotations

import logging
import random
from contextlib import suppress

from compute_common.errors import RequestError
from compute_ctl.app.cluster_start import ClusterStart
from compute_ctl.bootstrap.data_directory import DataDirectory
from compute_ctl.bootstrap.maker import ClusterMaker, Means
from compute_ctl.decisions.backup_request import BackupRequest
from compute_ctl.decisions.model import RequestOrigin
from compute_ctl.decisions.persistent_state import ClusterIdentity
from compute_ctl.document.body import log_is_elsewhere
from compute_ctl.errors import BackupError
from compute_ctl.node import Node
from compute_ctl.ports import Clock
from compute_ctl.postgres import Supervised
from compute_ctl.postgres.identity import data_dir_inode, major_version, system_identifier
from compute_ctl.postgres.safekeeper_sync import sync_safekeepers
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.settings import Settings
from compute_ctl.sql.safekeepers import agreed
from compute_ctl.store.state_dir import StateDir

logger = logging.getLogger(__name__)


def cluster_identity(settings: Settings) -> ClusterIdentity:
    """Return which cluster the data directory holds, or that it holds none yet.

    Raises:
        PostgresError: it cannot be read.
    """
    directory = DataDirectory(settings.pgdata, settings.state_path)
    known = settings.attach or directory.holds_cluster
    return ClusterIdentity(
        compute_id=settings.compute_id,
        system_identifier=system_identifier(settings.pgdata) if known else "",
        data_dir_inode=data_dir_inode(settings.pgdata),
    )


def storage_environment(state: StateDir) -> dict[str, str]:
    """Return the environment by which a server logs in to its pageservers."""
    token = state.token()
    return {"NEON_AUTH_TOKEN": token} if token else {}


async def ask_safekeepers(settings: Settings, *, node: Node, state: StateDir) -> str | None:
    """Return where the safekeepers agree the log of a primary ends; None where it is not there."""
    written = node.config.written
    request = None if written is None else BackupRequest.of(written.body, None)
    if written is None or request is None or not (request.is_primary and request.safekeepers):
        return None
    if not log_is_elsewhere(written.body, attach=False):
        return None
    try:
        return await sync_safekeepers(
            settings.pgdata,
            pgbin=settings.pgbin,
            environment=storage_environment(state),
            within_s=settings.deadlines.stop_safekeepers,
        )
    except BackupError as error:
        logger.warning("could not find out where the write-ahead log ends: %s", error)
        return None


def build_cluster_start(
    settings: Settings,
    *,
    node: Node,
    postgres: Supervised,
    state: StateDir,
    store: GenerationStore,
    clock: Clock,
) -> ClusterStart:
    """Return what makes the cluster of *node* before its first start."""

    maker = ClusterMaker(
        directory=DataDirectory(settings.pgdata, settings.state_path),
        init=settings.init,
        means=_means(settings, node=node, postgres=postgres, state=state),
        clock=clock,
        rng=random.SystemRandom(),
    )
    return ClusterStart(
        node=node,
        maker=maker,
        clock=clock,
        store=store,
        identity=lambda: cluster_identity(settings),
        version=lambda: major_version(settings.pgdata),
        patience_s=settings.deadlines.failed_start,
    )


def _means(settings: Settings, *, node: Node, postgres: Supervised, state: StateDir) -> Means:
    """Return what the maker needs of others."""

    def request() -> BackupRequest | None:
        written = node.config.written
        return None if written is None else BackupRequest.of(written.body, state.token())

    async def sync() -> str | None:
        return await sync_safekeepers(
            settings.pgdata, pgbin=settings.pgbin, environment=storage_environment(state)
        )

    def look_again() -> None:
        with suppress(RequestError):  # the compute is terminating
            node.request_refresh(who="the base backup", source=RequestOrigin.CLOCK)

    return Means(
        request=request,
        initdb=postgres.make_cluster,
        safekeepers_agree=lambda asked: agreed(asked, token=asked.token),
        sync_safekeepers=sync,
        show=node.server.makes_cluster,
        failed=look_again,
    )
