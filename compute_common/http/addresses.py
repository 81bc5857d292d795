"""The addresses of an HTTP service, as a command line names them. Pure."""

from __future__ import annotations

from yarl import URL

from compute_common.errors import SettingsError


def base_urls(uri: str, *, service: str, example: str, login_hint: str) -> tuple[str, ...]:
    """Return the addresses that *uri*, a comma list, names, without trailing slashes.

    *service* is what messages call it, *login_hint* says where a password belongs.

    Raises:
        SettingsError: one of them cannot be asked, or is named twice.
    """
    urls = tuple(_base_url(part.strip(), service, example, login_hint) for part in uri.split(","))
    for index, url in enumerate(urls):
        if url in urls[:index]:
            raise SettingsError(f'{service} URI "{url}" is named twice')
    return urls


def _base_url(uri: str, service: str, example: str, login_hint: str) -> str:
    try:
        url = URL(uri)
    except ValueError as error:
        raise SettingsError(f"{service} URI is not valid: {error}") from error
    if url.user is not None or url.password is not None:
        raise SettingsError(
            f"{service} URI must not carry a user name or password",
            hint=login_hint,
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError(
            f'{service} URI "{uri}" is not of the form http(s)://host',
            hint=f"For example {example}",
        )
    if url.query_string or url.fragment:
        raise SettingsError(f'{service} URI "{uri}" must not have a query or fragment')
    return str(url).rstrip("/")
