"""Latency of a handoff by node and time: in colours, how many times as long as usual."""

from collections.abc import Sequence
from statistics import median

import msgspec

from dataflows.reporting.axis import WIDTH, TimeAxis
from dataflows.reporting.markup import Markup, joined, tag
from dataflows.reporting.period import Cell
from dataflows.reporting.steps import Steps
from dataflows.reporting.words import cut, duration, moment

_LEFT = 160
_TOP = 30
_ROW = 18

#: Times as long as usual, from which a cell has the next colour; the classes are h0 to h4.
LEVELS = (1.5, 3.0, 6.0, 12.0)


class Map(msgspec.Struct, frozen=True):
    """The heat map of one handoff: its cells, the usual p95 (the median over cells), how bad it was, how many nodes.

    `unusual` says that there is anything to see.
    """

    handoff: str
    cells: tuple[Cell, ...]
    usual_s: float
    badness: float
    nodes: int
    unusual: bool


def maps(cells: Sequence[Cell], most_nodes: int) -> list[Map]:
    """One for each handoff, the one that was slowest against its usual self first; of many nodes the worst."""
    by_handoff: dict[str, list[Cell]] = {}
    for cell in cells:
        by_handoff.setdefault(cell.handoff, []).append(cell)
    out = []
    for handoff, own in by_handoff.items():
        usual_s = max(1.0, median([cell.p95_s for cell in own if cell.p95_s is not None] or [1.0]))
        worst: dict[str, float] = {}
        for cell in own:
            worst[cell.node] = worst.get(cell.node, 0.0) + _excess(cell, usual_s)
        shown = sorted(sorted(worst, key=lambda node: (-worst[node], node))[:most_nodes])
        kept = tuple(cell for cell in own if cell.node in set(shown))
        unusual = any(level(cell, usual_s) >= 2 or cell.overdue for cell in own)
        out.append(Map(handoff, kept, usual_s, sum(worst.values()), len(worst), unusual))
    return sorted(out, key=lambda one: (-one.badness, one.handoff))


def _excess(cell: Cell, usual_s: float) -> float:
    """How far a cell is above usual, weighed by what went through it; a missed deadline counts as the worst level."""
    beyond = 0.0 if cell.p95_s is None else max(0.0, cell.p95_s / usual_s - LEVELS[0]) * cell.completed
    return beyond + LEVELS[-1] * cell.overdue


def level(cell: Cell, usual_s: float) -> int:
    """The colour of a cell: 0 as usual, to 4."""
    if cell.p95_s is None:
        return 0
    return sum(cell.p95_s >= usual_s * factor for factor in LEVELS)


def heat_plot(one: Map, steps: Steps) -> Markup:
    """The plot: a row a node, a column a step; empty where nothing was done."""
    axis = TimeAxis(steps.begin_us, steps.end_us, _LEFT)
    nodes = sorted({cell.node for cell in one.cells})
    row_of = {node: _TOP + _ROW * place for place, node in enumerate(nodes)}
    bottom = _TOP + _ROW * len(nodes)
    begins = [*steps.begins(), steps.end_us]
    drawn = []
    for cell in one.cells:
        here, there = axis.x(begins[cell.step]), axis.x(min(begins[cell.step + 1], steps.end_us))
        top = row_of[cell.node]
        took = f"95 % within {duration(cell.p95_s)}" if cell.p95_s is not None else "none completed"
        late = f", {cell.overdue:,} missed their deadline" if cell.overdue else ""
        words = f"{cell.node}, {moment(begins[cell.step])}: {took} ({cell.completed:,} completed){late}"
        shapes = [
            tag(
                "rect",
                x=f"{here + 0.5}",
                y=f"{top + 0.5}",
                width=f"{max(1.0, there - here - 1):.1f}",
                height=_ROW - 1,
                class_=f"cell h{level(cell, one.usual_s)}" if cell.p95_s is not None else "cell none",
            )
        ]
        if cell.overdue:
            shapes.append(tag("circle", cx=f"{(here + there) / 2:.1f}", cy=f"{top + _ROW / 2}", r="3", class_="missed"))
        drawn.append(tag("g", tag("title", words), joined(shapes)))
    names = [
        tag("text", cut(node, 22), x=f"{_LEFT - 8}", y=f"{top + 13}", text_anchor="end", class_="node")
        for node, top in row_of.items()
    ]
    plot = tag(
        "svg",
        tag("title", f"Latency of {one.handoff} by node and time"),
        axis.scale(_TOP, bottom),
        joined(drawn),
        joined(names),
        viewBox=f"0 0 {WIDTH} {bottom + 8}",
        class_="plot heat",
        role="img",
    )
    return tag("div", plot, class_="wide")


def legend(usual_s: float) -> Markup:
    """What the colours mean, in words."""
    words = ["as usual", *(f"from {factor:g} ×" for factor in LEVELS)]
    swatches = [joined((tag("span", class_=f"swatch h{number}"), said)) for number, said in enumerate(words)]
    dot = joined((tag("span", class_="swatch dot"), "deadlines missed"))
    return tag(
        "p",
        f"Usually 95 % are through within {duration(usual_s)}. ",
        joined(tag("span", one, class_="key") for one in (*swatches, dot)),
        class_="legend",
    )
