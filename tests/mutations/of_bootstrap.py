"""Mutations of what makes a cluster in an empty data directory. Pure."""

from typing import Final

from tests.mutations.mutation import Mutation

_ARCHIVE: Final = ("tests/unit/bootstrap/test_archive.py",)
_DIRECTORY: Final = ("tests/unit/bootstrap/test_data_directory.py",)

BOOTSTRAP: Final = (
    Mutation(
        name="a minority of safekeepers decides where the log ends",
        file="compute_ctl/decisions/safekeeper_quorum.py",
        old="    if len(deciding) < quorum(count):\n",
        new="    if not deciding:\n",
        tests=("tests/unit/decisions/test_safekeeper_quorum.py",),
    ),
    Mutation(
        name="a log that is flushed but not committed ends where it is flushed",
        file="compute_ctl/decisions/safekeeper_quorum.py",
        old="(answer.flush_lsn, answer.commit_lsn)",
        new="(answer.flush_lsn, answer.flush_lsn)",
        tests=("tests/unit/decisions/test_safekeeper_quorum.py",),
    ),
    Mutation(
        name="archive climbs",
        file="compute_ctl/bootstrap/archive.py",
        old=' or ".." in parts or ',
        new=" or ",
        tests=_ARCHIVE,
    ),
    Mutation(
        name="archive links",
        file="compute_ctl/bootstrap/archive.py",
        old="(tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)",
        new="(tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE)",
        tests=_ARCHIVE,
    ),
    Mutation(
        name="archive follows links",
        file="compute_ctl/bootstrap/archive.py",
        old=" | os.O_NOFOLLOW",
        new="",
        tests=_ARCHIVE,
    ),
    Mutation(
        name="error after the archive unread",
        file="compute_ctl/bootstrap/archive.py",
        old="    while data := source.read(PIECE):\n",
        new="    while data := b'':\n",
        tests=_ARCHIVE,
    ),
    Mutation(
        name="others' directory accepted",
        file="compute_ctl/bootstrap/data_directory.py",
        old="        return [] if origin is not None and origin.is_replaceable else found\n",
        new="        return []\n",
        tests=_DIRECTORY,
    ),
    Mutation(
        name="others' cluster replaced",
        file="compute_ctl/bootstrap/origin.py",
        old="        return found if found.data_dir_inode == data_dir_inode else None\n",
        new="        return found\n",
        tests=_DIRECTORY,
    ),
    Mutation(
        name="PG_VERSION first",
        file="compute_ctl/bootstrap/data_directory.py",
        old="        for name in sorted(staged - {VERSION_FILE}):\n",
        new="        for name in sorted(staged):\n",
        tests=("tests/e2e/test_backup_crashes.py", "-k", "replaced"),
    ),
    Mutation(
        name="new cluster mixed with the old",
        file="compute_ctl/bootstrap/data_directory.py",
        old="            if name not in moved and not self._is_ours(name):\n",
        new="            if name in staged:\n",
        tests=_DIRECTORY,
    ),
    Mutation(
        name="moved pageserver waited for",
        file="compute_ctl/bootstrap/maker.py",
        old="                if source.received == received:\n",
        new="                if source.received < received:\n",
        tests=("tests/e2e/test_from_backup.py", "-k", "moves_during and False"),
    ),
    Mutation(
        name="backup at the newest position",
        file="compute_ctl/bootstrap/maker.py",
        old="        lsn = request.lsn or await self._sync(request)\n",
        new="        lsn = request.lsn\n",
        tests=("tests/unit/bootstrap/test_maker.py",),
    ),
)
