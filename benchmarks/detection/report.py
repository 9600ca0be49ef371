"""The table of a detection run by kind, on the screen and in docs/detection.md, and a plot of each kind."""

from datetime import datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Json = dict[str, Any]
COLUMNS = (
    "kind",
    "found",
    "right kind",
    "right scope",
    "median to detect",
    "recall",
    "precision",
    "incidents",
    "false",
)
#: The kind of a run in which two kinds of breakdowns come together.
PAIRS = "two at once"
#: Breakdowns that show in what goes on: the goal is five minutes. The others show in what does not come (within one
#: deadline), or in what stock and suppliers turn out to be.
FLOW = frozenset(
    {
        "queue_saturation",
        "posting_interface_down",
        "oversell",
        "picking_backlog",
        "misrouting",
        "duplicate_orders",
        "incomplete_orders",
        "clock_skew",
        "downstream_outage",
        "rule_failure",
        "schema_change",
        "transport_fault",
        "refund_without_receipt",
        "return_surge",
        "price_error",
        "margin_leak",
    }
)
_BEGIN, _END = "<!-- BEGIN {} -->", "<!-- END {} -->"


def by_kind(runs: list[Json]) -> list[Json]:
    """One row for each kind of breakdown, in the order in which they were run; flow, the others, all; pairs."""
    single = [run for run in runs if run["kind"] not in ("none", PAIRS)]
    kinds = list(dict.fromkeys(run["kind"] for run in single))
    rows = [_row(kind, [run for run in single if run["kind"] == kind]) for kind in kinds]
    sums = {
        "all of flow": [run for run in single if run["kind"] in FLOW],
        "all others": [run for run in single if run["kind"] not in FLOW],
        "all": single,
        PAIRS: [run for run in runs if run["kind"] == PAIRS],
    }
    return [*rows, *(_row(name, some) for name, some in sums.items() if some)]


def _row(kind: str, runs: list[Json]) -> Json:
    verdicts = [verdict for run in runs for verdict in run["verdicts"]]
    found = [verdict for verdict in verdicts if verdict["found"]]
    count = max(1, len(verdicts))
    return {
        "kind": kind,
        "runs": len(verdicts),
        "found": len(found) / count,
        "right_kind": sum(verdict["right_kind"] for verdict in found) / count,
        "right_scope": sum(verdict["right_scope"] for verdict in found) / count,
        "detection_s": median(verdict["detection_s"] for verdict in found) if found else None,
        "recall": _mean([verdict["recall"] for verdict in verdicts]),
        "precision": _mean([verdict["precision"] for verdict in verdicts]),
        "incidents": _mean([verdict["incidents"] for verdict in found]),
        "false": sum(len(run["false"]) for run in runs),
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def clean_rows(runs: list[Json]) -> list[Json]:
    """The runs in which nothing was broken: how long, and what was said all the same."""
    rows = []
    for run in runs:
        if run["kind"] == "none":
            days = sum(_us(one["end"]) - _us(one["begin"]) for one in run["truth"]) / 86_400
            rows.append({"name": run["name"], "days": days, "false": run["false"]})
    return rows


def _us(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def cells(row: Json) -> list[str]:
    """A row's texts, in the order of COLUMNS."""
    after = row["detection_s"]
    shown = "" if after is None else f"{after / 60:.0f} min" if after < 7_200 else f"{after / 3_600:.1f} h"
    shares = [_share(row[name]) for name in ("found", "right_kind", "right_scope")]
    incidents = "" if row["incidents"] is None else f"{row['incidents']:.1f}"
    return [row["kind"], *shares, shown, _share(row["recall"]), _share(row["precision"]), incidents, str(row["false"])]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def show(report: Json, console: Console) -> None:
    """The table, and every false incident of a clean day."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        if column == "kind":
            table.add_column(column, no_wrap=True)  # in 80 columns the heads of the others are folded instead
        else:
            table.add_column(column, justify="right", overflow="fold")
    for row in report["kinds"]:
        table.add_row(*cells(row))
    console.print(table)
    console.print(_took(report))
    for run in report["runs"]:
        if run["kind"] == PAIRS:
            console.print(f"{run['name']}: {_pair_words(run)}", highlight=False)
    for row in clean_rows(report["runs"]):
        console.print(f"{row['name']}: {row['days']:.1f} days, {len(row['false'])} false")
        for false in row["false"]:
            console.print(f"  {false['kind']} {false['scope']}: {false['summary']}")


def _took(report: Json) -> str:
    """How long all of it took."""
    return f"{len(report['runs'])} runs in {report['seconds'] / 60:.0f} minutes, {report['workers']} at a time"


def _pair_words(run: Json) -> str:
    """What became of a day on which two things broke."""
    said = []
    for verdict in run["verdicts"]:
        one = "not found" if not verdict["found"] else verdict["said_kind"]
        said.append(one if verdict["right_kind"] and verdict["right_scope"] else f"{verdict['kind']}: {one}, wrong")
    merged = len({verdict["incident_id"] for verdict in run["verdicts"]}) < len(run["verdicts"])
    return "; ".join(said) + ("; one incident for both" if merged else "") + f"; {len(run['false'])} false"


def put_into_docs(report: Json, docs: Path) -> None:
    """Put the table between its marks in detection.md, and the plots into detection/."""
    name = f"{report['generator']} generator"
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in report["kinds"]]
    clean = clean_rows(report["runs"])
    if clean:
        lines += ["", "| nothing broken | days | false incidents |", "|---|---|---|"]
    lines += [f"| {row['name']} | {row['days']:.1f} | {len(row['false'])} |" for row in clean]
    machine = report["machine"]
    lines += ["", f"Commit {machine.get('commit', '?')}, {machine.get('cores', '?')} cores: {_took(report)}."]
    path = docs / "detection.md"
    text = path.read_text(encoding="utf-8")
    begin, end = _BEGIN.format(name), _END.format(name)
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    path.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + after, encoding="utf-8")
    (docs / "detection").mkdir(exist_ok=True)
    prefix = "" if report["generator"] == "own" else "other-"
    for row in report["kinds"]:
        runs = [run for run in report["runs"] if run["kind"] == row["kind"]]
        if runs and row["kind"] != PAIRS:
            (docs / "detection" / f"{prefix}{row['kind']}.svg").write_text(_plot(row["kind"], runs), encoding="utf-8")


def _plot(kind: str, runs: list[Json]) -> str:
    """One line for each day: when it was broken, and when that was found."""
    width, left, height = 720, 60, 18
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height * (len(runs) + 2) + 20}">',
        "<style>text { font: 11px sans-serif }</style>",
        f'<text x="4" y="13" font-weight="bold">{kind}: broken (grey), found (green; orange: as another kind)</text>',
    ]
    for hour in range(0, 25, 4):
        x = left + hour / 24 * (width - left - 10)
        out.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="20" y2="{height * (len(runs) + 1) + 6}" stroke="#ddd"/>')
        out.append(f'<text x="{x:.0f}" y="{height * (len(runs) + 2) + 4}" text-anchor="middle">{hour:02}:00</text>')
    for index, run in enumerate(runs):
        y = 24 + index * height
        out.append(f'<text x="4" y="{y + 10}">seed {run["seed"]}</text>')
        for verdict in run["verdicts"]:
            (truth,) = (one for one in run["truth"] if one["breakdown_id"] == verdict["breakdown_id"])
            day = _us(truth["begin"]) // 86_400 * 86_400
            scale = (width - left - 10) / 86_400
            begin, end = _us(truth["begin"]) - day, _us(truth["end"]) - day
            out.append(
                f'<rect x="{left + begin * scale:.1f}" y="{y}" width="{max(1.0, (end - begin) * scale):.1f}" '
                'height="12" fill="#bbb"/>'
            )
            if verdict["found"]:
                x = left + (begin + verdict["detection_s"]) * scale
                colour = "#2a9d5c" if verdict["right_kind"] else "#e08a1e"
                out.append(
                    f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 2}" y2="{y + 14}" stroke="{colour}" stroke-width="3"/>'
                )
    return "\n".join([*out, "</svg>"]) + "\n"
