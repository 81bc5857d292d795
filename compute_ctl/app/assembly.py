"""Makes the objects of the daemon from the settings; starts nothing. Only `main` uses it."""

from __future__ import annotations

import logging
import random
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from compute_common.http.limits import ConnectionLimits
from compute_ctl.app.cluster_parts import cluster_identity
from compute_ctl.app.reconciler_parts import ReconcilerParts, build_reconciler
from compute_ctl.catalog import CatalogQueries, CatalogReconciler
from compute_ctl.catalog.overrides import SizeLimitOverride, SubscriberOverride
from compute_ctl.catalog.pg_dump import PgDump
from compute_ctl.catalog.runner import CatalogRunner
from compute_ctl.document.conninfo import parse as parse_conninfo
from compute_ctl.document.limits import Limits
from compute_ctl.document.render import RenderContext
from compute_ctl.http import HttpServer
from compute_ctl.http.api import Api
from compute_ctl.http.auth import TokenAuthenticator
from compute_ctl.http.startup import Startup
from compute_ctl.lfc import FileCache
from compute_ctl.monitoring.audit_log import AuditLog
from compute_ctl.monitoring.extensions import ExtensionCount
from compute_ctl.monitoring.metrics import Metrics
from compute_ctl.monitoring.monitor import APPLICATION, Monitor
from compute_ctl.node import Node
from compute_ctl.ports import DocumentSource
from compute_ctl.postgres import Attached, Supervised
from compute_ctl.postgres.programs import beside
from compute_ctl.reconciler.generations import GenerationStore
from compute_ctl.settings import SOCKET_NAME, Settings, worker_endpoint
from compute_ctl.sql.kept_session import KeptSession
from compute_ctl.sql.probe import PgSqlProbe
from compute_ctl.sql.standby import PgStandby
from compute_ctl.sql.trial import SqlTrial
from compute_ctl.store.conf_file import ConfFile
from compute_ctl.store.state_dir import StateDir

logger = logging.getLogger(__name__)

DEFAULT_SUPERUSER = "cloud_admin"


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def wall(self) -> datetime:
        """The current time in UTC."""
        return datetime.now(UTC)


class Assembly:
    """Knows what each object needs of the settings and of the others."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session = KeptSession(settings.connstr, application_name=APPLICATION)
        """The monitor's; between its looks, settings are tried in it."""

    def postgres(self) -> Attached | Supervised:
        """Return the server: one that somebody else runs, or that the daemon runs."""
        settings = self._settings
        if settings.attach:
            return Attached(settings.pgdata)
        return Supervised(
            settings.pgdata,
            pgbin=settings.pgbin,
            superuser=parse_conninfo(settings.connstr).params.get("user", DEFAULT_SUPERUSER),
            log_pipe=settings.state_path / "postgres.log.fifo",
        )

    def generations(self, store: StateDir, node: Node) -> GenerationStore:
        """Return the files of *node*; Postgres reads ours from now on.

        Raises:
            SettingsError: it cannot be made to.
        """
        settings = self._settings
        conf = ConfFile(
            settings.conf_path,
            pgdata=settings.pgdata,
            pgbin=settings.pgbin,
            attach=settings.attach,
            config_file=settings.config_file,
            check_timeout_s=settings.deadlines.check,
        )
        conf.ensure_included()
        conf.prepare()
        return GenerationStore(
            conf=conf,
            state=store,
            identity=cluster_identity(settings),
            deadlines=settings.deadlines,
            nonce=lambda: secrets.token_hex(16),
            on_kept=node.config.state_kept,
        )

    def reconciler(
        self,
        *,
        node: Node,
        store: GenerationStore,
        postgres: Attached | Supervised,
        source: DocumentSource,
        catalog: CatalogReconciler,
        clock: SystemClock,
        internal_port: int,
    ) -> ReconcilerParts:
        """Return what brings documents into force."""
        settings = self._settings
        return build_reconciler(
            node=node,
            store=store,
            postgres=postgres,
            probe=PgSqlProbe(settings.connstr),
            source=source,
            clock=clock,
            settings=settings,
            context=self._context(store, internal_port),
            rng=random.SystemRandom(),
            trial=SqlTrial(self._session),
            catalog=catalog,
            standby=PgStandby(settings.connstr, settings.pgdata),
        )

    def _context(self, store: GenerationStore, internal_port: int) -> RenderContext:
        settings = self._settings
        endpoint = worker_endpoint(settings.state_path)
        if endpoint is None:
            logger.warning(
                'the path of unix socket "%s" is too long for postgres, '
                "whose worker will use the loopback port instead",
                settings.state_path / SOCKET_NAME,
            )
        return RenderContext(
            attach=settings.attach,
            internal_port=internal_port,
            endpoint=endpoint,
            overcommit_never=_overcommit_never(),
            privileged_role=settings.privileged_role,
            token_file=str(store.token_path),
            limits=Limits(
                settings=settings.max_settings,
                roles=settings.max_roles,
                databases=settings.max_databases,
            ),
        )

    def http_server(
        self, node: Node, metrics: Metrics, file_cache: FileCache, limits: ConnectionLimits
    ) -> HttpServer:
        """Return the HTTP API of *node*, and let it observe the start."""
        settings = self._settings
        startup = Startup()
        node.subscribe(startup)
        pg_dump = PgDump(settings.connstr, program=beside(settings.pgbin, "pg_dump"))
        api = Api(
            node=node,
            metrics=metrics,
            deadlines=settings.deadlines,
            startup=startup,
            catalog=CatalogQueries(settings.connstr, pg_dump=pg_dump),
            file_cache=file_cache,
        )
        return HttpServer(
            api=api,
            settings=settings,
            authenticate_external=TokenAuthenticator(node=node, settings=settings),
            limits=limits,
        )

    def catalog(
        self,
        node: Node,
        store: GenerationStore,
        postgres: Attached | Supervised,
        clock: SystemClock,
    ) -> CatalogReconciler:
        """Return what updates roles, databases and extensions."""
        settings = self._settings
        size_limit = SizeLimitOverride(settings.pgdata, reload=postgres.reload)
        runner = CatalogRunner(
            node=node,
            clock=clock,
            connstr=settings.connstr,
            save=lambda: store.save(node.config.state),
            size_limit=size_limit,
            privileged=settings.privileged_role,
            may_replicate=not settings.lakebase_mode,
            deadline_s=settings.deadlines.catalog,
        )
        return CatalogReconciler(
            node=node,
            postgres=postgres,
            clock=clock,
            runner=runner,
            size_limit=size_limit,
            subscribers=SubscriberOverride(settings.pgdata, reload=postgres.reload),
            always=not settings.attach,
            retry_max_s=settings.reconcile_interval,
        )

    def monitor(
        self, node: Node, postgres: Attached | Supervised, clock: SystemClock, metrics: Metrics
    ) -> Monitor:
        """Return what watches the activity in Postgres."""

        def is_down(current_ms: float, added_ms: float, why: str) -> None:
            metrics.neon.on_downtime(current_ms, added_ms)
            if not current_ms or not postgres.ready:  # one that is stopped is not silent
                node.server.silent(None)
                return
            since = clock.monotonic() - current_ms / 1000
            node.server.silent(max(since, node.server.changed_at or since), why)

        return Monitor(
            session=self._session,
            postgres=postgres,
            clock=clock,
            on_active=node.server.active,
            on_downtime=is_down,
            by_statistics=lambda: (
                node.config.spec is not None
                and "activity_monitor_experimental" in node.config.spec.features
            ),
            interval_s=self._settings.monitor_interval,
        )

    def extension_count(
        self, node: Node, postgres: Attached | Supervised, metrics: Metrics
    ) -> ExtensionCount:
        """Return what counts the extensions, while nothing else is wanted of the server."""

        def quiet() -> bool:
            suspected = node.requests.suspected(time.monotonic())
            idle = node.config.proven and not node.requests.pending and not suspected
            return idle and not node.terminating and postgres.ready

        def interval_s() -> float:
            wanted, spec = self._settings.installed_extensions_interval, node.config.spec
            suspend = spec.suspend_timeout_seconds if spec is not None else -1
            return min(wanted, suspend) if suspend > 0 else wanted

        return ExtensionCount(
            connstr=self._settings.connstr,
            quiet=quiet,
            on_extensions=metrics.neon.on_extensions,
            interval_s=interval_s,
        )

    def audit_log(self, node: Node, metrics: Metrics) -> AuditLog:
        """Return what measures the audit log, where the live file asks for one."""
        return AuditLog(
            folder=self._settings.pgdata / "log",
            kept=lambda: (
                node.config.written is not None and "pgaudit.log" in node.config.written.names
            ),
            on_size=metrics.neon.on_audit_log,
        )


def _overcommit_never() -> bool:
    try:
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2"
    except OSError:
        return False
