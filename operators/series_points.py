"""What the windows of a handoff give the models: one point for each figure, where a window is first written."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from operators.anomaly.score import Direction
from operators.anomaly.series_models import Point
from operators.process_map import Handoff
from schemas.durations import SECOND_US
from schemas.rows import HandoffWindow

#: Handoff → what its ages and latencies must not exceed for long (s); the rule judges by it while a model can't.
Limits: TypeAlias = Mapping[str, float]


class Figure(msgspec.Struct, frozen=True):
    """A column of `HandoffWindow` that is judged, and the kind of the signal where it is unusual.

    `direction` says which side is bad, `least` which distance from what was expected never matters (passes or
    seconds), `has_limit` whether the handoff's deadline is a limit for it.
    """

    metric: str
    kind: str
    direction: Direction
    least: float
    has_limit: bool


BACKLOG = Figure("backlog", "unusual_backlog", "up", 5.0, has_limit=False)
OLDEST = Figure("oldest_age_s", "unusual_age", "up", 300.0, has_limit=True)
LATENCY = Figure("p95_s", "unusual_latency", "up", 60.0, has_limit=True)
COMPLETED = Figure("completed", "unusual_throughput", "down", 5.0, has_limit=False)
FIGURES = {figure.metric: figure for figure in (BACKLOG, OLDEST, LATENCY, COMPLETED)}


class WindowPoint(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A figure of one window: when it was written (arrival), when the window began, and the point itself.

    The point's series is (metric, handoff, scope_by, scope), its time the window's end.
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
