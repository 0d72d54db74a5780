"""The table that docs/reliability.md keeps."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from tests.soak.rounds import Outcome
from tests.soak.strikes import PLACES, Strike
from tests.soak.violation import Violation

COLUMNS = (*PLACES, "sweep_runs", "request", "stream", "idle")


@dataclass(slots=True)
class Report:
    strikes: list[Strike] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    runs: int = 0
    streamed: int = 0
    refusals: int = 0

    def add(self, outcome: Outcome) -> None:
        self.strikes += [blow for blow in outcome.strikes if blow.until]
        self.violations += outcome.violations
        self.runs += outcome.runs
        told = [told for conversation in outcome.conversations for told in conversation.told]
        self.streamed += sum(one.reading is not None for one in told)
        self.refusals += outcome.refusals

    @property
    def kills(self) -> int:
        return sum(blow.is_kill for blow in self.strikes)

    def table(self) -> str:
        head = ["fault", "times", *COLUMNS, "start-up, s: median", "recovery, s: median", "longest"]
        rows = [head, ["---"] * len(head)]
        kinds = list(dict.fromkeys(blow.kind for blow in self.strikes))
        rows += [self._row(kind, [blow for blow in self.strikes if blow.kind == kind]) for kind in sorted(kinds)]
        counts = Counter(violation.kind for violation in self.violations)
        ends = [
            ["runs done", "of them streamed", "lost", "doubled", "threads locked", "otherwise wrong"],
            ["---"] * 6,
            [self.runs, self.streamed, counts["lost"], counts["doubled"], counts["locked"], counts["wrong"]],
        ]
        return f"{_markdown(rows)}\n\n{_markdown(ends)}"

    def _row(self, kind: str, blows: list[Strike]) -> list[str | int]:
        places = Counter(place for blow in blows for place in blow.places)
        start_ups = [blow.until - blow.at for blow in blows if blow.kind == "kill host and workers"]
        start_up = f"{median(start_ups):.1f}" if start_ups else "–"
        recoveries = [seconds for blow in blows for seconds in blow.recoveries.values()]
        times = (f"{median(recoveries):.2f}", f"{max(recoveries):.1f}") if recoveries else ("–", "–")
        return [kind, len(blows), *(places[column] for column in COLUMNS), start_up, *times]


def _markdown(rows: Iterable[Iterable[str | int]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
