"""What a run saw, for a person: what was read, where the work broke down, what was found, what to look at.

Taken from the store, not from counters: what is said here is what a query gives. Only how many rows of a table made
nothing is counted while they are read, since nothing of them is in the store.
"""

import shlex
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dataflows.printable import printable
from schemas.adapters.tabular import RowCounts
from schemas.durations import SECOND_US, people_duration, rfc3339
from sinks.clickhouse.store import Store

DEFAULT_DSN = "chdb:///./andon.db"
_HANDOFFS = 12
_EXAMPLES = 3
_STOCK = 5
_NOTHING = "\N{EN DASH}"


class Rejected(msgspec.Struct, frozen=True):
    """Dead letters of one reason, and the field that most of them break on."""

    reason: str
    count: int
    path: str
    path_count: int
    detail: str


class HandoffLine(msgspec.Struct, frozen=True):
    """One handoff's passes by status; latencies over what was completed, seconds."""

    handoff: str
    total: int
    done: int
    late: int
    overdue: int
    out_of_sequence: int
    duplicate: int
    open: int
    p50_s: float | None
    p95_s: float | None


class Findings(msgspec.Struct, frozen=True):
    """One kind of finding, and the worst examples as sentences."""

    kind: str
    count: int
    examples: tuple[str, ...]


class StockLine(msgspec.Struct, frozen=True):
    """An item whose systems disagree, as last seen."""

    sku: str
    node: str
    on_hand: dict[str, float]
    delta: float
    value_at_risk: float | None
    currency: str


class Summary(msgspec.Struct, frozen=True):
    """What one run saw. Times are RFC 3339 of arrival, to the minute; None where there was no event.

    `rows` is there where tables were read through a mapping, or records through an adapter.
    """

    run_id: str
    messages: int
    events: int
    dead_letters: int
    duplicates: int
    late: int
    arrival_begin: str | None
    arrival_end: str | None
    rejected: tuple[Rejected, ...]
    handoffs: tuple[HandoffLine, ...]
    findings: tuple[Findings, ...]
    stock: tuple[StockLine, ...]
    stock_items: int
    look_next: tuple[str, ...]
    rows: RowCounts | None = None


def summarise(store: Store, run_id: str) -> Summary:
    """Ask the store what run `run_id` wrote; a row that a later run wrote again counts as that run's.

    Raises:
        StoreError: the store can't be reached or has no schema.
    """
    parameters = {"run": run_id, "examples": _EXAMPLES, "stock": _STOCK}

    def rows(sql: str) -> Sequence[tuple[Any, ...]]:
        return store.query(sql, parameters).rows

    messages, events, first, last = rows(_READ)[0]
    rejected = tuple(Rejected(*row) for row in rows(_REJECTED))
    handoffs = tuple(HandoffLine(*row) for row in rows(_HANDOFF_LINES))
    findings = tuple(Findings(kind, count, tuple(examples)) for kind, count, examples in rows(_FINDINGS))
    stock = rows(_STOCK_LINES)
    return Summary(
        run_id=run_id,
        messages=messages,
        events=events,
        dead_letters=sum(entry.count for entry in rejected),
        duplicates=rows(_DUPLICATES)[0][0],
        late=rows(_LATE)[0][0],
        arrival_begin=rfc3339(first) if events else None,
        arrival_end=rfc3339(last + 60 * SECOND_US) if events else None,
        rejected=rejected,
        handoffs=handoffs,
        findings=findings,
        stock=tuple(StockLine(*row[:-1]) for row in stock),
        stock_items=stock[0][-1] if stock else 0,
        look_next=_look_next(str(store.target), rejected, handoffs, findings, stock),
    )


def render(summary: Summary, console: Console) -> None:
    """Print it: a paragraph of what was read, then a table a question."""
    console.print(_read_text(summary))
    for note in _notes(summary):
        console.print(f"\n{note}", style="yellow", highlight=False, markup=False)
    if summary.rejected:
        _section(console, "Not usable (dead letters)", _rejected_table(summary))
    if summary.handoffs:
        shown = f", the {_HANDOFFS} worst of {len(summary.handoffs)}" if len(summary.handoffs) > _HANDOFFS else ""
        _section(console, f"Handoffs, worst first{shown}", _handoff_table(summary))
    if summary.findings:
        _section(console, "Findings", _findings_table(summary))
    if summary.stock:
        shown = (
            f", the largest {len(summary.stock)} of {summary.stock_items:,} items"
            if summary.stock_items > _STOCK
            else ""
        )
        _section(console, f"Stock that systems disagree on{shown}", _stock_table(summary))
    if summary.look_next:
        console.print("\nLook next", style="bold", highlight=False)
        for command in summary.look_next:
            console.print(f"  {command}", style="cyan", highlight=False, markup=False, soft_wrap=True)


_READ = """
SELECT
    sum(messages),
    sum(events),
    toUnixTimestamp64Micro(minIf(minute, events > 0)),
    toUnixTimestamp64Micro(maxIf(minute, events > 0))
FROM pipeline_health_log FINAL WHERE run_id = {run:String}
"""
_REJECTED = """
SELECT reason, sum(n) AS count, argMax(path, (n, path)), max(n), argMax(example, (n, path))
FROM
(
    SELECT reason, path, count() AS n, min(detail) AS example
    FROM dead_letter_log FINAL WHERE run_id = {run:String} GROUP BY reason, path
)
GROUP BY reason ORDER BY count DESC, reason
"""
_DUPLICATES = "SELECT count() FROM duplicate_event_log FINAL WHERE run_id = {run:String}"
_LATE = "SELECT count() FROM late_event_log FINAL WHERE run_id = {run:String}"
_HANDOFF_LINES = """
SELECT
    handoff,
    count() AS total,
    countIf(status = 'done') AS done,
    countIf(status = 'late') AS late,
    countIf(status = 'overdue') AS overdue,
    countIf(status = 'out_of_sequence') AS wrong,
    countIf(status = 'duplicate') AS duplicate,
    countIf(status = 'open') AS open,
    quantileExactInclusiveOrNullIf(0.5)(latency_s, status != 'duplicate') AS p50_s,
    quantileExactInclusiveOrNullIf(0.95)(latency_s, status != 'duplicate') AS p95_s
FROM handoff_passes FINAL WHERE run_id = {run:String}
GROUP BY handoff
ORDER BY pow(overdue + late + wrong, 2) / total DESC, duplicate DESC, total DESC, handoff
"""
_FINDINGS = """
SELECT kind, any(n), groupArray(explanation)
FROM
(
    SELECT kind, explanation, count() OVER (PARTITION BY kind) AS n,
        row_number() OVER (
            PARTITION BY kind
            ORDER BY indexOf(['info', 'low', 'medium', 'high', 'critical'], severity) DESC, score DESC,
                opened_at, signal_id
        ) AS place
    FROM signal_log FINAL WHERE run_id = {run:String}
    ORDER BY kind, place
)
WHERE place <= {examples:UInt32}
GROUP BY kind ORDER BY any(n) DESC, kind
"""
_STOCK_LINES = """
SELECT sku, node, last.1, last.2, last.3, last.4, count() OVER () AS items
FROM
(
    SELECT sku, node, argMax((on_hand, delta, value_at_risk, currency), (window_start, window_end)) AS last
    FROM stock_windows FINAL WHERE run_id = {run:String} GROUP BY sku, node
)
WHERE last.2 != 0
ORDER BY ifNull(last.3, 0) DESC, abs(last.2) DESC, sku, node LIMIT {stock:UInt32}
"""


_CASES = "SELECT case_id, scope, started_at, ended_at, deadline_at FROM handoffs"
_SIGNALS = "SELECT opened_at, severity, case_id, explanation FROM signals"


def _look_next(
    target: str,
    rejected: Sequence[Rejected],
    handoffs: Sequence[HandoffLine],
    findings: Sequence[Findings],
    stock: Sequence[Any],
) -> tuple[str, ...]:
    where = "" if target == DEFAULT_DSN else f" --clickhouse {shlex.quote(target)}"
    out = []
    worst = handoffs[0] if handoffs else None
    if worst is not None:
        trouble = {name: getattr(worst, name) for name in ("overdue", "late", "out_of_sequence")}
        status = max(trouble, key=trouble.__getitem__)
        if trouble[status]:
            which = f"handoff = {_quoted(worst.handoff)} AND status = '{status}'"
            out.append(_sql(f"{_CASES} WHERE {which} ORDER BY started_at LIMIT 20") + where)
    if findings:
        out.append(_sql(f"{_SIGNALS} WHERE kind = {_quoted(findings[0].kind)} ORDER BY opened_at LIMIT 20") + where)
    if stock:
        out.append(_sql("SELECT * FROM stock_deltas WHERE delta != 0 ORDER BY value_at_risk DESC LIMIT 20") + where)
    if rejected:
        out.append(f"andon dlq list --reason {rejected[0].reason}{where}")
    return tuple(out)


def _sql(query: str) -> str:
    """The command that runs `query`; in double quotes where that reads better and means the same."""
    return f"andon sql {shlex.quote(query)}" if set(query) & set('"$`\\!') else f'andon sql "{query}"'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _read_text(summary: Summary) -> Text:
    text = Text()
    rows = summary.rows
    text.append("Read ", style="bold")
    if rows is not None:
        text.append(f"{rows.read:,} {rows.unit}", style="bold")
        text.append(f" ({rows.without_event:,} made no event)" if rows.without_event else "")
        text.append(" as ")
    text.append(f"{summary.messages:,} messages", style="bold")
    if summary.arrival_begin is not None and summary.arrival_end is not None:
        text.append(f" that arrived from {_minute(summary.arrival_begin)} to {_minute(summary.arrival_end)}")
    text.append(f": {summary.events:,} events")
    for count, words in (
        (summary.dead_letters, "not usable"),
        (summary.duplicates, "delivered twice and dropped"),
        (summary.late, "too late for their window"),
    ):
        text.append(f", {count:,} {words}")
    return text.append(".")


def _notes(summary: Summary) -> list[str]:
    """What a person should know before believing the figures: input of which nothing came."""
    rows = summary.rows
    if rows is None:
        unreadable = sum(entry.count for entry in summary.rejected if entry.reason == "transport")
        whole = summary.messages and unreadable == summary.messages
        return ["No line of the input is an event. If it is a table, name its mapping: --mapping."] if whole else []
    if not rows.read:
        return [f"There are no {rows.unit} in the input."]
    if rows.unit == "records":
        told = ", ".join(f"{printable(what)} ({count:,})" for what, count in rows.left_out)
        return [f"No event is made of: {told}."] if told else []
    check = "check filters (when), codes that a lookup lacks, and columns of time that are never filled."
    if rows.without_event == rows.read:
        return [f"No row fits a rule of the mapping: {check}"]
    return [f"No row fits these rules: {', '.join(rows.idle_rules)}; {check}"] if rows.idle_rules else []


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ") + "Z"


def _section(console: Console, title: str, table: Table) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    padded = Padding(table, (0, 0, 0, 2))
    width, least = console.width, Measurement.get(console, console.options.update(width=1_000), table).minimum + 2
    console.width = max(width, least)  # a terminal that is too narrow wraps: nothing of a name or number is left out
    console.print(padded)
    console.width = width


def _table(*columns: tuple[str, bool]) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False, collapse_padding=True)
    for name, number in columns:
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def _rejected_table(summary: Summary) -> Table:
    table = _table(("reason", False), ("messages", True), ("mostly at", False), ("for example", False))
    for entry in summary.rejected:
        place = f"{entry.path or '(whole message)'} ({entry.path_count:,})"
        table.add_row(entry.reason, f"{entry.count:,}", Text(printable(place)), Text(_short(entry.detail)))
    return table


def _handoff_table(summary: Summary) -> Table:
    numbers = ("passes", "late", "overdue", "wrong\norder", "twice", "open", "p50", "p95")
    table = _table(("handoff", False), *((name, True) for name in numbers))
    table.padding = (0, 1, 0, 0)  # so that it fits 80 columns with a name whole
    table.columns[0].min_width = max(len(line.handoff) for line in summary.handoffs[:_HANDOFFS])
    for line in summary.handoffs[:_HANDOFFS]:
        bad = (_count(n, "red") for n in (line.late, line.overdue, line.out_of_sequence))
        table.add_row(
            Text(line.handoff),
            f"{line.total:,}",
            *bad,
            _count(line.duplicate, "yellow"),
            _count(line.open, ""),
            _duration(line.p50_s),
            _duration(line.p95_s),
        )
    return table


def _findings_table(summary: Summary) -> Table:
    table = _table(("kind", False), ("count", True), ("the worst of them", False))
    for entry in summary.findings:
        for number, example in enumerate(entry.examples):
            first = number == 0
            table.add_row(entry.kind if first else "", f"{entry.count:,}" if first else "", Text(_short(example)))
    return table


def _stock_table(summary: Summary) -> Table:
    table = _table(("sku", False), ("node", False), ("on hand", False), ("delta", True), ("value at risk", True))
    for line in summary.stock:
        systems = ", ".join(f"{system} {quantity:g}" for system, quantity in sorted(line.on_hand.items()))
        value = _NOTHING if line.value_at_risk is None else f"{line.value_at_risk:,.2f} {line.currency}".rstrip()
        table.add_row(Text(_short(line.sku)), Text(_short(line.node)), Text(systems), f"{line.delta:g}", value)
    return table


def _count(number: int, style: str) -> Text:
    return Text(f"{number:,}", style=style) if number else Text(_NOTHING, style="dim")


def _duration(length_s: float | None) -> str:
    """A length of time in as few columns as will do: `51.6s`, `16m`, `2h27m`, `9d3h`."""
    if length_s is None:
        return _NOTHING
    return people_duration(length_s * SECOND_US).replace(" min", "m").replace(" ", "")


def _short(text: str, longest: int = 240) -> str:
    text = printable(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
