"""What is judged of a retailer: one point for each figure, where a window is first written.

A handoff's windows give four figures; the other six come from what detectors count (`operators/series_counts.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

from operators.anomaly.point import Point
from operators.anomaly.score import Direction
from operators.process_map import Handoff
from schemas.durations import SECOND_US
from schemas.rows import HandoffWindow

#: Handoff → what its ages and latencies must not exceed for long (s); the rule judges by it while a model can't.
Limits: TypeAlias = Mapping[str, float]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What is judged of a window, and the kind of the signal where it is unusual.

    `words` is how a person calls it, `unit` what it is measured in. `direction` says which side is bad, `least` which
    distance from what was expected never matters (in that unit), `has_limit` whether the handoff's deadline is a limit
    for it.
    """

    metric: str
    kind: str
    words: str
    direction: Direction
    least: float
    unit: Literal["number", "seconds", "share"] = "number"
    has_limit: bool = False


def _share(metric: str, kind: str, words: str) -> Figure:
    return Figure(metric=metric, kind=kind, words=words, direction="up", least=0.05, unit="share")


# Columns of `HandoffWindow`.
BACKLOG = Figure(metric="backlog", kind="unusual_backlog", words="waiting", direction="up", least=5.0)
OLDEST = Figure(
    metric="oldest_age_s",
    kind="unusual_age",
    words="the age of the oldest",
    direction="up",
    least=300.0,
    unit="seconds",
    has_limit=True,
)
LATENCY = Figure(
    metric="p95_s",
    kind="unusual_latency",
    words="the time that 95 % of them took",
    direction="up",
    least=60.0,
    unit="seconds",
    has_limit=True,
)
COMPLETED = Figure(metric="completed", kind="unusual_throughput", words="completed", direction="down", least=5.0)
OF_HANDOFFS = (BACKLOG, OLDEST, LATENCY, COMPLETED)

# What is counted beside.
DEMAND = Figure(metric="demand", kind="unusual_demand", words="asked for", direction="both", least=5.0)
STOCK_DELTA = Figure(
    metric="stock_delta",
    kind="unusual_stock_delta",
    words="units that systems differ by, over the items spoken of",
    direction="up",
    least=5.0,
)
REJECTS = _share("reject_rate", "unusual_rejects", "the share of picks rejected lately")
EXCEPTIONS = _share("exception_rate", "unusual_exceptions", "the share of parcels that met an obstacle lately")
CANCELLATIONS = _share("cancellation_rate", "unusual_cancellations", "orders cancelled for each placed lately")
RETURNS = _share("return_rate", "unusual_returns", "returns announced for each order placed lately")
#: Counted figure → what its scopes are; a node has a demand, a carrier has none.
COUNTED_BY: Mapping[str, tuple[str, ...]] = {
    DEMAND.metric: ("channel", "node"),
    STOCK_DELTA.metric: ("node",),
    REJECTS.metric: ("node",),
    EXCEPTIONS.metric: ("carrier",),
    CANCELLATIONS.metric: ("channel",),
    RETURNS.metric: ("channel",),
}

#: The distance of a whole site's figures from what goes together (operators/series_sites.py).
SITE = Figure(
    metric="site",
    kind="unusual_site",
    words="the distance of its figures from what goes together",
    direction="up",
    least=0.0,
)
_ALL = (*OF_HANDOFFS, DEMAND, STOCK_DELTA, REJECTS, EXCEPTIONS, CANCELLATIONS, RETURNS, SITE)
FIGURES: Mapping[str, Figure] = {figure.metric: figure for figure in _ALL}


class WindowPoint(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A figure of one window: when it was written (arrival), when the window began, and the point itself.

    The point's series is (metric, handoff, scope_by, scope), its time the window's end. `handoff` is empty for what is
    counted beside the handoffs.
    """

    arrival_us: int
    start_us: int
    point: Point


def limits_of(handoffs: Iterable[Handoff]) -> Limits:
    """The deadlines that are durations, in seconds."""
    return {one.name: one.deadline / SECOND_US for one in handoffs if one.deadline is not None}


def window_points(row: HandoffWindow, grace_us: int, limits: Limits) -> list[WindowPoint]:
    """The points of a window; none where it is written again. Where nothing was completed there is no latency.

    Scopes of one handoff share the shape of their week.
    """
    if row.arrival_us > row.window_end_us + grace_us:
        return []
    values = [(BACKLOG, float(row.backlog)), (OLDEST, row.oldest_age_s or 0.0), (COMPLETED, float(row.completed))]
    if row.p95_s is not None:
        values.append((LATENCY, row.p95_s))
    return [
        WindowPoint(
            row.arrival_us,
            row.window_start_us,
            Point(
                series=(figure.metric, row.handoff, row.scope_by, row.scope),
                pool=f"{figure.metric}/{row.handoff}" if row.scope_by else "",
                at_us=row.window_end_us,
                value=value,
                direction=figure.direction,
                least=figure.least,
                limit=limits.get(row.handoff) if figure.has_limit else None,
            ),
        )
        for figure, value in values
    ]
