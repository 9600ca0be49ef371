"""Many series at once, as columns: the plain path's scores, health and snapshots, to the last bit."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.anomaly import series_models
from operators.anomaly.batch import judged as columns
from operators.anomaly.point import Point
from operators.anomaly.score import Direction
from operators.anomaly.season import Pool
from operators.anomaly.series_models import SeriesModels, SeriesModelsState
from operators.anomaly.settings import ModelSettings
from operators.anomaly.stability import BLOCK, Stability

HOUR_US = 3_600_000_000
START_US = 1_780_272_000_000_000
#: Hourly points: mature after a week, beyond the burn-in in nine days.
GROWN = 216
SERIES = 36
DIRECTIONS: tuple[Direction, ...] = ("both", "up", "down")
CHOSEN = ModelSettings(alarms_per_week=20.0, calm_points=4)


def usual(series: int, hour: int, draw: random.Random) -> float:
    """What a series of its kind has at an hour: a season, a constant, a rare count, a wild one, one that drifts."""
    rush = 100 * (1 + 0.8 * math.sin(2 * math.pi * (hour % 24 - 9) / 24))
    return (
        rush * (1 + 0.05 * draw.gauss(0, 1)),
        5.0,
        float(draw.random() < 0.05),
        rush + 300 * (draw.random() < 0.02),
        draw.gauss(0, 10),
        rush * (1 + hour / 24),
    )[series % 6]


def point(series: int, at_us: int, value: float) -> Point:
    return Point(
        (("backlog", "latency", "demand")[series % 3], f"s{series}"),
        ("", "p", "q")[series // 6 % 3],
        at_us,
        value,
        DIRECTIONS[series // 2 % 3],
        5.0 * (series % 4 == 3),
        (None, 150.0, 4.0)[series // 3 % 3],
        HOUR_US // 3 * (series % 5 == 4),
    )


@contextmanager
def columns_from(few: int) -> Iterator[None]:
    before = series_models.FEW
    series_models.FEW = few
    try:
        yield
    finally:
        series_models.FEW = before


ONE_BY_ONE, TOGETHER = 10**9, 1


@cache
def grown() -> bytes:
    """Snapshot of series of all kinds and ages, grown one by one: some young, one sparse, one silent for days."""
    models, draw = SeriesModels(CHOSEN), random.Random(7)
    with columns_from(ONE_BY_ONE):
        for hour in range(GROWN):
            models.update(
                [
                    point(series, START_US + hour * HOUR_US, usual(series, hour, draw))
                    for series in range(SERIES)
                    if hour >= 6 * series - 60 and (series % 11 or draw.random() < 0.5) and (series != 8 or hour < 150)
                ]
            )
    return msgspec.msgpack.encode(models.snapshot())


def again(kept: bytes, chosen: ModelSettings = CHOSEN) -> SeriesModels:
    return SeriesModels.from_snapshot(msgspec.msgpack.decode(kept, type=SeriesModelsState), chosen)


VALUE = (
    st.floats(-1e9, 1e9)
    | st.sampled_from([0.0, -0.0, 5.0, 1.0, math.nan, math.inf, 1e-30, -1e20])
    | st.integers(0, 200).map(float)
)
#: Of the series told: a value of its own, or the usual one.
TICK = st.tuples(
    st.sampled_from([0, 1, HOUR_US // 2, HOUR_US, HOUR_US, 7 * HOUR_US, 30 * HOUR_US]),
    st.dictionaries(st.integers(0, SERIES + 3), VALUE | st.none(), max_size=SERIES),
    st.booleans(),
)


def log(ticks: Sequence[tuple[int, dict[int, float | None], bool]], seed: int) -> list[Point]:
    """Points of the ticks; with `everybody` the series that nothing is told of have their usual values."""
    draw, at_us, out = random.Random(seed), START_US + GROWN * HOUR_US, []
    for step_us, told, everybody in ticks:
        at_us += step_us
        hour = (at_us - START_US) // HOUR_US
        for series in range(SERIES) if everybody else told:
            value = told.get(series)
            out.append(point(series, at_us, usual(series, hour, draw) if value is None else value))
    return out


def said_by(models: SeriesModels, points: Sequence[Point], few: int, cuts: Sequence[int] = ()) -> tuple[str, bytes]:
    """What is said and what is kept; restored from a snapshot at each cut."""
    with columns_from(few):
        said = []
        for begin, end in zip([0, *cuts], [*cuts, len(points)], strict=True):
            said += models.update(points[begin:end])
            if end < len(points):
                models = again(msgspec.msgpack.encode(models.snapshot()))
        kept = msgspec.msgpack.encode(models.snapshot())
        return repr([said, models.health(0, 1), models.take_dropped()]), kept


@given(ticks=st.lists(TICK, max_size=8), seed=st.integers(0, 99), is_new=st.booleans(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_together_is_one_by_one(
    ticks: list[tuple[int, dict[int, float | None], bool]], seed: int, is_new: bool, data: st.DataObject
) -> None:
    """Any mix of young, old, sparse and constant series, gaps, values that are no numbers, cuts and restarts."""
    points = log(ticks, seed)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(points)), max_size=3)))
    begin: Callable[[], SeriesModels] = (lambda: SeriesModels(CHOSEN)) if is_new else (lambda: again(grown()))
    expected = said_by(begin(), points, ONE_BY_ONE)
    assert said_by(begin(), points, TOGETHER) == expected
    assert said_by(begin(), points, TOGETHER, cuts) == expected
    assert said_by(begin(), points, series_models.FEW, cuts) == expected


def test_whole_weeks_together_are_one_by_one() -> None:
    """Long enough for drifts, alarms, drawn-in thresholds, trouble that ends and pools that lend."""
    draw, points = random.Random(3), []
    for hour in range(GROWN, GROWN + 600):
        for series in range(SERIES):
            if series % 9 == 2 and 400 < hour - GROWN < 430:
                continue
            value = usual(series, hour, draw)
            if hour > GROWN + 200 and series % 4 == 0:
                value = 3 * value + (hour - GROWN - 200) / 24 * 15
            points.append(point(series, START_US + hour * HOUR_US, value))
    expected = said_by(again(grown()), points, ONE_BY_ONE)
    assert said_by(again(grown()), points, TOGETHER) == expected
    scores = [one.score for one in again(grown()).update(points)]
    assert {one.kind for one in scores if one.is_alarm} == {"spike", "drift"}
    assert {one.kind for one in scores} == {"spike", "drift", "gap", "none"}
    assert {one.method for one in scores} == {"model", "rule"}


def test_beyond_the_bound_together_is_one_by_one() -> None:
    """A series that takes the place of another in the middle of a tick, and the last of a pool among those."""
    few = msgspec.structs.replace(CHOSEN, max_series=20)
    points = [
        point(series, START_US + hour * HOUR_US, float(hour * series % 7)) for hour in range(9) for series in range(24)
    ]
    expected = said_by(SeriesModels(few), points, ONE_BY_ONE)
    assert said_by(SeriesModels(few), points, TOGETHER) == expected
    assert len(SeriesModels(few).update(points)) == len(points)


def test_many_points_go_together_and_few_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(*given: object) -> object:
        sizes.append(len(given[2]))  # type: ignore[arg-type] # the points
        return columns.judge(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(series_models, "judge", counted)
    few = series_models.FEW
    tick = [point(series, START_US, 1.0) for series in range(few)]
    SeriesModels(CHOSEN).update(tick[:-1])
    assert sizes == []
    SeriesModels(CHOSEN).update([*tick, *tick[:-1]])
    assert sizes == [few]


def test_a_pool_outlives_the_sibling_that_is_replaced_by_another() -> None:
    one = SeriesModels(msgspec.structs.replace(CHOSEN, max_series=1))
    one.update([Point(("backlog", "a"), "p", START_US, 1.0)])
    pool = one._bank.pools["p"]
    one.update([Point(("backlog", "b"), "p", START_US, 1.0)])
    assert one._bank.pools == {"p": pool}
    one.update([Point(("backlog", "c"), "", START_US, 1.0)])
    assert one._bank.pools == {}


@given(
    ratios=st.lists(st.none() | st.floats(0, 1e6), max_size=20),
    share=st.sampled_from([0.0, 0.25, 0.5]),
    hour=st.just(5),
)
@settings(max_examples=50, deadline=None)
def test_siblings_of_one_time_follow_each_other(ratios: list[float | None], share: float, hour: int) -> None:
    one, other = Pool(), Pool()
    expected = []
    for ratio in ratios:
        expected.append(one.shape(hour, hour + 1, share))
        if ratio is not None:
            one.learn(hour, hour + 1, share, ratio)
    assert other.follow(hour, hour + 1, share, ratios) == expected
    assert other.knots == one.knots


@given(cuts=st.lists(st.integers(0, 2 * BLOCK), max_size=4), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_residuals_learnt_together_are_those_learnt_one_by_one(cuts: list[int], seed: int) -> None:
    residuals = np.random.default_rng(seed).normal(0, 0.5, 5 * BLOCK // 2).round(2)
    one, other = Stability(), Stability()
    for residual in residuals.tolist():
        one.learn(residual)
    for part in np.split(residuals, sorted(cuts)):
        other.learn_all(part)
    assert [getattr(one, name) for name in Stability.__slots__] == [
        getattr(other, name) for name in Stability.__slots__
    ]
