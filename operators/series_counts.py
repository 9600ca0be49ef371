"""Series of what detectors count beside the handoffs: demand, stock deltas, and rates, a window at a time.

Counts go by arrival: a window [end - step, end) has what arrived in it, so nothing of it comes late, and it is written
once, at the same time as the windows of handoffs that end then. Stock deltas are those of the stock windows (event
time) as they were first written.

- `demand`: how many orders (by channel) and picks (by node) were asked for in the window. Silence counts, as zero,
  until it has lasted a day: that orders stop coming is what this series is there for.
- `stock_delta`: units that systems differ by, summed over the node's items that were spoken of in the window.
- rates: bad ones for each of all, over `models.rate_span` up to the window's end; a point only where `LEAST_TOTAL`
  were counted in that time and any in the window, since a share of three says nothing.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from operators.anomaly.point import Point
from operators.detectors.events import CELL_US, Counted
from operators.detectors.order_flow import CANCELLED, ORDERED, RETURNED
from operators.detectors.records import Scoped, Tally
from operators.series_points import (
    CANCELLATIONS,
    DEMAND,
    EXCEPTIONS,
    REJECTS,
    RETURNS,
    STOCK_DELTA,
    Figure,
    WindowPoint,
)
from operators.windows import WindowSettings
from schemas.durations import DAY_US, END_OF_TIME_US, HOUR_US, MINUTE_US
from schemas.errors import StateError
from schemas.rows import Row, StockWindow

#: A rate is of at least so many.
LEAST_TOTAL = 20.0
#: A series that was silent for so long is forgotten.
SILENT_US = DAY_US
STOCK_APART = "stock_units_apart"
#: Deltas are added up in thousandths of a unit, in whole numbers: so it does not matter who adds up which.
_PARTS = 1000.0

#: Metric, scope's field, its value.
_Key: TypeAlias = tuple[str, str, str]

_FIGURES: dict[str, tuple[Figure, ...]] = {
    ORDERED: (DEMAND, CANCELLATIONS, RETURNS),
    CANCELLED: (CANCELLATIONS,),
    RETURNED: (RETURNS,),
    "pick_queued": (DEMAND,),
    "pick_rejected": (REJECTS,),
    "parcel_exception": (EXCEPTIONS,),
    STOCK_APART: (STOCK_DELTA,),
}
#: What is counted for series.
METRICS = frozenset(_FIGURES)


def stock_tallies(rows: Iterable[Row], grace_us: int) -> list[Tally]:
    """By how much systems differ in each window of each node, of windows that are first written."""
    apart: dict[tuple[str, int, int], int] = {}
    for row in rows:
        if type(row) is StockWindow and row.arrival_us <= row.window_end_us + grace_us:
            key = row.node, row.window_end_us, row.arrival_us
            apart[key] = apart.get(key, 0) + round(row.delta * _PARTS)
    return [
        Tally(STOCK_APART, (("node", node),), arrival_us, end_us, float(parts), 1.0)
        for (node, end_us, arrival_us), parts in apart.items()
    ]


class _Series(msgspec.Struct, array_like=True):
    """One figure in one scope: (end, bad, total) of the windows of a rate's span; when it was last heard of."""

    cells: list[tuple[int, float, float]]
    heard_us: int


class SeriesCountsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `SeriesCounts`; `held` is by window, `series` what was written."""

    version: int
    next_us: int | None
    held: list[tuple[int, list[tuple[_Key, float, float]]]]
    series: list[tuple[_Key, _Series]]


class SeriesCounts:
    """Gather counts into windows and give a point for each figure and scope.

    Takes tallies in any order within what `advance` has not passed yet; they are held until their window is written,
    so that what is said of a window does not depend on how much of later ones is known already.

    Args:
        windows: of handoffs; steps are as long as their slide, rounded up to full minutes (counts come by the minute).
        rate_span_us: how far back a rate looks, an hour unless told; at least one window.
        stock_grace_us: how long stock windows wait.

    Memory: at most the windows of `rate_span_us` for each figure and scope that was heard of within a day.
    Cost: a look-up a tally; a microsecond for each series a window.
    """

    VERSION = 1

    def __init__(self, windows: WindowSettings, stock_grace_us: int = 0, rate_span_us: int = HOUR_US) -> None:
        self._step_us = -(-windows.slide_us // MINUTE_US) * MINUTE_US
        self._grace_us = max(windows.grace_us, stock_grace_us)
        self._kept_us = max(rate_span_us, self._step_us)
        self._held: dict[int, dict[_Key, tuple[float, float]]] = {}
        self._series: dict[_Key, _Series] = {}
        self._next_us: int | None = None

    def update(self, tallies: Sequence[Tally]) -> None:
        """Take counts; those that no series is made of are passed over."""
        for tally in tallies:
            figures = _FIGURES.get(tally.metric)
            if figures is None:
                continue
            instant_us = tally.at_us - 1 if tally.metric == STOCK_APART else tally.arrival_us
            self._add(figures, tally.scope, instant_us, tally.bad, tally.total)

    def count(self, counts: Iterable[Counted]) -> None:
        """Take the good ones of a batch; as `update` of as many tallies."""
        for counted in counts:
            figures = _FIGURES.get(counted.metric)
            if figures is not None:
                for cell, total in counted.cells.items():
                    self._add(figures, counted.scope, cell * CELL_US, 0.0, total)

    def _add(self, figures: tuple[Figure, ...], scope: Scoped, instant_us: int, bad: float, total: float) -> None:
        end_us = instant_us - instant_us % self._step_us + self._step_us
        held = self._held.get(end_us)
        if held is None:
            held = self._held[end_us] = {}
        by, where = scope[0] if scope else ("", "")
        for figure in figures:
            key = figure.metric, by, where
            before = held.get(key, (0.0, 0.0))
            held[key] = before[0] + bad, before[1] + total

    def advance(self, watermark_us: int) -> list[WindowPoint]:
        """The points of all windows that are due before `watermark_us`, in the order of time.

        At the end of time each series ends with the last window in which something of it was counted.
        """
        out: list[WindowPoint] = []
        last_us, ends = END_OF_TIME_US, None
        if watermark_us >= END_OF_TIME_US:
            last_us = max(self._held, default=0)
            ends = {key: end for end in sorted(self._held) for key in self._held[end]}
        while True:
            end_us = self._next_us if self._next_us is not None else min(self._held, default=None)
            if end_us is None or end_us > last_us or end_us + self._grace_us >= watermark_us:
                return out
            for key, (bad, total) in self._held.pop(end_us, {}).items():
                series = self._series.get(key)
                if series is None:
                    series = self._series[key] = _Series([], end_us)
                series.cells.append((end_us, bad, total))
                series.heard_us = end_us
            for key in sorted(self._series):
                if ends is not None and end_us > ends.get(key, 0):
                    continue
                value = self._value(key, self._series[key], end_us)
                if value is not None:
                    out.append(self._point(key, end_us, value))
            self._forget(end_us)
            self._next_us = end_us + self._step_us if self._series else None

    def _value(self, key: _Key, series: _Series, end_us: int) -> float | None:
        metric, is_silent = key[0], series.heard_us != end_us
        if metric == DEMAND.metric:
            return 0.0 if is_silent else series.cells[-1][2]
        if is_silent:
            return None
        if metric == STOCK_DELTA.metric:
            return series.cells[-1][1] / _PARTS
        total = sum(cell[2] for cell in series.cells)
        return sum(cell[1] for cell in series.cells) / total if total >= LEAST_TOTAL else None

    def _point(self, key: _Key, end_us: int, value: float) -> WindowPoint:
        metric, by, scope = key
        figure = _BY_METRIC[metric]
        return WindowPoint(
            end_us + self._grace_us,
            end_us - (self._kept_us if figure.unit == "share" else self._step_us),
            Point(
                series=(metric, "", by, scope),
                pool=f"{metric}/{by}" if by else "",
                at_us=end_us,
                value=value,
                direction=figure.direction,
                least=figure.least,
            ),
        )

    def _forget(self, end_us: int) -> None:
        """Let go of what no window to come asks for."""
        oldest_us = end_us + self._step_us - self._kept_us
        for key, series in list(self._series.items()):
            while series.cells and series.cells[0][0] <= oldest_us:
                series.cells.pop(0)
            if end_us - series.heard_us >= SILENT_US:
                del self._series[key]

    def sizes(self) -> dict[str, int]:
        """How many series are counted, in how many windows; how many windows are held."""
        cells = sum(len(one.cells) for one in self._series.values())
        return {"series": len(self._series), "cells": cells, "held": len(self._held)}

    def snapshot(self) -> SeriesCountsState:
        """All that is counted."""
        held = [(end, [(key, *counts) for key, counts in some.items()]) for end, some in self._held.items()]
        return SeriesCountsState(self.VERSION, self._next_us, held, list(self._series.items()))

    def restore(self, state: SeriesCountsState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"series counts of version {state.version}; this code reads {self.VERSION}")
        self._next_us = state.next_us
        self._held = {end: {key: (bad, total) for key, bad, total in some} for end, some in state.held}
        self._series = {key: _Series(list(one.cells), one.heard_us) for key, one in state.series}


_BY_METRIC = {figure.metric: figure for figures in _FIGURES.values() for figure in figures}
