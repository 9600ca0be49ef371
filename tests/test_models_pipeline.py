"""The models in the pipeline: rows are a function of the log, a shift is told, both switches do what they say."""

from functools import cache
from typing import TypeVar

import msgspec
import pytest

from operators.anomaly.settings import ModelSettings
from operators.group_state import IncidentPiece
from operators.incident_group import IncidentGroup
from operators.incidents.kinds import KINDS
from operators.pipeline import INCIDENT, PipelineSettings, group_name
from operators.series_points import FIGURES, OF_HANDOFFS, SITE, WindowPoint, limits_of, window_points
from operators.series_scores import SeriesScores, SeriesScoresState
from schemas.durations import MINUTE_US, SECOND_US
from schemas.errors import StateError
from schemas.incident_rows import Incident, IncidentSignal, ModelHealth, SeriesScore
from schemas.rows import HandoffWindow, Row, Signal
from tests.harness import START_US, PurePipeline, encoded, settings, small_map
from tests.shifted_backlog import MINUTES, STOP, STOPPED, shifted_log

T = TypeVar("T", bound=Row)
OFTEN = ModelSettings(alarms_per_week=20.0, young_points=150)
BROKEN_FROM_US = START_US + STOP * MINUTE_US
BROKEN_TO_US = BROKEN_FROM_US + STOPPED * MINUTE_US


def chosen(models: ModelSettings = OFTEN, *, lanes: int = 1, groups: int = 1) -> PipelineSettings:
    return msgspec.structs.replace(settings(lanes=lanes, groups=groups), models=models)


@cache
def plain(models: ModelSettings = OFTEN) -> list[Row]:
    return PurePipeline(shifted_log(), chosen(models), 1_000).run()


def of_models(rows: list[Row]) -> list[Signal]:
    return [row for row in rows if isinstance(row, Signal) and row.detector == "models"]


def kept(rows: list[Row], kind: type[T]) -> list[T]:
    return [row for row in rows if isinstance(row, kind)]


# --- a function of the log ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "groups"), [(61, 3)])
def test_rows_do_not_depend_on_batches_or_groups(batch: int, groups: int) -> None:
    rows = PurePipeline(shifted_log(), chosen(groups=groups), batch).run()
    assert encoded(rows) == encoded(plain())


def test_rows_do_not_depend_on_restarts() -> None:
    killed = PurePipeline(shifted_log(), chosen(groups=2), 150)
    while not killed.ended:
        killed.step("lane-0")
        killed.keep_and_restore()
    assert encoded(killed.rows) == encoded(plain())


def test_a_restart_goes_on_where_points_were_held_back() -> None:
    points = [
        point for row in kept(plain(), HandoffWindow) for point in window_points(row, 5 * SECOND_US, limits_of([]))
    ]
    points.sort(key=lambda one: (one.arrival_us, one.point.series))
    assert len(points) > 1_000
    whole, cut = SeriesScores(OFTEN), SeriesScores(OFTEN)
    half = len(points) // 2
    expected = whole.update(points)
    said = cut.update(points[:half])
    state = msgspec.msgpack.encode(cut.snapshot())
    resumed = SeriesScores(OFTEN)
    resumed.restore(msgspec.msgpack.decode(state, type=SeriesScoresState))
    assert resumed.sizes() == cut.sizes() != {"series": 0}
    assert said + resumed.update(points[half:]) == expected
    assert resumed.snapshot() == whole.snapshot()


def test_points_wait_for_the_slowest_group_over_a_restart_too() -> None:
    first, second = _window(3), _window(4, start_us=START_US + MINUTE_US)
    names = chosen(groups=2).upstream_of_incidents()

    def pieces(upto_us: int, points: list[WindowPoint], but: str = "") -> list[IncidentPiece]:
        others = [IncidentPiece(name, upto_us, upto_us - 1, [], [], final=False) for name in names[1:] if name != but]
        return [IncidentPiece(names[0], upto_us, upto_us - 1, [], [], final=False, points=points), *others]

    group = IncidentGroup(group_name(INCIDENT, 0), chosen(groups=2))
    both = [point for row in (second, first) for point in window_points(row, 5 * SECOND_US, {})]
    assert not group.on_batch(pieces(second.arrival_us + 1, both, but=names[1])).rows
    slowest = IncidentPiece(names[1], first.arrival_us + 1, first.arrival_us, [], [], final=False)
    rows = group.on_batch([slowest]).rows
    assert {row.at_us for row in kept(rows, SeriesScore)} == {first.window_end_us}
    resumed = IncidentGroup(group_name(INCIDENT, 0), chosen(groups=2))
    resumed.restore(group.snapshot())
    slowest = IncidentPiece(names[1], second.arrival_us + 1, second.arrival_us, [], [], final=False)
    rows += resumed.on_batch([slowest]).rows
    once = IncidentGroup(group_name(INCIDENT, 0), chosen(groups=2))
    assert encoded(rows) == encoded(once.on_batch(pieces(second.arrival_us + 1, both)).rows)
    assert len(kept(rows, SeriesScore)) == len(both)


def test_a_snapshot_is_made_anew_after_points_and_after_health() -> None:
    (point,) = window_points(_window(1), 5 * SECOND_US, {})[:1]
    scores = SeriesScores(OFTEN)
    before = scores.snapshot()
    scores.update([point])
    scored = scores.snapshot()
    assert scored != before
    assert scores.snapshot() == scored
    assert len(scores.advance(point.arrival_us + MINUTE_US)) == 1
    assert scores.snapshot().models != scored.models, "points and alarms are counted from there on anew"


def test_a_snapshot_of_another_version_is_refused() -> None:
    scores = SeriesScores(OFTEN)
    with pytest.raises(StateError, match="version 9"):
        scores.restore(msgspec.structs.replace(scores.snapshot(), version=9))


# --- points ------------------------------------------------------------------------------------------------


def _window(completed: int, *, late_us: int = 0, start_us: int = START_US) -> HandoffWindow:
    end_us = start_us + MINUTE_US
    arrival_us = end_us + 5 * SECOND_US + late_us
    latency = 90.0 if completed else None
    head = ("pick", "node", "n1", start_us, end_us, 2, completed, 0, 0, 7, 120.0)
    return HandoffWindow(*head, latency, latency, latency, latency, {}, arrival_us, arrival_us)


def test_a_window_gives_a_point_for_each_figure_once() -> None:
    limits = limits_of(small_map().handoff)
    points = {one.point.series[0]: one.point for one in window_points(_window(3), 5 * SECOND_US, limits)}
    assert {name: one.value for name, one in points.items()} == {
        "backlog": 7.0,
        "oldest_age_s": 120.0,
        "completed": 3.0,
        "p95_s": 90.0,
    }
    assert {name: one.limit for name, one in points.items() if one.limit} == {"oldest_age_s": 240.0, "p95_s": 240.0}
    assert {one.series[1:] for one in points.values()} == {("pick", "node", "n1")}
    assert window_points(_window(3, late_us=1), 5 * SECOND_US, limits) == []
    without = window_points(_window(0), 5 * SECOND_US, limits)
    assert "p95_s" not in {one.point.series[0] for one in without}


# --- what is told ------------------------------------------------------------------------------------------


def test_every_first_writing_is_scored_once() -> None:
    windows = [row for row in kept(plain(), HandoffWindow) if row.arrival_us == row.window_end_us + 5 * SECOND_US]
    scores = [row for row in kept(plain(), SeriesScore) if row.metric in {figure.metric for figure in OF_HANDOFFS}]
    assert len(scores) == 3 * len(windows) + sum(row.p95_s is not None for row in windows)
    assert len({(row.metric, row.handoff, row.scope_by, row.scope, row.at_us) for row in scores}) == len(scores)
    values = {(row.handoff, row.scope, row.at_us): row.value for row in scores if row.metric == "backlog"}
    assert values == {(row.handoff, row.scope, row.window_end_us): row.backlog for row in windows}


def test_a_shift_of_the_backlog_is_told_and_opens_no_incident() -> None:
    told = [one for one in of_models(plain()) if BROKEN_FROM_US <= one.opened_at_us < BROKEN_TO_US]
    backlog = [one for one in told if one.kind == "unusual_backlog" and one.handoff == "approval"]
    assert backlog
    first = min(backlog, key=lambda one: one.found_at_us)
    assert first.scope == {"channel": "c0"}
    assert first.found_at_us < BROKEN_FROM_US + 15 * MINUTE_US
    assert (first.severity, first.method) == ("low", "model")
    assert first.explanation.startswith("approval at channel c0, ")
    assert f"waiting {first.observed}, expected {first.expected}; " in first.explanation
    assert first.explanation.endswith(" powers of ten).")
    assert not any(one.scope.get("channel") == "c1" and one.handoff == "approval" for one in told)
    (row,) = [
        row
        for row in kept(plain(), SeriesScore)
        if (row.metric, row.handoff, row.scope, row.at_us) == ("backlog", "approval", "c0", first.closed_at_us)
    ]
    assert row.alarm
    assert row.upper is not None
    assert row.value > row.upper
    assert row.score == first.score


def test_no_model_finding_is_an_incident_or_part_of_one() -> None:
    assert not {figure.kind for figure in FIGURES.values()} & set(KINDS)
    mine = {one.signal_id for one in of_models(plain())}
    assert mine
    assert not mine & {row.signal_id for row in kept(plain(), IncidentSignal)}
    assert not mine & {row.cause_signal_id for row in kept(plain(), Incident)}


def test_every_alarm_has_one_signal_with_an_id_of_its_own() -> None:
    alarms = [row for row in kept(plain(), SeriesScore) if row.alarm]
    told = of_models(plain())
    assert len(alarms) == len(told) == len({one.signal_id for one in told})
    assert {(FIGURES[row.metric].kind, row.handoff, row.at_us, row.scope) for row in alarms} == {
        (one.kind, one.handoff, one.closed_at_us, "".join(one.scope.values())) for one in told
    }


def test_health_is_told_once_for_each_minute_with_points() -> None:
    health = kept(plain(), ModelHealth)
    scores = kept(plain(), SeriesScore)
    assert len({(row.metric, row.minute_us) for row in health}) == len(health)
    assert {row.minute_us for row in health} == {row.arrival_us // MINUTE_US * MINUTE_US for row in scores}
    assert sum(row.points for row in health) == len(scores)
    assert sum(row.alarms for row in health) == len(of_models(plain()))
    assert {row.state for row in health} >= {"young", "healthy"}
    assert max(row.minute_us for row in health) >= START_US + MINUTES * MINUTE_US


def test_dropped_series_are_reported() -> None:
    few = msgspec.structs.replace(OFTEN, max_series=2)
    health = kept(plain(few), ModelHealth)
    assert any("models.max_series" in row.detail for row in health)
    assert not any("models.max_series" in row.detail for row in kept(plain(), ModelHealth))


# --- switches ----------------------------------------------------------------------------------------------


def test_disabled_nothing_is_scored_and_all_else_is_the_same() -> None:
    off = plain(ModelSettings(enabled=False))
    theirs = {one.signal_id for one in of_models(plain())}
    assert {"demand", SITE.metric} < {row.metric for row in kept(plain(), SeriesScore)}
    without = [row for row in plain() if not isinstance(row, SeriesScore | ModelHealth)]
    without = [row for row in without if not (isinstance(row, Signal) and row.signal_id in theirs)]
    assert encoded(off) == encoded(without)


def test_disabled_on_the_way_forgets_the_models() -> None:
    running = PurePipeline(shifted_log(), chosen(), 500)
    running.step("lane-0")
    running.step("lane-0")
    kept_state = running.groups[group_name(INCIDENT, 0)].snapshot()
    off = PurePipeline({}, chosen(ModelSettings(enabled=False)), 1)
    group = off._group(group_name(INCIDENT, 0))
    group.restore(kept_state)
    assert group.sizes()["series_scores", "series"] == 0


def test_the_kill_switch_leaves_the_rule() -> None:
    rows = plain(msgspec.structs.replace(OFTEN, series=False))
    scores = kept(rows, SeriesScore)
    assert {row.method for row in scores} == {"rule"}
    assert {row.lower for row in scores} == {None}
    assert {row.state for row in kept(rows, ModelHealth)} == {"off"}
    assert SITE.metric not in {row.metric for row in scores}, "where nothing is expected there are no vectors"
    told = of_models(rows)
    assert told, "the age of the oldest is over the deadline for three windows"
    assert {one.method for one in told} == {"rule"}
    late = {(one.kind, one.expected, one.scope["channel"]) for one in told if one.handoff == "approval"}
    assert ("unusual_age", "at most 3 min", "c0") in late
