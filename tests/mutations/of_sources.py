"""Mutations of where documents come from. Pure."""

from typing import Final

from tests.mutations.mutation import Mutation

SOURCES: Final = (
    Mutation(
        name="an older leader is followed",
        file="compute_ctl/decisions/leader.py",
        old="found.epoch < known.epoch",
        new="found.epoch == ()",
        tests=("tests/unit/decisions/test_leader.py",),
    ),
    Mutation(
        name="an etcd that begins anew is never believed",
        file="compute_ctl/sources/patroni_etcd.py",
        old="            self._history += 1\n",
        new="            self._history += 0\n",
        tests=("tests/unit/sources/test_patroni_etcd.py", "-k", "made_anew"),
    ),
    Mutation(
        name="a swap of a mount is not told",
        file="compute_ctl/sources/file.py",
        old="                await watch.wait()\n",
        new="                await asyncio.Event().wait()\n",
        tests=("tests/unit/sources/test_config_map.py",),
    ),
)
