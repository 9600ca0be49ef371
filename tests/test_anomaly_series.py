"""Many series together: bounded, resumable, with the rule where a model can't judge, and health that says so."""

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.anomaly.point import Point
from operators.anomaly.series_models import Scored, SeriesModels, SeriesModelsState
from operators.anomaly.settings import ModelSettings
from schemas.errors import StateError

STEP_US = 300_000_000
START_US = 1_780_272_000_000_000
DAY = 288
NAMES = [("backlog", "dc-1"), ("backlog", "dc-2"), ("latency", "dc-1")]


def point(series: tuple[str, ...], number: int, value: float, **more: object) -> Point:
    return msgspec.structs.replace(Point(series, "", START_US + number * STEP_US, value), **more)


def steady(
    count: int, series: tuple[str, ...] = NAMES[0], seed: int = 1, start: int = 0, **more: object
) -> list[Point]:
    draw = random.Random(seed)
    return [point(series, number, 100 + draw.gauss(0, 3), **more) for number in range(start, start + count)]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(NAMES), st.floats(-1e6, 1e6) | st.just(math.nan), st.sampled_from(["", "region"])),
        max_size=60,
    ),
    cuts=st.sets(st.integers(0, 60), max_size=4),
    most=st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_cuts_and_resumes_change_nothing(
    steps: list[tuple[tuple[str, ...], float, str]], cuts: set[int], most: int
) -> None:
    chosen = ModelSettings(max_series=most, young_points=5, calm_points=3)
    points = [point(name, i, value, pool=pool, limit=50.0) for i, (name, value, pool) in enumerate(steps)]
    whole = SeriesModels(chosen)
    expected = whole.update(points)
    models, said = SeriesModels(chosen), []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(points)], strict=True):
        said += models.update(points[begin:end])
        kept = msgspec.msgpack.encode(models.snapshot())
        models = SeriesModels.from_snapshot(msgspec.msgpack.decode(kept, type=SeriesModelsState), chosen)
    assert repr(said) == repr(expected)  # NaN is not equal to itself
    assert models.health(0, 1) == whole.health(0, 1)
    assert models.take_dropped() == whole.take_dropped()
    assert len(models) <= most


def test_the_series_silent_longest_is_dropped_and_reported() -> None:
    models = SeriesModels(ModelSettings(max_series=2))
    models.update([point(NAMES[0], 0, 1.0, pool="p"), point(NAMES[1], 0, 1.0), point(NAMES[0], 1, 1.0, pool="p")])
    models.update([point(NAMES[2], 1, 1.0)])
    assert len(models) == 2
    assert models.take_dropped() == [NAMES[1]]
    assert models.take_dropped() == []
    models.update([point(NAMES[1], 2, 1.0)])
    assert models.take_dropped() == [NAMES[0]]
    assert models.snapshot().pools == {}  # nobody is left in it


def test_a_series_costs_at_most_four_kilobytes() -> None:
    models = SeriesModels(ModelSettings())
    for number in range(20):
        models.update(steady(3, ("backlog", f"dc-{number}"), seed=number, pool="dcs"))
    assert len(msgspec.msgpack.encode(models.snapshot())) / 20 <= 4096


def alarms(scored: list[Scored]) -> list[Scored]:
    return [one for one in scored if one.score.is_alarm]


def test_a_young_model_leaves_it_to_the_rule() -> None:
    models = SeriesModels(ModelSettings())
    said = models.update([point(NAMES[0], number, 200.0, limit=150.0) for number in range(10)])
    assert {one.score.method for one in said} == {"rule"}
    assert [number for number, one in enumerate(said) if one.score.is_alarm] == [2]
    assert models.health(0, 1)[0].state == "young"


def test_a_grown_model_judges_and_counts() -> None:
    models = SeriesModels(ModelSettings())
    models.update(steady(600, limit=1000.0))
    assert models.health(60_000_000, 7)[0].points == 600
    said = models.update([point(NAMES[0], 600, 180.0, limit=1000.0)])
    assert said[0].score.is_alarm
    assert said[0].score.method == "model"
    (row,) = models.health(120_000_000, 8)
    assert (row.model, row.metric, row.minute_us, row.series, row.young, row.fallback) == (
        "series",
        "backlog",
        120_000_000,
        1,
        0,
        0,
    )
    assert (row.points, row.alarms, row.state, row.version) == (1, 1, "healthy", 8)
    assert models.health(180_000_000, 9)[0].points == 0


@pytest.mark.parametrize("trouble", ["failed", "cold"])
def test_trouble_brings_the_rule_until_it_was_calm_for_long(trouble: str) -> None:
    models = SeriesModels(ModelSettings(calm_points=50))
    models.update(steady(600, limit=1000.0))
    start = 600
    if trouble == "failed":
        assert models.update([point(NAMES[0], 600, math.nan, limit=1000.0)])[0].score.method == "rule"
    else:
        start = 600 + 2 * DAY
        models.update(steady(1, start=start, limit=1000.0))
    assert models.health(0, 1)[0].state == trouble
    later = models.update(steady(60, start=start + 1, seed=2, limit=1000.0))
    methods = [one.score.method for one in later]
    assert methods == sorted(methods, reverse=True)  # rule, then model: once
    assert methods.count("rule") == 49
    assert models.health(0, 1)[0].state == "healthy"


def test_a_drift_is_said_by_the_model_and_then_the_rule_judges() -> None:
    models = SeriesModels(ModelSettings())
    values = [100 + max(0, number - 20 * DAY) / DAY * 4 for number in range(60 * DAY)]
    draw = random.Random(3)
    said = models.update(
        [point(NAMES[0], number, value + draw.gauss(0, 3), limit=1000.0) for number, value in enumerate(values)]
    )
    drifts = [number for number, one in enumerate(said) if one.score.kind == "drift"]
    assert drifts
    assert said[drifts[0]].score.method == "model"
    assert {one.score.method for one in said[drifts[0] + 1 : drifts[0] + 400]} == {"rule"}


def test_without_a_limit_a_troubled_model_goes_on_with_half_its_confidence() -> None:
    models = SeriesModels(ModelSettings())
    models.update(steady(600))
    models.update([point(NAMES[0], 600, math.nan)])
    said = models.update([point(NAMES[0], 601, 300.0)])[0].score
    assert said.is_alarm
    assert said.method == "model"
    assert said.confidence < 0.4


def test_the_kill_switch_leaves_the_rule_and_learns_nothing() -> None:
    models = SeriesModels(ModelSettings(series=False))
    said = models.update([point(NAMES[0], number, 200.0, limit=150.0) for number in range(5)])
    assert [one.score.is_alarm for one in said] == [False, False, True, False, False]
    assert {one.score.method for one in said} == {"rule"}
    (row,) = models.health(0, 1)
    assert (row.state, row.fallback) == ("off", 1)


def test_changed_residuals_show_in_the_health() -> None:
    models = SeriesModels(ModelSettings())
    models.update(steady(9000))
    assert models.health(0, 1)[0].state == "healthy"
    draw = random.Random(8)
    models.update([point(NAMES[0], 9000 + number, 100 + draw.choice([-9, 9])) for number in range(1500)])
    (row,) = models.health(0, 2)
    assert row.state == "drifting"
    assert "stability index" in row.detail


def test_state_of_another_version_is_refused() -> None:
    state = msgspec.structs.replace(SeriesModels(ModelSettings()).snapshot(), version=99)
    with pytest.raises(StateError, match="version 99"):
        SeriesModels.from_snapshot(state, ModelSettings())


@pytest.mark.parametrize("bad", [{"alarms_per_week": 0}, {"max_series": 0}, {"young_points": -1}, {"calm_points": -1}])
def test_settings_that_cannot_be_meant_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{next(iter(bad))}"):
        msgspec.convert(bad, ModelSettings)
