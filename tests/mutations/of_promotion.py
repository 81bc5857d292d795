"""Mutations of the promotion of a standby. Pure."""

from typing import Final

from tests.mutations.mutation import Mutation

END_TO_END: Final = "tests/e2e/test_promotion.py"
CRASHES: Final = "tests/e2e/test_promotion_crashes.py"
TASKS: Final = ("tests/unit/reconciler/test_promotion_tasks.py",)

PROMOTION: Final = (
    Mutation(
        name="a standby that is prepared does not follow any more",
        file="compute_ctl/reconciler/promotion_config.py",
        old='        body = following_body(rendered.body, written.body if written else "")\n',
        new="        body = rendered.body\n",
        tests=(CRASHES, "-k", "crash_before and before-promote"),
    ),
    Mutation(
        name="a failed promotion leaves the settings of the primary",
        file="compute_ctl/reconciler/promoter.py",
        old="            await self._go_back(promotion, document, reason)\n",
        new="            self._fail(promotion, RequestError(500, reason))\n",
        tests=(END_TO_END, "-k", "server_that_refuses"),
    ),
    Mutation(
        name="a promotion that an earlier daemon began is forgotten",
        file="compute_ctl/reconciler/recovery.py",
        old="                self.node.promotions.found_unfinished(document)\n",
        new="                pass\n",
        tests=(CRASHES, "-k", "crash_after and before-swap"),
    ),
    Mutation(
        name="a source that has not heard of a promotion takes the primary's settings away",
        file="compute_ctl/document/continuity.py",
        old="    if is_primary and live.mode",
        new="    if not is_primary and live.mode",
        tests=(END_TO_END, "-k", "cannot_turn_it_back"),
    ),
    Mutation(
        name="a standby is promoted before it has replayed the log",
        file="compute_ctl/reconciler/promotion_tasks.py",
        old="parse_lsn(at) >= parse_lsn(wanted)",
        new="parse_lsn(at) >= 0",
        tests=TASKS,
    ),
    Mutation(
        name="a promotion under way is taken for a failed one",
        file="compute_ctl/reconciler/promotion_tasks.py",
        old="        return await self._decided(reason, pid=pid, asked=True)\n",
        new="        return reason\n",
        tests=TASKS,
    ),
    Mutation(
        name="a promotion that the disk refused leaves its version as the floor",
        file="compute_ctl/reconciler/promotion_config.py",
        old="            config.go_back(before.document, instead_of=document, why=reason)\n",
        new="            config.quarantine(document, reason)\n",
        tests=("tests/unit/reconciler/test_promotion_config.py",),
    ),
    Mutation(
        name="a document that the binary refuses leads to another generation",
        file="compute_ctl/reconciler/promotion_config.py",
        old='            raise SpecError("", reasons(complaints, places=False))\n',
        new="            return ApplyResult(outcome=Outcome.REJECTED)\n",
        tests=("tests/unit/reconciler/test_promotion_config.py",),
    ),
    Mutation(
        name="a push ends a promotion that cannot be ended",
        file="compute_ctl/node/promotion.py",
        old="        if not self.irrevocable:",
        new="        if True:",
        tests=TASKS,
    ),
)
