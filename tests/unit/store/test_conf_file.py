"""The live configuration file, as far as no server is needed."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compute_common.errors import SettingsError
from compute_ctl.errors import StoreError
from compute_ctl.store.conf_file import ConfFile, NotAskedError
from compute_ctl.store.staged_file import staged
from devstack.wait import wait_until
from tests.support.files import names


def store(folder: Path, *, config_file: Path | None = None, pgbin: str = "postgres") -> ConfFile:
    """The store of an attached daemon for the data directory *folder*."""
    return ConfFile(
        folder / "compute_ctl.conf",
        pgdata=folder,
        pgbin=pgbin,
        attach=True,
        config_file=config_file,
    )


def test_no_file_reads_as_none(tmp_path: Path) -> None:
    """Without a file there is no text; after a swap there is the one swapped in."""
    conf = store(tmp_path)
    assert conf.read() is None
    conf.swap("a = 'ü'\n")
    conf.sync()
    assert "a = 'ü'\n" == conf.read()


def test_unreadable_file_is_a_store_error(tmp_path: Path) -> None:
    """What cannot be read is an error with the reason, not an absent file."""
    (tmp_path / "compute_ctl.conf").mkdir()
    with pytest.raises(StoreError, match=r"could not read file .*: it is not a regular file"):
        store(tmp_path).read()


def test_failed_swap_names_the_reason(tmp_path: Path) -> None:
    """A swap into a folder that is gone raises StoreError with file and reason."""
    with pytest.raises(StoreError, match=r"could not replace file .*: No such file or directory"):
        store(tmp_path / "gone").swap("a = 1\n")


def test_construction_touches_nothing(tmp_path: Path) -> None:
    """Making a store leaves the folder as it was."""
    store(tmp_path)
    assert [] == names(tmp_path)


def test_missing_include_is_added_once(tmp_path: Path) -> None:
    """The line is added at the end, mode kept, also where the last newline was missing."""
    main = tmp_path / "postgresql.conf"
    main.write_bytes(b"port = 1\n# caf\xe9")
    main.chmod(0o644)
    conf = store(tmp_path)
    assert conf.ensure_included() is True
    line = f"include_if_exists = '{tmp_path}/compute_ctl.conf'\n".encode()
    expected = b"port = 1\n# caf\xe9\n" + line
    assert main.read_bytes() == expected
    assert 0o644 == main.stat().st_mode & 0o777
    assert conf.ensure_included() is False
    assert main.read_bytes() == expected


def test_include_that_cannot_be_added_is_told(tmp_path: Path) -> None:
    """Where the main file cannot be replaced the operator gets the line to add."""
    main = tmp_path / "absent" / "postgresql.conf"
    with pytest.raises(SettingsError, match="No such file or directory") as caught:
        store(tmp_path, config_file=main).ensure_included()
    assert caught.value.hint is not None
    assert f"include_if_exists = '{tmp_path}/compute_ctl.conf'" in caught.value.hint


def test_binary_that_is_missing_finds_nothing_wrong(tmp_path: Path) -> None:
    """A check that cannot be made complains about nothing and leaves no file."""
    conf = store(tmp_path, pgbin=str(tmp_path / "no-such-postgres"))
    assert [] == conf.check("a = 1\n")
    assert [] == names(tmp_path)


def test_check_ends_at_its_deadline(tmp_path: Path) -> None:
    """A server binary that hangs is ended, and that is a complaint about the candidate."""
    hanging = tmp_path / "postgres"
    hanging.write_text("#!/bin/sh\nexec sleep 30\n")
    hanging.chmod(0o755)
    conf = ConfFile(
        tmp_path / "postgresql.conf", pgdata=tmp_path, pgbin=str(hanging), check_timeout_s=0.1
    )
    (complaint,) = conf.check("a = 1\n")
    said = f'the check by "{hanging}" did not come to an end: no answer within 0.1 s'
    assert (str(conf.path), said, True) == (complaint.file, complaint.reason, complaint.unfinished)
    assert ["postgres"] == names(tmp_path)


def test_check_that_is_killed_is_a_complaint(tmp_path: Path) -> None:
    """So is one that a signal ends: the candidate may be what it died of."""
    dying = tmp_path / "postgres"
    dying.write_text("#!/bin/sh\nkill -9 $$\n")
    dying.chmod(0o755)
    (complaint,) = store(tmp_path, pgbin=str(dying)).check("a = 1\n")
    assert complaint.unfinished
    assert complaint.reason.endswith("did not come to an end: ended by SIGKILL")


def waiting_binary(folder: Path) -> Path:
    """A server binary that makes `asked`, waits for `go`, and then refuses what says "bad"."""
    folder.mkdir()
    path = folder / "postgres"
    path.write_text(
        f"""#!/bin/sh
for word; do case $word in config_file=*) file=${{word#config_file=}};; esac; done
: > {folder}/asked
read line < {folder}/go
grep -q bad "$file" || exit 0
echo 'LOG:  syntax error in file "'$file'" line 1, near token "bad"' >&2
echo 'FATAL:  configuration file "'$file'" contains errors' >&2
exit 1
"""
    )
    path.chmod(0o755)
    os.mkfifo(folder / "go")
    return path


def test_two_checks_at_a_time_read_each_its_own(tmp_path: Path) -> None:
    """A bad candidate checked meanwhile by a command is not what the daemon's check reads."""
    data = tmp_path / "data"
    data.mkdir()
    checks = []
    with ThreadPoolExecutor(2) as pool:
        for who, text in (("daemon", "good = 1\n"), ("command", "bad bad\n")):
            binary = waiting_binary(tmp_path / who)
            conf = ConfFile(data / "postgresql.conf", pgdata=data, pgbin=str(binary))
            checks.append(pool.submit(conf.check, text))
            wait_until(f"the {who}'s check", (tmp_path / who / "asked").exists)
        for who in ("daemon", "command"):
            (tmp_path / who / "go").write_text("go\n")
        good, bad = (check.result(timeout=10) for check in checks)
    assert ([], [1]) == (good, [one.line for one in bad])
    assert [] == names(data)


def test_what_a_dead_check_has_left_goes(tmp_path: Path) -> None:
    """The candidate of a killed process is removed by the next check, that of a live one stays."""
    data = tmp_path / "data"
    data.mkdir()
    (data / ".postgresql.conf.check.1.dead").touch()
    with staged(data / "postgresql.conf", "postgresql.conf", "a = 1\n") as mine:
        with staged(data / "postgresql.conf", "postgresql.conf", "b = 1\n") as other:
            assert names(data) == sorted([mine.name, other.name])
            assert ("a = 1\n", "b = 1\n") == (mine.read_text(), other.read_text())
        assert f".{os.getpid()}." in mine.name
    assert [] == names(data)


def test_failure_that_is_not_the_candidates_is_told(tmp_path: Path) -> None:
    """A binary that fails for a reason of its own has judged nothing, and says why."""
    broken = tmp_path / "postgres"
    broken.write_text("#!/bin/sh\necho 'postgres: no library' >&2\nexit 127\n")
    broken.chmod(0o755)
    with pytest.raises(NotAskedError, match=r"^exit status 127: postgres: no library$"):
        store(tmp_path, pgbin=str(broken)).judge("a = 1\n")
    assert [] == store(tmp_path, pgbin=str(broken)).check("a = 1\n")
