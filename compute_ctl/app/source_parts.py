"""Makes the source of documents that the settings name."""

from __future__ import annotations

from compute_common.errors import SettingsError
from compute_ctl.document.conninfo import DEFAULT_PORT, parse
from compute_ctl.monitoring.metrics import Metrics
from compute_ctl.settings import Settings
from compute_ctl.sources.control_plane import ControlPlane
from compute_ctl.sources.file import FileSource
from compute_ctl.sources.own_address import is_own_host
from compute_ctl.sources.patroni import PatroniSource
from compute_ctl.sources.patroni_api import PatroniApi, api_addresses
from compute_ctl.sources.patroni_etcd import SCHEME, PatroniEtcd, store_of


def build_source(settings: Settings, metrics: Metrics) -> FileSource | PatroniSource | ControlPlane:
    """Return where documents come from.

    Raises:
        SettingsError: neither a file nor a control plane is given, or an address cannot be used.
    """
    if settings.config_path is not None:
        file = FileSource(settings.config_path)
        return file if settings.patroni is None else _patroni(settings, file, settings.patroni)
    if settings.control_plane_uri is None:
        raise SettingsError("no source of configuration: neither a file nor a control plane")
    return ControlPlane(
        settings.control_plane_uri,
        compute_id=settings.compute_id,
        token=settings.control_plane_token,
        ca=settings.control_plane_ca,
        connect_timeout_s=settings.deadlines.fetch_connect,
        total_timeout_s=settings.deadlines.fetch_total,
        on_request=metrics.neon.on_fetch,
    )


def _patroni(settings: Settings, template: FileSource, uri: str) -> PatroniSource:
    own_port = int(parse(settings.connstr).port or DEFAULT_PORT)

    async def is_ourselves(host: str, port: int) -> bool:
        return port == own_port and await is_own_host(host)

    lookup = (
        PatroniEtcd(*store_of(uri)) if uri.startswith(SCHEME) else PatroniApi(api_addresses(uri))
    )
    return PatroniSource(template, lookup, is_ourselves=is_ourselves)
