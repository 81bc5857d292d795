"""How doors, adapters and store of the control plane are broken; see `catalog`. Pure."""

from typing import Final

from tests.mutations.mutation import Mutation

UNIT: Final = "tests/unit/control_plane"

CONTROL_PLANE_ADAPTERS: Final = (
    # the storage controller
    Mutation(
        name="a notification wins over locate",
        file="control_plane/http/hooks.py",
        old="        if not await api.reconciler.reconcile(tenant_id, within_s=LOCATE_S):\n",
        new="        if tenant_id:\n",
        tests=(f"{UNIT}/http/test_hooks.py", "-k", "locate_wins"),
    ),
    Mutation(
        name="locate ignored",
        file="control_plane/fleet/reconciler.py",
        old="                await self.place(tenant_id, placement, PlacementSource.LOCATE)\n",
        new="",
        tests=(f"{UNIT}/fleet/test_reconciler.py", "-k", "lost_notification"),
    ),
    Mutation(
        name="not compared again after a failure",
        file="control_plane/fleet/reconciler.py",
        old="                self._again({tenant_id})\n",
        new="                pass\n",
        tests=(f"{UNIT}/fleet/test_reconciler.py", "-k", "asked_again"),
    ),
    Mutation(
        name="what is asked for during a round waits",
        file="control_plane/fleet/reconciler.py",
        old="+ 1 if self._failed_in_round else 0\n",
        new="+ 1 if self._requested else 0\n",
        tests=(f"{UNIT}/fleet/test_reconciler.py", "-k", "meanwhile"),
    ),
    Mutation(
        name="a notification is never compared",
        file="control_plane/http/hooks.py",
        old="            api.reconciler.request(tenant_id)\n",
        new="",
        tests=(f"{UNIT}/http/test_hooks.py", "-k", "silent"),
    ),
    Mutation(
        name="a compute that is turned away waits",
        file="control_plane/fleet/reconciler.py",
        old="            self.request(record.tenant_id)\n",
        new="            pass\n",
        tests=(f"{UNIT}/fleet/test_reconciler.py", "-k", "turned_away"),
    ),
    Mutation(
        name="safekeepers by last writer",
        file="control_plane/decisions/safekeepers.py",
        old="    if old is None or new.generation > old.generation:\n",
        new="    if old is None or new.generation != old.generation:\n",
        tests=(f"{UNIT}/test_hooks.py",),
    ),
    Mutation(
        name="an equal generation with other safekeepers taken",
        file="control_plane/decisions/safekeepers.py",
        old="    if new.generation == old.generation and told != known:\n",
        new="    if new.generation == old.generation and told != known:\n        return new\n",
        tests=(f"{UNIT}/test_hooks.py",),
    ),
    # callers
    Mutation(
        name="a report in the way of the fetch",
        file="compute_ctl/sources/control_plane.py",
        old="            on_request=on_request,\n",
        new="            on_request=on_request,\n            max_connections=1,\n",
        tests=("tests/unit/sources/test_control_plane_reports.py",),
    ),
    Mutation(
        name="the token of another compute accepted",
        file="control_plane/http/tokens.py",
        old="(record.token_sha256 if record is not None else None) or self._compute",
        new="self._compute",
        tests=(f"{UNIT}/http/test_tokens.py",),
    ),
    Mutation(
        name="any token accepted",
        file="control_plane/http/tokens.py",
        old="    if not hmac.compare_digest(token_sha256(shown), needed):\n",
        new="    if not shown:\n",
        tests=(f"{UNIT}/http/test_tokens.py",),
    ),
    # the store
    Mutation(
        name="answered before it is on disk",
        file="control_plane/store/database.py",
        old="PRAGMA synchronous = FULL",
        new="PRAGMA synchronous = NORMAL",
        tests=(f"{UNIT}/store/test_sqlite.py", "-k", "on_disk"),
    ),
    Mutation(
        name="answered before it is committed",
        file="control_plane/store/database.py",
        old='            self._connection.execute("COMMIT")\n',
        new="",
        tests=(f"{UNIT}/store/test_sqlite.py", "-k", "kill_9"),
    ),
    Mutation(
        name="no comparison before the swap",
        file="control_plane/store/compare_and_swap.py",
        old="        if write.expected is not None and write.expected != found:\n",
        new="        if write.expected == -1:\n",
        tests=(f"{UNIT}/store/test_every_store.py", "-k", "conflict"),
    ),
    Mutation(
        name="the registry expects no revision",
        file="control_plane/fleet/mirror.py",
        old="            expected=self._revisions[key] if known else 0,\n",
        new="            expected=None,\n",
        tests=(f"{UNIT}/fleet/test_registry.py", "-k", "replica_was_faster"),
    ),
    Mutation(
        name="a watch drops a commit",
        file="control_plane/store/commit_log.py",
        old="                after = commit.revision\n",
        new="                after = self.newest\n",
        tests=(f"{UNIT}/store/test_every_store.py", "-k", "watch_sees_every_commit"),
    ),
    Mutation(
        name="two processes with one store",
        file="control_plane/store/database_file.py",
        old="        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        new="        fcntl.flock(fd, fcntl.LOCK_UN)\n",
        tests=(f"{UNIT}/store/test_opening.py", "-k", "second"),
    ),
    Mutation(
        name="written to a file without a name",
        file="control_plane/store/database.py",
        old="                if self._identities() != self._opened:\n",
        new="                if not self._opened:\n",
        tests=(f"{UNIT}/store/test_sqlite.py", "-k", "no_name"),
    ),
    Mutation(
        name="a store that has failed is not tried",
        file="control_plane/fleet/mirror.py",
        old="            group.create_task(self._recover())\n",
        new="",
        tests=(f"{UNIT}/fleet/test_registry.py", "-k", "answers_again"),
    ),
    Mutation(
        name="a report is kept whole",
        file="control_plane/http/reports.py",
        old="bounded(decode(call.body, Report))",
        new="decode(call.body, Report)",
        tests=(f"{UNIT}/http/test_reports.py", "-k", "cut"),
    ),
)
