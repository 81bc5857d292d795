"""The certificate of the public port."""

from __future__ import annotations

import ssl
from pathlib import Path

from compute_common.errors import SettingsError
from control_plane.settings import Settings


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of the public port, None without TLS. Raises SettingsError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_certificate(context, settings.tls_cert, settings.tls_key)
    return context


def load_certificate(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Load certificate and key into *context*, for new connections. Raises SettingsError."""
    for path in (cert, key):
        try:
            path.open("rb").close()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SettingsError(f'could not read "{path}": {reason}') from error
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(
            f'"{cert}" and "{key}" are not a PEM certificate and its key without a passphrase'
        ) from error
