"""A signal and the series it is about, as the views have them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from operators.series_points import BACKLOG, FIGURES
from schemas.durations import HOUR_US
from schemas.errors import StoreRefused
from sinks.clickhouse.store import Store

BEFORE_US = 24 * HOUR_US
AFTER_US = 6 * HOUR_US

_SIGNAL = """
SELECT
    signal_id, detector, kind, handoff, scope, case_id, toUnixTimestamp64Micro(opened_at),
    toUnixTimestamp64Micro(found_at), toUnixTimestamp64Micro(closed_at), severity, score, confidence, expected,
    observed, method, explanation, evidence
FROM signals WHERE signal_id = {signal_id:String}
"""

_INCIDENTS = """
SELECT incident_id, role, kind, status FROM incident_signals
INNER JOIN (SELECT incident_id, kind, status FROM incidents) AS them USING (incident_id)
WHERE signal_id = {signal_id:String} ORDER BY incident_id
"""

_WHERE = """
WHERE handoff = {handoff:String} AND (scope = '' OR has({places:Array(String)}, concat(scope_by, '=', scope)))
"""

_SCORES = f"""
SELECT toUnixTimestamp64Micro(at), value, expected, lower, upper, score, alarm, method, scope_by, scope
FROM series_scores {_WHERE} AND metric = {{metric:String}}
    AND toUnixTimestamp64Micro(at) BETWEEN {{begin:Int64}} AND {{end:Int64}}
ORDER BY scope_by, scope, at
"""  # noqa: S608 - made of constants

_WINDOWS = f"""
SELECT toUnixTimestamp64Micro(window_end), toFloat64(backlog), NULL, NULL, NULL, 0., '', '', scope_by, scope
FROM handoff_latency {_WHERE}
    AND toUnixTimestamp64Micro(window_end) BETWEEN {{begin:Int64}} AND {{end:Int64}}
ORDER BY scope_by, scope, window_end
"""  # noqa: S608 - made of constants


class Found(msgspec.Struct, frozen=True):
    """A signal as it stands; times in microseconds."""

    signal_id: str
    detector: str
    kind: str
    handoff: str
    scope: dict[str, str]
    case_id: str
    opened_us: int
    found_us: int
    closed_us: int | None
    severity: str
    score: float
    confidence: float
    expected: str
    observed: str
    method: str
    explanation: str
    evidence: list[str]


class Judged(msgspec.Struct, frozen=True):
    """A window of the series; without `expected` no model has judged it, without a band the rule alone has."""

    at_us: int
    value: float
    expected: float | None
    lower: float | None
    upper: float | None
    score: float
    alarm: str
    method: str


class Subject(msgspec.Struct, frozen=True):
    """What is explained.

    `metric` is the figure that the points are of (for a rule's signal the backlog of its handoff), `place` their scope.
    `points` are those from a day before the signal to six hours after it, in order of time; empty where nothing is kept
    or the signal is about no series. `incidents` are (id, role, kind, status).
    """

    signal: Found
    metric: str
    place: str
    points: list[Judged]
    incidents: list[tuple[str, str, str, str]]

    @property
    def judged_us(self) -> int | None:
        """The window that a model's signal is about."""
        return self.signal.closed_us if self.signal.kind in _METRICS else None


def span(points: Sequence[Judged]) -> tuple[float, float]:
    """The lowest (0 at most) and the highest that a plot has to show; they are not the same."""
    lowest = min(0.0, *(one.value for one in points))
    highest = max(max(one.value, one.upper or 0.0) for one in points)
    return lowest, highest if highest > lowest else lowest + 1.0


_METRICS = {figure.kind: figure.metric for figure in FIGURES.values()}


def read(store: Store, signal_id: str) -> Subject:
    """Ask the database.

    Raises:
        StoreRefused: it has no such signal.
        StoreError: it can't be asked.
    """
    rows = store.query(_SIGNAL, {"signal_id": signal_id}).rows
    if not rows:
        words = "`andon sql 'SELECT signal_id, explanation FROM signals ORDER BY found_at DESC'` lists them"
        raise StoreRefused(f"{store.target} has no signal {signal_id}: {words}")
    signal = Found(*rows[0])
    incidents = [tuple(map(str, row)) for row in store.query(_INCIDENTS, {"signal_id": signal_id}).rows]
    metric = _METRICS.get(signal.kind, BACKLOG.metric)
    series = _series(store, signal, metric) if signal.handoff or signal.kind in _METRICS else []
    place = " ".join(word for word in series[0][-2:] if word) if series else ""
    points = [Judged(*row[:-2]) for row in series]
    return Subject(signal, metric, place, points, incidents)  # type: ignore[arg-type] # rows of four


def _series(store: Store, signal: Found, metric: str) -> Sequence[tuple[Any, ...]]:
    """The rows of one series around the signal: as the models scored it, else the handoff's windows."""
    parameters: Mapping[str, Any] = {
        "handoff": signal.handoff,
        "places": [f"{name}={value}" for name, value in signal.scope.items()],
        "metric": metric,
        "begin": signal.opened_us - BEFORE_US,
        "end": max(signal.found_us, signal.closed_us or 0) + AFTER_US,
    }
    rows = store.query(_SCORES, dict(parameters)).rows
    if not rows and signal.kind not in _METRICS:
        rows = store.query(_WINDOWS, dict(parameters)).rows
    return [row for row in rows if row[-2:] == rows[-1][-2:]]
