"""What local_proxy is told, and how."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from compute_common.document.spec import LocalProxyConfig, TlsConfig
from compute_ctl.sidecars.local_proxy import LocalProxy
from compute_ctl.sidecars.wanted import Wanted

JWKS = {
    "id": "k",
    "role_names": ["web"],
    "jwks_url": "https://keys",
    "provider_name": "p",
    "jwt_audience": None,
}
WANTED = Wanted(local_proxy=msgspec.convert({"jwks": [JWKS]}, LocalProxyConfig))
PROGRAM = """
import fcntl, os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, flush=True)
print("ready", flush=True)
print("told" if signal.sigtimedwait([signal.SIGHUP], 60) else "not told", flush=True)
"""


def test_it_is_told_while_it_runs(tmp_path: Path) -> None:
    """A running one gets a signal when something has changed."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path / "pid"], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert "ready\n" == program.stdout.readline()
        assert LocalProxy(tmp_path).apply(WANTED)
        assert "told\n" == program.stdout.readline()
    assert {"jwks": [JWKS], "tls": None} == json.loads((tmp_path / "config.json").read_text())


def test_a_stale_pid_is_left_alone(tmp_path: Path) -> None:
    """Nobody holds the lock: the number may be that of another process."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / "pid").write_text(f"{other.pid}\n")
        assert LocalProxy(tmp_path).apply(WANTED)
        assert other.stdin is not None
        other.stdin.write(b"\n")
    assert 0 == other.returncode


def test_renewed_certificates_are_told_too(tmp_path: Path) -> None:
    """The same document is written again once the files have changed, and only then."""
    tls = TlsConfig(key_path=str(tmp_path / "key"), cert_path=str(tmp_path / "cert"))
    wanted = Wanted(local_proxy=WANTED.local_proxy, tls=tls)
    proxy, config = LocalProxy(tmp_path), tmp_path / "config.json"
    with pytest.raises(FileNotFoundError):
        proxy.apply(wanted)
    for name in ("key", "cert"):
        (tmp_path / name).write_text("1")
    assert proxy.apply(wanted)
    assert tls.cert_path == json.loads(config.read_text())["tls"]["cert_path"]
    config.unlink()
    assert proxy.apply(wanted)
    assert not config.exists()
    (tmp_path / "cert").write_text("2")
    assert proxy.apply(wanted)
    assert config.exists()


def test_without_it_nothing_happens(tmp_path: Path) -> None:
    """Nothing is made."""
    assert not LocalProxy(tmp_path / "local_proxy").apply(WANTED)
    assert [] == list(tmp_path.iterdir())
