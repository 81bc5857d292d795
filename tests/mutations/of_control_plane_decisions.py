"""How decisions of the control plane are broken; see `catalog`. Pure."""

from typing import Final

from tests.mutations.mutation import Mutation

UNIT: Final = "tests/unit/control_plane"

CONTROL_PLANE_DECISIONS: Final = (
    # what a hook is answered
    Mutation(
        name="a blind 200",
        file="control_plane/decisions/hooks.py",
        old="    return HookAnswer(code=STORED if found else APPLIED, laggards=found)\n",
        new="    return HookAnswer(code=APPLIED, laggards=found)\n",
        tests=(f"{UNIT}/test_fleet.py",),
    ),
    Mutation(
        name="a 200 for a move to an unknown node",
        file="control_plane/http/hooks.py",
        old="blind_until=registry.blind_until, incomplete=incomplete)\n",
        new="blind_until=registry.blind_until)\n",
        tests=(f"{UNIT}/http/test_hooks.py", "-k", "unknown_node"),
    ),
    Mutation(
        name="nobody is alive just after the start",
        file="control_plane/decisions/fleet.py",
        old="or (now < blind_until and heard_at(heard, now) is None)\n",
        new="or (blind_until < 0 and heard_at(heard, now) is None)\n",
        tests=(f"{UNIT}/test_fleet.py",),
    ),
    Mutation(
        name="a hook does not know when we started",
        file="control_plane/http/hooks.py",
        old="blind_until=registry.blind_until",
        new="blind_until=0.0",
        tests=(f"{UNIT}/http/test_hooks.py", "-k", "not_blind"),
    ),
    Mutation(
        name="whoever was heard once is alive for ever",
        file="control_plane/decisions/fleet.py",
        old="    return at is not None and now - at <= ALIVE_S\n",
        new="    return at is not None\n",
        tests=(f"{UNIT}/test_fleet.py",),
    ),
    Mutation(
        name="whose request is held is not alive",
        file="control_plane/decisions/fleet.py",
        old="    if heard.holds:\n        return now\n",
        new="",
        tests=(f"{UNIT}/test_fleet.py",),
    ),
    Mutation(
        name="an older report of the same content will do",
        file="control_plane/decisions/fleet.py",
        old="        and said.generation >= record.generation\n",
        new="",
        tests=(f"{UNIT}/test_fleet.py",),
    ),
    Mutation(
        name="a push taken without 200",
        file="control_plane/controller/configure.py",
        old="        if answer.status != HTTPStatus.OK:\n",
        new="        if not answer.status:\n",
        tests=(f"{UNIT}/controller/test_configure.py", "-k", "refusals"),
    ),
    Mutation(
        name="a refused push counts as taken",
        file="control_plane/fleet/pushes.py",
        old="compute_id, generation=0, error=str(error)",
        new="compute_id, generation=record.generation, error=str(error)",
        tests=(f"{UNIT}/fleet/test_pushes.py",),
    ),
    # evidence
    Mutation(
        name="no quorum",
        file="control_plane/decisions/evidence.py",
        old="            if suspecting and len(suspecting) >= min(max(quorum, 1), len(using)):\n",
        new="            if suspecting:\n",
        tests=(f"{UNIT}/test_verdicts.py",),
    ),
    Mutation(
        name="a stale map is evidence against the node",
        file="control_plane/decisions/evidence.py",
        old='AGAINST_NODE: Final = frozenset({"dead", "silent"})\n',
        new='AGAINST_NODE: Final = frozenset({"dead", "silent", "wrong"})\n',
        tests=(f"{UNIT}/test_verdicts.py",),
    ),
    Mutation(
        name="no probe",
        file="control_plane/fleet/judge.py",
        old="        if not all(probes):\n",
        new="        if not probes:\n",
        tests=(f"{UNIT}/fleet/test_judge.py", "-k", "probe"),
    ),
    Mutation(
        name="one probe instead of two",
        file="control_plane/fleet/judge.py",
        old="PROBES: Final = 2\n",
        new="PROBES: Final = 1\n",
        tests=(f"{UNIT}/fleet/test_judge.py", "-k", "probe"),
    ),
    Mutation(
        name="to observe is to act",
        file="control_plane/fleet/judge.py",
        old="        if self._act:\n            state",
        new="        if self._quorum:\n            state",
        tests=(f"{UNIT}/fleet/test_judge.py", "-k", "observe"),
    ),
    Mutation(
        name="every replica judges",
        file="control_plane/fleet/judge.py",
        old="        if not await self._store.hold_lease(",
        new="        if None is await self._store.hold_lease(",
        tests=(f"{UNIT}/fleet/test_judge.py", "-k", "replica"),
    ),
    Mutation(
        name="any number of nodes offline",
        file="control_plane/decisions/verdicts.py",
        old="    if offline + 1 > allowed:\n",
        new="    if offline > len(nodes):\n",
        tests=(f"{UNIT}/test_verdicts.py",),
    ),
    Mutation(
        name="one node after the other",
        file="control_plane/decisions/verdicts.py",
        old="    if last < ACT_EVERY_S:\n",
        new="    if last < 0:\n",
        tests=(f"{UNIT}/test_verdicts.py",),
    ),
    Mutation(
        name="own isolation ignored",
        file="control_plane/decisions/verdicts.py",
        old=" or _cut_off(others_answer)\n",
        new="\n",
        tests=(f"{UNIT}/test_verdicts.py",),
    ),
    Mutation(
        name="acted on an old list",
        file="control_plane/decisions/verdicts.py",
        old="    if nodes_age_s > NODES_FRESH_S:\n",
        new="    if nodes_age_s < 0:\n",
        tests=(f"{UNIT}/test_verdicts.py",),
    ),
    Mutation(
        name="every list is new",
        file="control_plane/fleet/offline.py",
        old="            nodes_age_s=self.clock.monotonic() - read_at,\n",
        new="            nodes_age_s=0.0,\n",
        tests=(f"{UNIT}/fleet/test_judge.py", "-k", "old_list"),
    ),
    Mutation(
        name="after a restart one compute is a quorum",
        file="control_plane/fleet/judge.py",
        old="blind_until=self._registry.blind_until",
        new="blind_until=self._registry.started_at",
        tests=(f"{UNIT}/fleet/test_judge.py", "-k", "after_a_restart"),
    ),
    Mutation(
        name="what was done is forgotten in a restart",
        file="control_plane/decisions/verdicts.py",
        old="        if event.kind == INTENT:\n",
        new='        if event.kind == "":\n',
        tests=(f"{UNIT}/fleet/test_judge.py", "-k", "over_a_restart"),
    ),
    # seen only where all run together
    Mutation(
        name="lists of nodes taken in any order",
        file="control_plane/fleet/reconciler.py",
        old="        async with self._nodes_lock:  # an older",
        new="        async with asyncio.Lock():  # an older",
        tests=("tests/simulation_control_plane/test_simulation.py",),
    ),
    Mutation(
        name="an old generation served until the compute complains",
        file="control_plane/fleet/reconciler.py",
        old="        registry.on_published.append(self._note_if_ahead)\n",
        new="",
        tests=("tests/simulation_control_plane/test_simulation.py",),
    ),
    # generations
    Mutation(
        name="generation not raised",
        file="control_plane/decisions/documents.py",
        old="    generation = max(record.generation, floor) + 1\n",
        new="    generation = max(record.generation, floor, 1)\n",
        tests=(f"{UNIT}/test_publish.py",),
    ),
    Mutation(
        name="a new compute begins at 1 again",
        file="control_plane/fleet/publisher.py",
        old="        floor = max(floor, self._mirror.retired.get(record.id, 0))\n",
        new="",
        tests=(f"{UNIT}/fleet/test_registry.py", "-k", "deleted_and_put_again"),
    ),
    Mutation(
        name="what was deleted twice begins at 1 again",
        file="control_plane/fleet/publisher.py",
        old="        generation = max(record.generation, self._mirror.retired.get(record.id, 0))\n",
        new="        generation = record.generation\n",
        tests=(f"{UNIT}/fleet/test_registry.py", "-k", "before_there_is_a_document"),
    ),
    Mutation(
        name="a generation reported before the first document is forgotten",
        file="control_plane/fleet/reconciler.py",
        old="        registry.on_published.append(self._note_if_ahead)\n",
        new="",
        tests=(f"{UNIT}/fleet/test_reconciler.py", "-k", "ahead_before"),
    ),
    Mutation(
        name="a compute that is ahead is left alone",
        file="control_plane/decisions/floor.py",
        old="    return floor if floor < MAX_FLOOR else 0\n",
        new="    return 0\n",
        tests=(f"{UNIT}/fleet/test_registry.py", "-k", "ahead"),
    ),
    Mutation(
        name="a dry run is none",
        file="control_plane/fleet/registry.py",
        old="            if not result.changed or dry_run:\n",
        new="            if not result.changed:\n",
        tests=(f"{UNIT}/fleet/test_registry.py", "-k", "dry_run"),
    ),
)
