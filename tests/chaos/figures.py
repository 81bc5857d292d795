"""What was done and what came of it, for people and as JSON."""

from collections import Counter
from statistics import median
from typing import Any, Final

from tests.chaos.schedule import Fault, Round
from tests.chaos.verdict import Tally

SHOWN: Final = 20


class Figures:
    """Counts of one run. It failed if anything wrong, hung, unhealed or violated was counted."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rounds = 0
        self.faults: Counter[str] = Counter()
        self.heals: list[float] = []
        self.not_healed = 0
        self.violations: list[str] = []
        self.skipped: list[str] = []
        self.tally = Tally()
        self.seconds = 0.0
        self.failed_rounds: list[int] = []
        self._round = 0

    def begin(self, planned: Round) -> None:
        """A round begins."""
        self.rounds += 1
        self._round = planned.number

    def fault(self, fault: Fault) -> None:
        """A fault was injected."""
        self.faults[fault.label] += 1

    def healed(self, seconds: float) -> None:
        """All was well again so long after the last fault."""
        self.heals.append(seconds)

    def unhealed(self, why: str) -> None:
        """A round did not end well."""
        self.not_healed += 1
        self.violation(f"not healed: {why}")

    def violation(self, what: str) -> None:
        """Something happened that must not."""
        self.violations.append(f"round {self._round}: {what}")
        if self._round not in self.failed_rounds:
            self.failed_rounds.append(self._round)

    @property
    def failed(self) -> bool:
        """Whether anything was wrong."""
        tally = self.tally
        return bool(self.violations or tally.wrong or tally.hung or tally.unexpected)

    def replay(self) -> list[str]:
        """Commands that play the failed rounds again."""
        return [
            f"python -m tests.chaos --seed {self.seed} --round {number}"
            for number in self.failed_rounds
        ]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "rounds": self.rounds,
            "faults": dict(sorted(self.faults.items())),
            "faults_total": self.faults.total(),
            "skipped": self.skipped,
            "queries": self.tally.queries,
            "pages": self.tally.pages,
            "wrong": self.tally.wrong,
            "hung": self.tally.hung,
            "unhealed": self.not_healed,
            "errors": dict(sorted(self.tally.errors.items())),
            "unexpected_errors": self.tally.unexpected,
            "slowest_query_s": round(self.tally.slowest, 3),
            "heal_s": {
                "median": round(median(self.heals), 3) if self.heals else None,
                "max": round(max(self.heals), 3) if self.heals else None,
            },
            "violations": self.violations,
            "replay": self.replay(),
        }

    def as_text(self) -> str:
        """Everything, for people."""
        found = self.as_dict()
        lines = [f"seed {self.seed}: {self.rounds} rounds in {self.seconds:.0f} s"]
        lines += [f"faults injected  {found['faults_total']}"]
        lines += [f"  {label:<24} {count}" for label, count in found["faults"].items()]
        lines += [f"  skipped: {reason}" for reason in self.skipped]
        lines += [f"queries          {self.tally.queries}, {self.tally.pages} pages compared"]
        lines += [f"wrong answers    {self.tally.wrong}"]
        lines += [f"hung             {self.tally.hung}"]
        lines += [f"unhealed         {self.not_healed}"]
        errors = ", ".join(f"{state} x {count}" for state, count in found["errors"].items())
        lines += [f"bounded errors   {errors or 'none'}; unexpected {self.tally.unexpected}"]
        heal = found["heal_s"]
        if self.heals:
            lines += [f"healed after     median {heal['median']:.2f} s, max {heal['max']:.2f} s"]
        lines += self.violations[:SHOWN]
        if len(self.violations) > SHOWN:
            lines += [f"and {len(self.violations) - SHOWN} more like these"]
        lines += [f"replay: {command}" for command in self.replay()]
        return "\n".join(lines)
