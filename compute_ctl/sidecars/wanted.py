"""What a document says of the programs beside Postgres. Pure but for `fingerprint`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compute_common.document.spec import ComputeCtlConfig, ComputeSpec, LocalProxyConfig, TlsConfig
from compute_common.system.atomic_file import read_regular

MAX_PEM_BYTES: Final = 1024 * 1024
TLS_FEATURE: Final = "tls_experimental"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be in force; None where the document does not say."""

    pgbouncer: Mapping[str, str] | None = None
    local_proxy: LocalProxyConfig | None = None
    tls: TlsConfig | None = None

    @classmethod
    def of(cls, spec: ComputeSpec, config: ComputeCtlConfig) -> Wanted:
        """Return what a document says."""
        return cls(
            pgbouncer=spec.pgbouncer_settings,
            local_proxy=spec.local_proxy_config,
            tls=config.tls if TLS_FEATURE in spec.features else None,
        )


def fingerprint(tls: TlsConfig | None) -> str:
    """Return a hash of certificate and key, '' without. Raises OSError."""
    if tls is None:
        return ""
    parts = (
        read_regular(Path(one), max_bytes=MAX_PEM_BYTES) for one in (tls.cert_path, tls.key_path)
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
