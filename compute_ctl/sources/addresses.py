"""The addresses of a control plane, as the command line names them. Pure."""

from __future__ import annotations

from yarl import URL

from compute_common.errors import SettingsError


def base_urls(uri: str) -> tuple[str, ...]:
    """Return the addresses that *uri*, a comma list, names, without trailing slashes.

    Raises:
        SettingsError: one of them cannot be asked, or is named twice.
    """
    urls = tuple(_base_url(part.strip()) for part in uri.split(","))
    for index, url in enumerate(urls):
        if url in urls[:index]:
            raise SettingsError(f'control plane URI "{url}" is named twice')
    return urls


def _base_url(uri: str) -> str:
    try:
        url = URL(uri)
    except ValueError as error:
        raise SettingsError(f"control plane URI is not valid: {error}") from error
    if url.user is not None or url.password is not None:
        raise SettingsError(
            "control plane URI must not carry a user name or password",
            hint="Put the token into the environment variable NEON_CONTROL_PLANE_TOKEN.",
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError(
            f'control plane URI "{uri}" is not of the form http(s)://host',
            hint="For example -p http://127.0.0.1:9898",
        )
    if url.query_string or url.fragment:
        raise SettingsError(f'control plane URI "{uri}" must not have a query or fragment')
    return str(url).rstrip("/")
