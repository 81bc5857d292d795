"""The configuration file that a document asks for. Pure and deterministic.

The text has two parts that can be combined freely: the *rest*, and the *upstream* part, which says
which other servers this one depends on and stands last, so that nothing before it overrides it. A
bad value in the rest must not cost a good new pageserver list; a rollback must not bring the dead
one back. So `rest + upstream` of two different documents is a configuration too.

Content and precedence follow the reference's compute_ctl with these corrections: every value is
quoted; a null value, a control character or a bad name is refused instead of breaking the file; a
dedicated field of the spec wins over a setting that says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from compute_common.document.document import Document
from compute_common.document.spec import ComputeSpec, Static
from compute_common.errors import SpecError
from compute_ctl.document import spec_sources
from compute_ctl.document.body import UPSTREAM_BEGIN
from compute_ctl.document.candidates import Candidates
from compute_ctl.document.generation import MARKER_SETTING
from compute_ctl.document.limits import Limits
from compute_ctl.document.quoting import (
    DIRECTIVES,
    Line,
    check_name,
    check_value,
    setting_line,
    settings_in,
)
from compute_ctl.document.upstream import Upstream

SIZE_LIMIT: Final = "neon.max_cluster_size"
SIZE_LIMIT_OVERRIDE: Final = "compute_ctl_temp_override.conf"
"""The file beside the configuration of a limited server that lifts its limit for a while."""

SUBSCRIBERS: Final = "neon.disable_logical_replication_subscribers"
SUBSCRIBERS_HOLD: Final = "compute_ctl_subscribers.conf"
"""The file beside the configuration that sets it while subscriptions are yet to be dropped."""

_LOGIN_FILE: Final = "neon_refresh.auth_token_file"
_ENDPOINT: Final = "neon_refresh.endpoint"
_EXTENSION_SERVER_PORT: Final = "neon.extension_server_port"
_PRELOAD: Final = "shared_preload_libraries"
_LOCALE_SETTINGS: Final = ("lc_messages", "lc_monetary", "lc_time", "lc_numeric")
_FORBIDDEN: Final = frozenset({MARKER_SETTING, "data_directory", "config_file"})
_FORBIDDEN_ATTACHED: Final = frozenset({"hba_file", "ident_file", "external_pid_file"})


def forbidden_settings(*, attach: bool) -> frozenset[str]:
    """Return what neither a document nor a file that it includes may set, in lower case."""
    return _FORBIDDEN | _FORBIDDEN_ATTACHED if attach else _FORBIDDEN


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderContext:
    """What the file depends on besides the document."""

    attach: bool
    """Postgres is run by somebody else: only what the document asks for is written."""
    internal_port: int
    """Port of the loopback listener, where Postgres asks for a refresh."""
    endpoint: str | None = None
    """Where Postgres's worker asks and acknowledges; None: at the loopback listener."""
    overcommit_never: bool = False
    """The kernel refuses to overcommit memory, which large shared segments need."""
    privileged_role: str = "neon_superuser"
    """The role that all roles of a document are members of."""
    token_file: str | None = None
    """Absolute path of the file that gets the storage token of a document that has one."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """A configuration file without its marker line."""

    rest: str
    upstream: str
    names: frozenset[str]
    """All settings in it, lower case."""
    servers: Mapping[str, str]
    """Of these the ones that name other servers and are not empty."""
    warnings: tuple[str, ...]
    storage_token: str | None
    """What logs Postgres in to its pageservers; a secret."""

    @property
    def body(self) -> str:
        """All lines before the marker line."""
        return self.rest + self.upstream


def render(document: Document, context: RenderContext, live: Candidates | None = None) -> Rendered:
    """Return the configuration that *document* asks for; *live*: see `Candidates.choose`.

    Raises:
        SpecError: it cannot be written so that Postgres reads what was meant.
    """
    spec = document.spec
    context.limits.check(spec)
    upstream = Upstream.of(spec, live)
    text = _Text.of(spec, context)
    context.limits.check_settings(len(spec.cluster.settings or ()), len(text.lines))
    settings, warnings = _settings(document, text, context)
    servers = _servers(upstream, context)
    if _LOGIN_FILE in servers:
        _take_precedence(settings, _LOGIN_FILE, servers[_LOGIN_FILE], warnings)
    names = {*settings, *servers, *(line.name.lower() for line in text.lines)}
    rest = [text.text, "# settings\n"]
    rest += [setting_line(name, value) for name, value in settings.items()]
    if SIZE_LIMIT in names:
        rest.append(setting_line("include_if_exists", SIZE_LIMIT_OVERRIDE))
    if _drops_subscriptions(spec, context):
        rest.append(setting_line("include_if_exists", SUBSCRIBERS_HOLD))
    return Rendered(
        rest="".join(rest),
        upstream=_upstream_text(servers, upstream.candidates),
        names=frozenset(names - DIRECTIVES),
        servers=spec_sources.upstream_of({**text.settings, **servers}),
        warnings=(*upstream.warnings, *text.warnings, *warnings),
        storage_token=upstream.storage_token,
    )


def render_upstream(
    document: Document, context: RenderContext, live: Candidates | None = None
) -> tuple[str, str | None]:
    """Return the upstream part alone, and the storage token that goes with it.

    For a document of which the rest cannot be written: that must not cost a good new server list.

    Raises:
        SpecError: this part cannot be written either.
    """
    upstream = Upstream.of(document.spec, live)
    return _upstream_text(_servers(upstream, context), upstream.candidates), upstream.storage_token


def _servers(upstream: Upstream, context: RenderContext) -> dict[str, str]:
    if upstream.storage_token is None or context.token_file is None:
        return dict(upstream.settings)
    # The token goes with the servers it is for, also into a fallback.
    return {_LOGIN_FILE: context.token_file, **upstream.settings}


def _upstream_text(servers: dict[str, str], candidates: Candidates) -> str:
    lines = (setting_line(name, value) for name, value in servers.items())
    return UPSTREAM_BEGIN + candidates.comments + "".join(lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Text:
    """The text that the document wants in the file as it is."""

    text: str
    lines: tuple[Line, ...]
    warnings: tuple[str, ...]

    @property
    def settings(self) -> dict[str, str]:
        """What it sets, by lower-case name."""
        return {line.name.lower(): line.value for line in self.lines}

    @classmethod
    def of(cls, spec: ComputeSpec, context: RenderContext) -> _Text:
        text, path = spec.cluster.postgresql_conf or "", "spec.cluster.postgresql_conf"
        lines = tuple(settings_in(text, path))
        warnings = []
        for line in lines:
            name = line.name.lower()
            _check_allowed(name, context, path, f" (line {line.number})")
            if name in spec_sources.UPSTREAM_SETTINGS:
                warnings.append(f'{path}: "{name}" (line {line.number}) belongs in settings')
        if text and not text.endswith("\n"):
            text += "\n"
        return cls(text=text, lines=lines, warnings=tuple(warnings))


def _check_allowed(name: str, context: RenderContext, path: str, where: str = "") -> None:
    if name == MARKER_SETTING:
        raise SpecError(path, f'"{name}"{where} is written by the daemon alone')
    if name in forbidden_settings(attach=context.attach):
        raise SpecError(path, f'"{name}"{where} cannot be set by this file')


def _settings(
    document: Document, text: _Text, context: RenderContext
) -> tuple[dict[str, str], list[str]]:
    """Return the settings of the rest, by lower-case name in the order of the file."""
    spec, warnings = document.spec, list[str]()
    asked = _asked(spec, context, warnings)
    defaults = _defaults(document, context)
    if context.endpoint is not None and _ENDPOINT not in text.settings:
        defaults[_ENDPOINT] = context.endpoint
    settings = {**defaults, **asked}
    settings.update(_audit(spec, settings))
    if spec.logs_export_host:
        settings["log_destination"] = "stderr,syslog"
    dedicated = {
        "neon.tenant_id": spec_sources.tenant_id(spec),
        "neon.timeline_id": spec_sources.timeline_id(spec),
        "neon.project_id": spec.project_id,
        "neon.branch_id": spec.branch_id,
        "neon.endpoint_id": spec.endpoint_id,
        _EXTENSION_SERVER_PORT: str(context.internal_port),
    }
    for name, value in dedicated.items():
        if value is None:
            continue
        check_value(value, f"spec.{name.partition('.')[2]}")
        _take_precedence(settings, name, value, warnings)
        settings[name] = value
    return settings, warnings


def _take_precedence(settings: dict[str, str], name: str, value: str, warnings: list[str]) -> None:
    """Drop a setting for which there is a dedicated *value*; say so if it said otherwise."""
    if settings.pop(name, value).lower() != value.lower():
        warnings.append(f'setting "{name}" contradicts its dedicated field: ignored')


def _asked(spec: ComputeSpec, context: RenderContext, warnings: list[str]) -> dict[str, str]:
    """Return the settings that the document lists, without the upstream ones; the last wins."""
    asked: dict[str, str] = {}
    for index, option in enumerate(spec.cluster.settings or ()):
        path = f"spec.cluster.settings[{index}]"
        name = option.name.lower()
        check_name(option.name, f"{path}.name")
        _check_allowed(name, context, f"{path}.name")
        if option.value is None:
            raise SpecError(f"{path}.value", f'setting "{name}" has no value')
        check_value(option.value, f"{path}.value")
        if name in spec_sources.UPSTREAM_SETTINGS:
            continue
        if asked.pop(name, option.value) != option.value:
            warnings.append(f'{path}: setting "{name}" stands there twice: the last counts')
        asked[name] = option.value
    return asked


def _defaults(document: Document, context: RenderContext) -> dict[str, str]:
    """Return what the reference writes before the settings, which may override it."""
    spec = document.spec
    defaults: dict[str, str] = {}
    if not context.attach:
        defaults |= dict.fromkeys(_LOCALE_SETTINGS, "C.UTF-8")
        defaults["neon.privileged_role_name"] = context.privileged_role
        if not _drops_subscriptions(spec, context):
            defaults[SUBSCRIBERS] = "false"
        tls = document.compute_ctl_config.tls
        if tls is not None and "tls_experimental" in spec.features:
            check_value(tls.cert_path, "compute_ctl_config.tls.cert_path")
            check_value(tls.key_path, "compute_ctl_config.tls.key_path")
            defaults |= {"ssl": "on", "ssl_cert_file": tls.cert_path, "ssl_key_file": tls.key_path}
        if context.overcommit_never:
            defaults["dynamic_shared_memory_type"] = "mmap"
    if not context.attach or spec_sources.tenant_id(spec) is not None:
        mode = "static" if isinstance(spec.mode, Static) else spec.mode.lower()
        defaults["neon.compute_mode"] = mode
    if spec.mode != "Primary":
        defaults["hot_standby"] = "on"
    if isinstance(spec.mode, Static):
        high, low = (int(half, 16) for half in spec.mode.lsn.split("/"))
        defaults["recovery_target_lsn"] = f"{high:X}/{low:X}"
    return defaults


def _drops_subscriptions(spec: ComputeSpec, context: RenderContext) -> bool:
    """Whether subscribers must not run at first; the server's own default is that they do."""
    dropped = spec.drop_subscriptions_before_start and not spec.skip_pg_catalog_updates
    return dropped and spec.mode == "Primary" and not context.attach


def _audit(spec: ComputeSpec, settings: dict[str, str]) -> dict[str, str]:
    """Return the settings of the audit level, and the libraries it needs beside those asked for."""
    if spec.audit_log_level == "Disabled":
        return {}
    if spec.audit_log_level in ("Base", "Log"):
        audit, libraries = {"pgaudit.log": "ddl,role"}, "pgaudit"
    else:
        full = spec.audit_log_level == "Full"
        audit, libraries = (
            {
                "pgaudit.log_parameter": "on" if full else "off",
                "pgaudit.log": "all" if full else "all, -misc",
                "log_rotation_age": "5",
            },
            "pgaudit,pgauditlogtofile",
        )
    preload = settings.get(_PRELOAD, "")
    audit["pgaudit.log_catalog"] = "off"
    audit[_PRELOAD] = f"{preload},{libraries}" if preload else libraries
    return audit
