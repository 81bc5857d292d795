"""`publish` and `set` replace the document: one at a time, and as a whole."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from compute_common.cli.exit_codes import CommandError
from compute_ctl.cli import publish
from compute_ctl.cli.client import Target

OLD = b"old"
NEW = (b"A" * 500_000, b"B" * 900_000)
ROUNDS = 60


def test_two_commands_at_once(tmp_path: Path) -> None:
    """One wins, the other is told; the file is never a mixture of both."""
    path, begin = tmp_path / "config.json", Barrier(2)
    nowhere = Target()

    def write(new: bytes) -> str:
        begin.wait(30)
        try:
            publish._write(path, OLD, new, nowhere)
        except CommandError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            path.write_bytes(OLD)
            said = list(pool.map(write, NEW))
            assert ["", f'"{path}" has changed meanwhile'] == sorted(said)
            assert NEW[said.index("")] == path.read_bytes()


def test_a_file_that_has_changed(tmp_path: Path) -> None:
    """What was not seen is not replaced."""
    path = tmp_path / "config.json"
    path.write_bytes(b"newer")
    with pytest.raises(CommandError, match="has changed meanwhile"):
        publish._write(path, OLD, NEW[0], Target())
    assert b"newer" == path.read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            b'{"spec": {"cluster": {}, "generation": 9223372036854775807}}',
            b'{"spec": {"cluster": {"name": "x"}}}',
            "spec.generation: expected int <= 9223372036854775807",
        ),
        (
            b'{"spec": {"cluster": {}}}',
            b'{"spec": {"cluster": {}, "x": [%s1]}}' % (b"1," * 1_000_000),
            "the document is longer than",
        ),
    ],
)
def test_what_the_daemon_would_not_read(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    """Is not written: neither the next generation nor the layout may make it so."""
    path = tmp_path / "config.json"
    path.write_bytes(old)
    with pytest.raises(CommandError, match=reason):
        publish._replace(path, old, new, "new", Target(), yes=True, wait_s=0, as_json=False)
    assert old == path.read_bytes()


def test_no_regular_file(tmp_path: Path) -> None:
    """A pipe does not hold the command up."""
    path = tmp_path / "config.json"
    os.mkfifo(path)
    with pytest.raises(CommandError, match="not a regular file"):
        publish._read(path)


def test_what_changes_is_shown_without_secrets() -> None:
    """Nor those that only the name of a setting tells; what is no JSON is shown as it is."""
    raw = b'{"spec": {"cluster": {"settings": [{"name": "neon.x_token", "value": "hush"}]}}}'
    assert '"value": "********"' in publish._shown(raw)
    assert "hush" not in publish._shown(raw)
    assert "half {\n" == publish._shown(b"half {")
    deep = b"[" * 100_000 + b"]" * 100_000
    assert deep.decode() + "\n" == publish._shown(deep)
