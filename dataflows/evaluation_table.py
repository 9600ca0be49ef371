"""What is judged, read from ClickHouse, and how a verdict is shown to a person."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dataflows.evaluation import Found, Report, Truth, Verdict
from dataflows.printable import printable
from schemas.durations import SECOND_US, people_duration, people_time
from sinks.clickhouse.store import Store

_INCIDENTS = """
SELECT incident_id, kind, scope, toUnixTimestamp64Micro(opened_at), toUnixTimestamp64Micro(found_at),
    toUnixTimestamp64Micro(closed_at), value_at_risk, summary, orders, cases
FROM incidents
LEFT JOIN (
    SELECT
        incident_id,
        groupArrayIf(order_id, order_id != case_id) AS orders, -- a case without an order has its own id there
        groupArrayIf(case_id, case_id != '') AS cases
    FROM incident_orders GROUP BY incident_id
) AS named USING (incident_id)
WHERE signals > 0 -- one that was merged into another has none left
ORDER BY found_at, incident_id
"""
_COLUMNS = ("breakdown", "said to be", "found after", "scope", "orders", "recall", "precision", "incidents")
_NUMBERS = frozenset({"orders", "recall", "precision", "incidents"})
#: What a narrow terminal does without, the first of them first.
_SPARED = ("incidents", "scope", "orders", "precision", "found after")
#: So much of a name stands in a line of a narrow terminal; what is longer goes on in the next.
_NARROW_NAME = 28


def incidents_of(store: Store) -> list[Found]:
    """The incidents of a database, with their orders."""
    return [
        Found(
            incident_id=row[0],
            kind=row[1],
            scope=dict(row[2]),
            opened_us=row[3],
            found_us=row[4],
            closed_us=row[5],
            value=row[6],
            summary=row[7],
            orders=frozenset(row[8]),
            cases=frozenset(row[9]),
        )
        for row in store.query(_INCIDENTS).rows
    ]


def render_report(report: Report, console: Console) -> None:
    """A line for each breakdown, what belongs to none, and the figures that goals are set for."""
    table, spared = _fitting([_row(verdict) for verdict in report.verdicts], console)
    console.print(table)
    if spared:
        console.print(f"({', '.join(spared)}: in a wider terminal, a file, or with --json)", style="dim")
    _render_false(report, console)
    for name, value in report.summary().items():
        shown = "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        console.print(f"{name.replace('_', ' '):<24} {shown}", highlight=False)


def _row(verdict: Verdict) -> dict[str, str]:
    cells = (
        printable(verdict.breakdown_id),
        verdict.said_kind or "not found",
        _after(verdict),
        "" if not verdict.found else "right" if verdict.right_scope else "other",
        str(verdict.orders),
        _share(verdict.recall),
        _share(verdict.precision),
        str(verdict.incidents),
    )
    return dict(zip(_COLUMNS, cells, strict=True))


def _fitting(rows: list[dict[str, str]], console: Console) -> tuple[Table, list[str]]:
    """The table, and the columns without room in it; where it is narrow both names are in one column."""
    columns, spared = [*_COLUMNS], list[str]()
    table = _table(rows, columns)
    if not _fits(table, console):
        columns.remove("said to be")
        rows = [row | {"breakdown": _both_names(row)} for row in rows]
        table = _table(rows, columns)
    while not _fits(table, console) and len(spared) < len(_SPARED):
        spared.append(_SPARED[len(spared)])
        columns.remove(spared[-1])
        table = _table(rows, columns)
    return table, spared


def _table(rows: list[dict[str, str]], columns: list[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def _fits(table: Table, console: Console) -> bool:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width


def _both_names(row: dict[str, str]) -> str:
    """A breakdown's name, in lines that a narrow terminal has room for, and what it is said to be below."""
    name = row["breakdown"]
    lines = [name[at : at + _NARROW_NAME] for at in range(0, len(name), _NARROW_NAME)]
    return "\n".join([*lines, f"  {row['said to be']}"])


def render_side_by_side(truths: Sequence[Truth], report: Report, incidents: Sequence[Found], console: Console) -> None:
    """What was injected on the left, the incident that was found of it on the right."""
    by_id = {truth.breakdown_id: truth for truth in truths}
    found = {incident.incident_id: incident for incident in incidents}
    table = Table(show_header=True, header_style="bold", box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("Injected", ratio=5, overflow="fold")
    table.add_column("Found", ratio=6, overflow="fold")
    for verdict in report.verdicts:
        table.add_row(_injected(by_id[verdict.breakdown_id]), _found(verdict, found.get(verdict.incident_id)))
    console.print(table)
    _render_false(report, console)


def _render_false(report: Report, console: Console) -> None:
    for found in report.false:
        console.print(
            f"Belongs to nothing: {found.kind} ({_scope(found.scope)}), {people_time(found.found_us)}: "
            f"{printable(found.summary)}",
            highlight=False,
            markup=False,
        )


def _injected(truth: Truth) -> Text:
    text = Text(truth.kind, style="bold")
    text.append(f"\n{truth.begin[11:16]} to {truth.end[11:16]}, {_scope(truth.values())}", style="not bold")
    text.append(f"\n{len(truth.orders)} orders, {truth.value_at_risk} {truth.currency} at risk", style="not bold")
    return text


def _found(verdict: Verdict, incident: Found | None) -> Text:
    if incident is None:
        return Text("nothing", style="red")
    text = Text(verdict.said_kind, style="green" if verdict.right_kind and verdict.right_scope else "yellow")
    text.append(f"\n{_after(verdict)} after it began, {_scope(incident.scope)}", style="default")
    if verdict.recall is not None:
        right = round(verdict.recall * verdict.orders)
        text.append(f"\n{right} of its {verdict.orders} orders named", style="default")
        if verdict.named > right:
            text.append(f", and {verdict.named - right} others", style="default")
    return text


def _scope(scope: Mapping[str, str | set[str]]) -> str:
    return ", ".join(
        printable(f"{name} {value if isinstance(value, str) else ', '.join(sorted(value))}")
        for name, value in sorted(scope.items())
    )


def _after(verdict: Verdict) -> str:
    return "" if verdict.detection_s is None else people_duration(round(verdict.detection_s) * SECOND_US)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
