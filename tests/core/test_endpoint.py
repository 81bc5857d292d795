import pytest

from pg_hook import Endpoint, HookError, ffi, lib, parse_endpoint
from pg_hook.errors import py_text


@pytest.mark.parametrize(
    ("text", "base_url", "unix_path"),
    [
        ("http://127.0.0.1:3081", "http://127.0.0.1:3081", ""),
        ("http://127.0.0.1:3081/", "http://127.0.0.1:3081", ""),
        ("http://127.255.255.255:65535", "http://127.255.255.255:65535", ""),
        ("http://[::1]:1", "http://[::1]:1", ""),
        ("http://localhost:80", "http://127.0.0.1:80", ""),
        ("unix:/run/c.sock", "http://localhost", "/run/c.sock"),
        ("unix:/" + "x" * 106, "http://localhost", "/" + "x" * 106),
    ],
)
def test_accepted(text: str, base_url: str, unix_path: str) -> None:
    """Loopback by number, localhost, or an absolute socket path."""
    assert parse_endpoint(text) == Endpoint(base_url=base_url, unix_path=unix_path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "ENDPOINT_SYNTAX"),
        ("127.0.0.1:3081", "ENDPOINT_SYNTAX"),
        ("https://127.0.0.1:3081", "ENDPOINT_SYNTAX"),
        ("HTTP://127.0.0.1:3081", "ENDPOINT_SYNTAX"),
        ("http://127.0.0.1:3081/path", "ENDPOINT_SYNTAX"),
        ("http://127.0.0.1:3081?x", "ENDPOINT_SYNTAX"),
        ("http://127.0.0.1:3081 ", "ENDPOINT_SYNTAX"),
        ("http://10.0.0.1:80", "ENDPOINT_NOT_LOCAL"),
        ("http://0.0.0.0:80", "ENDPOINT_NOT_LOCAL"),
        ("http://127.1:80", "ENDPOINT_NOT_LOCAL"),
        ("http://127.0.0.256:80", "ENDPOINT_NOT_LOCAL"),
        ("http://127.0.0.01:80", "ENDPOINT_NOT_LOCAL"),
        ("http://0177.0.0.1:80", "ENDPOINT_NOT_LOCAL"),
        ("http://127.0.0.1.example.com:80", "ENDPOINT_NOT_LOCAL"),
        ("http://localhost.example.com:80", "ENDPOINT_NOT_LOCAL"),
        ("http://localhost@example.com:80", "ENDPOINT_NOT_LOCAL"),
        ("http://127.0.0.1:80@example.com", "ENDPOINT_NOT_LOCAL"),
        ("http://user@127.0.0.1:80", "ENDPOINT_NOT_LOCAL"),
        ("http://[::2]:80", "ENDPOINT_NOT_LOCAL"),
        ("http://[::ffff:10.0.0.1]:80", "ENDPOINT_NOT_LOCAL"),
        ("http://:80", "ENDPOINT_NOT_LOCAL"),
        ("http://127.0.0.1", "ENDPOINT_PORT"),
        ("http://127.0.0.1/", "ENDPOINT_PORT"),
        ("http://127.0.0.1:", "ENDPOINT_PORT"),
        ("http://127.0.0.1:0", "ENDPOINT_PORT"),
        ("http://127.0.0.1:080", "ENDPOINT_PORT"),
        ("http://127.0.0.1:65536", "ENDPOINT_PORT"),
        ("http://127.0.0.1:4294967377", "ENDPOINT_PORT"),
        ("http://127.0.0.1:-1", "ENDPOINT_PORT"),
        ("unix:", "ENDPOINT_PATH"),
        ("unix:run/c.sock", "ENDPOINT_PATH"),
        ("unix:/" + "x" * 107, "ENDPOINT_PATH"),
        ("unix:/a\nb", "ENDPOINT_PATH"),
    ],
)
def test_refused(text: str, name: str) -> None:
    """Whatever could leave the machine, or is written oddly, is refused."""
    with pytest.raises(HookError) as caught:
        parse_endpoint(text)
    assert caught.value.name == name


@pytest.mark.parametrize(("port", "ok"), [(1, True), (65535, True), (0, False), (65536, False)])
def test_from_port(port: int, ok: bool) -> None:
    """The daemon's port alone gives loopback; 0 means that there is none."""
    out = ffi.new("struct pgh_endpoint *")
    code = lib.pgh_endpoint_from_port(port, out)
    assert code == (lib.PGH_OK if ok else lib.PGH_ERR_ENDPOINT_PORT)
    assert py_text(out.base_url) == (f"http://127.0.0.1:{port}" if ok else "")
