"""What was found, held against what was injected: a first, plain comparison for the demo.

A signal belongs to a breakdown when it opened between the breakdown's begin and the end of its effects (plus the
longest deadline that its consequences may run into) and either names one of its orders or shares a value of its
scope. Nothing here is known to a detector.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.durations import HOUR_US, SECOND_US, Instant, people_duration
from sinks.clickhouse.store import Store

#: How long after a breakdown's effects its consequences may still become findings.
AFTERMATH_US = 4 * HOUR_US
_SHOWN_KINDS = 4


class Breakdown(msgspec.Struct, frozen=True):
    """A line of the public truth format; unknown fields are ignored."""

    breakdown_id: str
    kind: str
    begin: str
    end: str
    scope: dict[str, str | list[str]] = {}
    orders: list[str] = []
    value_at_risk: str = "0"
    currency: str = ""
    effects_until: str | None = None

    @property
    def span_us(self) -> tuple[int, int]:
        """From its begin to the end of its effects."""
        return Instant.parse(self.begin), Instant.parse(self.effects_until or self.end)


class Found(msgspec.Struct, frozen=True):
    """A signal, as far as the comparison needs it."""

    kind: str
    handoff: str
    scope: dict[str, str]
    case_id: str
    opened_us: int
    found_us: int
    explanation: str


class Verdict(msgspec.Struct, frozen=True):
    """One breakdown and what was found of it. `named` orders of the breakdown appear in findings."""

    breakdown: Breakdown
    kinds: dict[str, int]
    first_seen_s: float | None
    named: int
    example: str


def read_truth(path: Path) -> list[Breakdown]:
    """The breakdowns of a truth file; lines of kind `none` (clean periods) are left out."""
    lines = path.read_bytes().splitlines()
    breakdowns = [msgspec.json.decode(line, type=Breakdown) for line in lines if line.strip()]
    return [one for one in breakdowns if one.kind != "none"]


def read_found(store: Store, run_id: str) -> list[Found]:
    """The signals of a run, without what models find unusual: that opens nothing by itself."""
    answer = store.query(
        "SELECT kind, handoff, scope, case_id, toUnixTimestamp64Micro(opened_at), "
        "toUnixTimestamp64Micro(found_at), explanation FROM signal_log FINAL "
        "WHERE run_id = {run:String} AND NOT startsWith(kind, 'unusual_')",
        {"run": run_id},
    )
    return [Found(*row) for row in answer.rows]


def judge(breakdowns: Sequence[Breakdown], found: Sequence[Found]) -> tuple[list[Verdict], list[Found]]:
    """A verdict for each breakdown, and the signals that belong to none."""
    verdicts: list[Verdict] = []
    explained: set[int] = set()
    for breakdown in breakdowns:
        begin, end = breakdown.span_us
        orders = set(breakdown.orders)
        mine = [
            signal
            for signal in found
            if begin <= signal.found_us
            and signal.opened_us <= end + AFTERMATH_US
            and (signal.case_id in orders or _shares(signal.scope, breakdown.scope, signal.opened_us <= end))
        ]
        explained.update(id(signal) for signal in mine)
        kinds = Counter(f"{signal.handoff} {signal.kind}".strip() for signal in mine)
        first = min(mine, key=lambda signal: (signal.found_us, signal.case_id), default=None)
        verdicts.append(
            Verdict(
                breakdown=breakdown,
                kinds=dict(kinds.most_common()),
                first_seen_s=None if first is None else (first.found_us - begin) / SECOND_US,
                named=len(orders & {signal.case_id for signal in mine}),
                example="" if first is None else first.explanation,
            )
        )
    return verdicts, [signal for signal in found if id(signal) not in explained]


def _shares(scope: dict[str, str], wanted: dict[str, str | list[str]], during: bool) -> bool:  # noqa: FBT001 - a condition
    """Whether a signal's scope has a value of the breakdown's, while the breakdown's effects lasted."""
    return during and any(
        name in scope and (scope[name] in value if isinstance(value, list) else scope[name] == value)
        for name, value in wanted.items()
    )


def render_verdicts(verdicts: Sequence[Verdict], rest: Sequence[Found], console: Console) -> None:
    """Print injected and found side by side."""
    table = Table(show_header=True, header_style="bold", box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("Injected", ratio=5, overflow="fold")
    table.add_column("Found", ratio=6, overflow="fold")
    for verdict in verdicts:
        table.add_row(_injected(verdict.breakdown), _found(verdict))
    console.print(table)
    if rest:
        kinds = Counter(f"{signal.handoff} {signal.kind}".strip() for signal in rest)
        named = ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common())
        console.print(f"Found besides, in ordinary work: {named}.", highlight=False)


def _injected(breakdown: Breakdown) -> Text:
    scope = ", ".join(
        f"{name} {value if isinstance(value, str) else ', '.join(value)}" for name, value in breakdown.scope.items()
    )
    text = Text(breakdown.kind, style="bold")
    text.append(f"\n{breakdown.begin[11:16]} to {breakdown.end[11:16]}, {scope}", style="not bold")
    text.append(
        f"\n{len(breakdown.orders)} orders, {breakdown.value_at_risk} {breakdown.currency} at risk",
        style="not bold",
    )
    return text


def _found(verdict: Verdict) -> Text:
    if verdict.first_seen_s is None:
        return Text("nothing", style="red")
    shown = list(verdict.kinds.items())[:_SHOWN_KINDS]
    text = Text(", ".join(f"{count} × {kind}" for kind, count in shown), style="green")
    if len(verdict.kinds) > _SHOWN_KINDS:
        text.append(f" and {len(verdict.kinds) - _SHOWN_KINDS} more kinds")
    text.append(f"\nfirst {people_duration(verdict.first_seen_s * SECOND_US)} after it began", style="default")
    if verdict.breakdown.orders:
        text.append(f"; {verdict.named} of its {len(verdict.breakdown.orders)} orders named", style="default")
    text.append(f"\n“{verdict.example}”", style="italic default")
    return text


def as_json(verdicts: Sequence[Verdict], rest: Sequence[Found]) -> dict[str, Any]:
    """The comparison for machines."""
    return {
        "breakdowns": [
            {
                "breakdown_id": one.breakdown.breakdown_id,
                "kind": one.breakdown.kind,
                "orders": len(one.breakdown.orders),
                "orders_named": one.named,
                "first_seen_s": one.first_seen_s,
                "signals": one.kinds,
            }
            for one in verdicts
        ],
        "signals_besides": len(rest),
    }
