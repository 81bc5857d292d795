"""The addresses of the control plane, as the command line names them. Pure."""

from __future__ import annotations

from compute_common.http.addresses import base_urls


def addresses(uri: str) -> tuple[str, ...]:
    """Return the addresses that *uri*, a comma list, names. Raises SettingsError."""
    return base_urls(
        uri,
        service="control plane",
        example="-p http://127.0.0.1:9898",
        login_hint="Put the token into the environment variable NEON_CONTROL_PLANE_TOKEN.",
    )
