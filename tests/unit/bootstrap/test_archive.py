"""Unpacking archives of whatever content."""

import io
import tarfile
from pathlib import Path

import pytest

from compute_ctl.bootstrap.archive import END, ArchiveLimits, unpack
from compute_ctl.errors import BackupError

Member = tuple[str, bytes]


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """One member of an archive, as its bytes."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, len(data), link, 0o777
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


class Pieces:
    """A source that gives few bytes at a time, and may fail at its end."""

    def __init__(self, data: bytes, *, size: int = 100, error: str = "") -> None:
        self._file = io.BytesIO(data)
        self._size = size
        self._error = error

    def read(self, size: int, /) -> bytes:
        """Return fewer bytes than asked for."""
        data = self._file.read(min(size, self._size))
        if not data and self._error:
            raise BackupError(self._error)
        return data


def refused(data: bytes, folder: Path, **options: int) -> str:
    """Return why an archive is not unpacked."""
    limits = ArchiveLimits(**options) if options else None
    with pytest.raises(BackupError) as caught:
        unpack(Pieces(data, size=1 << 16), folder, refuse=("compute_ctl",), limits=limits)
    return str(caught.value)


def test_files_and_folders(tmp_path: Path) -> None:
    """Contents come whole, folders are made where the archive does not; modes are ours."""
    archive = (
        member("./", kind=tarfile.DIRTYPE)
        + member("a/", kind=tarfile.DIRTYPE)
        + member("a/x", b"1" * 1000)
        + member("b/c/y", b"")
        + member("a/x", b"2" * 600)
        + member("postgresql.conf", b"port = 1")
        + END * 2
    )

    found = unpack(Pieces(archive), tmp_path, skip=frozenset({"postgresql.conf"}))

    assert (1608, 6) == (found.bytes, found.members)
    assert b"2" * 600 == (tmp_path / "a" / "x").read_bytes()
    assert ["a", "b"] == sorted(path.name for path in tmp_path.iterdir())
    assert 0o100600 == (tmp_path / "a" / "x").stat().st_mode
    assert 0o40700 == (tmp_path / "b" / "c").stat().st_mode


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a/..", "/", "compute_ctl/x"])
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    """A name that is absolute, climbs, or is the daemon's own is refused."""
    folder = tmp_path / "folder"
    folder.mkdir()

    assert "not allowed" in refused(member(name, b"x") + END, folder)

    assert [folder] == list(tmp_path.iterdir())
    assert [] == list(folder.iterdir())


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_SPARSE,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
    ],
)
def test_kinds_that_are_refused(tmp_path: Path, kind: bytes) -> None:
    """Links, devices and extension headers are refused, also those that stay inside."""
    archive = member("a", b"x") + member("b", kind=kind, link="a") + END

    assert "neither a file nor a directory" in refused(archive, tmp_path)


@pytest.mark.parametrize("cut", [0, 100, 512, 700, 1536, 2047])
def test_archive_that_is_cut(tmp_path: Path, cut: int) -> None:
    """Without its end an archive is not complete, wherever it is cut."""
    archive = member("a", b"x" * 600) + END

    assert 2048 == len(archive)
    assert "not complete" in refused(archive[:cut], tmp_path)


def test_nonsense(tmp_path: Path) -> None:
    """A damaged header is refused, and so is a size that cannot be."""
    assert "bad header" in refused(b"x" * 1024, tmp_path)
    header = bytearray(member("a", b""))
    header[124:136] = b"\xff" * 12  # -1 in base 256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert "wrong size" in refused(bytes(header) + END, tmp_path)
    assert "wrong size" in refused(member("a", b"x", tarfile.DIRTYPE) + END, tmp_path)


def test_limits(tmp_path: Path) -> None:
    """Bytes, members and what follows the end are bounded."""
    archive = member("a", b"x" * 600) + member("b", b"y") + END

    assert "more than" in refused(archive, tmp_path, bytes=600)
    assert "more than" in refused(archive, tmp_path, members=1)
    assert "follow the archive" in refused(archive + bytes(2000), tmp_path, trailing_bytes=1000)


def test_error_after_the_end(tmp_path: Path) -> None:
    """What follows the archive is read: an error may come there."""
    source = Pieces(member("a", b"x") + END * 20, error="the copy failed")

    with pytest.raises(BackupError, match="the copy failed"):
        unpack(source, tmp_path)


def test_link_in_the_way(tmp_path: Path) -> None:
    """A link that is in the folder already is not followed."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").symlink_to(tmp_path / "outside")

    with pytest.raises(OSError, match="symbolic links"):
        unpack(Pieces(member("a", b"x") + END), folder)

    assert not (tmp_path / "outside").exists()
