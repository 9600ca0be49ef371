"""The results of all contestants, and the table that shows them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from contestants import ANDON, LOOP, Contestant
from one_run import Run

_HEAD = ("contestant", "events/s", "low-high", "x andon", f"x {LOOP}", "cpu s", "peak MB", "right", "")
_REASON = 100


@dataclass
class Result:
    """All runs of one contestant, one a turn; or why there are none."""

    contestant: Contestant
    runs: list[Run] = field(default_factory=list)
    shortened: bool = False
    unavailable: str = ""
    failure: str = ""

    def add(self, run: Run) -> None:
        """Take a turn's run."""
        self.runs.append(run)

    @property
    def rates(self) -> list[float]:
        """Events a second, turn by turn."""
        return [run.events / run.seconds for run in self.runs]

    @property
    def differ(self) -> int:
        """Rows that were not as they should be, in the worst turn."""
        return max((run.verdict.differ for run in self.runs if run.verdict is not None), default=0)

    def document(self) -> dict[str, object]:
        """As it goes into a file."""
        return {
            "name": self.contestant.name,
            "what": self.contestant.what,
            "unavailable": self.unavailable,
            "failure": self.failure,
            "shortened": self.shortened,
            "runs": [
                msgspec.to_builtins(run) | {"verdict": run.verdict._asdict() if run.verdict is not None else None}
                for run in self.runs
            ],
        }


def table(results: Sequence[Result], machine: Mapping[str, object]) -> str:
    """Machine, a line for each contestant, and the first rows that differ.

    Ratios are medians of the turns' own ratios, since what else runs on a machine changes from turn to turn.
    """
    by_name = {result.contestant.name: result for result in results}
    lines = [_HEAD, *(_line(result, by_name) for result in results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD) - 1)]
    text = [
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1m']}; Python {machine['python']}",
        f"commit {machine['commit']}",
        "",
    ]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:], strict=True)]
        text.append("  ".join([line[0].ljust(widths[0]), *cells, line[-1]]).rstrip())
    for result in results:
        verdicts = [run.verdict for run in result.runs if run.verdict is not None and run.verdict.differ]
        for verdict in sorted(verdicts, key=lambda one: one.differ)[-1:]:
            of = verdict.right + verdict.missing + verdict.wrong
            text += [
                "",
                f"{result.contestant.name}: of {of:,} rows {verdict.missing:,} missing, {verdict.wrong:,} wrong,",
            ]
            text[-1] += f" and {verdict.extra:,} that should not be; first of them:"
            text += [f"  {row}" for row in verdict.first]
    return "\n".join(text)


def _line(result: Result, by_name: Mapping[str, Result]) -> tuple[str, ...]:
    contestant = result.contestant
    if not result.runs:
        if result.unavailable:
            why = f"can't be had here: {result.unavailable}"
        else:
            why = f"failed: {result.failure}" if result.failure else "was not run"
        return (contestant.name, *("–",) * (len(_HEAD) - 2), " ".join(why.split())[:_REASON])
    rates = result.rates
    notes = [contestant.what, *dict.fromkeys(run.note for run in result.runs[-1:] if run.note)]
    if result.shortened:
        notes.append(f"{result.runs[0].events:,} messages, since all were too many for the limit")
    if result.failure:
        notes.append(f"failed later: {' '.join(result.failure.split())[:_REASON]}")
    return (
        contestant.name,
        f"{statistics.median(rates):,.0f}",
        f"{min(rates):,.0f}-{max(rates):,.0f}",
        _ratio(result, by_name.get(ANDON)),
        _ratio(result, by_name.get(LOOP)),
        f"{statistics.median(run.cpu_s for run in result.runs):,.1f}",
        f"{max(run.peak_mb for run in result.runs):,.0f}",
        _right(result),
        "; ".join(notes),
    )


def _ratio(result: Result, other: Result | None) -> str:
    """How many times as fast as the other it was, in the middle of the turns."""
    if other is None or not other.runs:
        return "–"
    ratio = statistics.median(mine / theirs for mine, theirs in zip(result.rates, other.rates, strict=False))
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def _right(result: Result) -> str:
    if not result.contestant.answers:
        return ""
    return f"{result.differ:,} differ" if result.differ else "yes"
