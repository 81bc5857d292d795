"""The live configuration file, as far as no server is needed."""

from pathlib import Path

import pytest

from compute_ctl.errors import SettingsError, StoreError
from compute_ctl.files.conf_store import ConfStore
from tests.support.files import names


def store(folder: Path, *, config_file: Path | None = None, pgbin: str = "postgres") -> ConfStore:
    """The store of an attached daemon for the data directory *folder*."""
    return ConfStore(
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
    assert conf.read() == "a = 'ü'\n"


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
    assert names(tmp_path) == []


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
    assert main.stat().st_mode & 0o777 == 0o644
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
    assert conf.check("a = 1\n") == []
    assert names(tmp_path) == []


def test_check_ends_at_its_deadline(tmp_path: Path) -> None:
    """A server binary that hangs is ended, and nothing is complained about."""
    hanging = tmp_path / "postgres"
    hanging.write_text("#!/bin/sh\nexec sleep 30\n")
    hanging.chmod(0o755)
    conf = ConfStore(
        tmp_path / "postgresql.conf", pgdata=tmp_path, pgbin=str(hanging), check_timeout_s=0.1
    )
    assert conf.check("a = 1\n") == []
    assert names(tmp_path) == ["postgres"]
