"""Mutations of the reconciler: what longer searches of the simulation have found. Pure."""

from typing import Final

from tests.mutations.mutation import Mutation

RECONCILER: Final = (
    Mutation(
        name="a pageserver is left for a complaint about the one before it",
        file="compute_ctl/node/refresh_requests.py",
        old="            current = complaint.marker == str(written.marker)\n",
        new="            current = True\n",
        tests=("tests/unit/reconciler/test_candidate_switch.py", "-k", "each_complaint"),
    ),
    Mutation(
        name="two dead pageservers are written in turns",
        file="compute_ctl/decisions/candidates.py",
        old="                if now - left_at.get((number, one), -REST_S) >= REST_S\n",
        new="",
        tests=("tests/unit/reconciler/test_candidate_switch.py", "-k", "turns"),
    ),
    Mutation(
        name="the same document goes back to the dead pageserver",
        file="compute_ctl/reconciler/applier.py",
        old="            live = self.node.config.live.candidates\n",
        new="            live = None\n",
        tests=("tests/unit/reconciler/test_candidate_switch.py", "-k", "same_document"),
    ),
    Mutation(
        name="the source is waited for before the other pageserver is tried",
        file="compute_ctl/reconciler/loop.py",
        old=" or self.candidates.due\n",
        new="\n",
        tests=("tests/unit/reconciler/test_candidate_switch.py", "-k", "fetch"),
    ),
    Mutation(
        name="in sync while another generation is in the file",
        file="compute_ctl/node/snapshot.py",
        old="        and applied.marker == str(written.marker)\n",
        new="",
        tests=("tests/unit/reconciler/test_activation.py", "-k", "in_sync"),
    ),
    Mutation(
        name="a file mended after a start counts as read",
        file="compute_ctl/reconciler/drift_checker.py",
        old="            self._node.start.end()  # a server",
        new="            pass  # a server",
        tests=("tests/unit/reconciler/test_drift_checker.py", "-k", "mended"),
    ),
    Mutation(
        name="a fetch begins while the compute terminates",
        file="compute_ctl/reconciler/loop.py",
        old="            await self.recovery.note_start()\n            return\n",
        new="            await self.recovery.note_start()\n",
        tests=("tests/unit/reconciler/test_loop_detach.py",),
    ),
    Mutation(
        name="a detach confirmed across a push",
        file="compute_ctl/reconciler/loop.py",
        old="        self.schedule.attached()  # whoever pushes does not think it is detached\n",
        new="",
        tests=("tests/unit/reconciler/test_loop_detach.py",),
    ),
    Mutation(
        name="a detach confirmed across a broken document",
        file="compute_ctl/reconciler/loop.py",
        old="            self.schedule.attached()\n            return Apply",
        new="            return Apply",
        tests=("tests/unit/reconciler/test_loop_detach.py",),
    ),
    Mutation(
        name="a long poll confirms a detach",
        file="compute_ctl/reconciler/loop.py",
        old="        if self.schedule.empty(self.clock.monotonic()) and not news.long_polled:\n",
        new="        if self.schedule.empty(self.clock.monotonic()):\n",
        tests=("tests/unit/reconciler/test_loop_detach.py",),
    ),
    Mutation(
        name="a stale source keeps an earlier daemon's file from its proof",
        file="compute_ctl/reconciler/loop.py",
        old="            if result.outcome in NOT_TAKEN and not",
        new="            if result.outcome is Outcome.FETCH_FAILED and not",
        tests=("tests/unit/reconciler/test_loop_detach.py",),
    ),
    Mutation(
        name="shown before it is saved",
        file="compute_ctl/node/config_state.py",
        old="        return self.state if self._kept is None else self._kept\n",
        new="        return self.state\n",
        tests=("tests/simulation/test_saved_first.py",),
    ),
    Mutation(
        name="a state saved before its document",
        file="compute_ctl/reconciler/generations.py",
        old="            await self._call(self._copies.write_missing)\n"
        "        except StoreError as error:\n"
        "            reason = str(error)\n"
        "        if state != self._saved:\n"
        "            reason = await self._save(state) or reason\n",
        new="            reason = await self._save(state) if state != self._saved else reason\n"
        "            await self._call(self._copies.write_missing)\n"
        "        except StoreError as error:\n"
        "            reason = str(error)\n",
        tests=("tests/simulation/test_saved_first.py",),
    ),
    Mutation(
        name="a daemon forgets the version that a full disk kept in the state alone",
        file="compute_ctl/reconciler/recovery.py",
        old="        return replace(document, version=applied.version) if older else document\n",
        new="        return document\n",
        tests=("tests/simulation/test_saved_first.py",),
    ),
    Mutation(
        name="a push meets the end of a drift check",
        file="compute_ctl/reconciler/loop.py",
        old="            self.pushes.proven()\n            return True\n",
        new="            self.pushes.proven()\n            return False\n",
        tests=("tests/unit/reconciler/test_loop.py",),
    ),
    Mutation(
        name="a file edited by hand says nothing of the compute",
        file="compute_ctl/reconciler/recovery.py",
        old="            self.node.config.read_identity(live.body)\n",
        new="            pass\n",
        tests=("tests/unit/reconciler/test_recovery.py",),
    ),
    Mutation(
        name="a server that hangs at its start is waited for",
        file="compute_ctl/app/supervisor.py",
        old="                    await postgres.stop(immediate=True)\n",
        new="                    pass\n",
        tests=("tests/daemon/test_hung_start.py",),
    ),
    Mutation(
        name="a document is blamed for the server of an earlier daemon",
        file="compute_ctl/app/supervisor.py",
        old="                self._started_with = None\n",
        new="",
        tests=("tests/daemon/test_hung_start.py", "-k", "earlier_daemon"),
    ),
    Mutation(
        name="a library that crashes sessions is never blamed",
        file="compute_ctl/decisions/logins.py",
        old="        return self.lost >= LOST_LOGINS\n",
        new="        return False\n",
        tests=("tests/e2e/test_login_crash.py",),
    ),
    Mutation(
        name="a push is well although a crash would forget it",
        file="compute_ctl/reconciler/pushes.py",
        old="        if reason := self._node.config.not_kept:\n",
        new="        if reason := str():\n",
        tests=("tests/unit/reconciler/test_not_kept.py",),
    ),
)
