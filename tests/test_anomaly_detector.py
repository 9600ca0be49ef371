"""The model of one series: what it must do with the kinds of series that a retailer has."""

import math
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.anomaly.detector import SeriesDetector
from operators.anomaly.detector_state import VERSION, pack, pack_pool, unpack, unpack_pool
from operators.anomaly.reach import BURN_IN
from operators.anomaly.score import Direction, Score
from operators.anomaly.season import Pool
from schemas.errors import StateError

STEP_US = 300_000_000
DAY = 288
START_US = 1_780_272_000_000_000  # a Monday, 00:00 UTC
VALUES = st.floats(-1e9, 1e9) | st.integers(0, 3).map(float)


def run(
    detector: SeriesDetector, values: Iterable[float], start: int = 0, direction: Direction = "both"
) -> list[Score]:
    return [
        detector.score(START_US + (start + number) * STEP_US, value, direction) for number, value in enumerate(values)
    ]


def alarms(scores: Iterable[Score]) -> list[Score]:
    return [score for score in scores if score.is_alarm]


def shop(points: int, seed: int = 1, start: int = 0, level: float = 100.0, noise: float = 0.05) -> list[float]:
    """A shop's day: quiet nights, busy days, quieter weekends."""
    draw = random.Random(seed)
    out = []
    for number in range(start, start + points):
        hour = number / 12 % 24
        weekend = number // DAY % 7 >= 5
        shape = 1 + 0.8 * math.sin(2 * math.pi * (hour - 9) / 24)
        out.append(level * shape * (0.6 if weekend else 1.0) * (1 + noise * draw.gauss(0, 1)))
    return out


@given(values=st.lists(VALUES, min_size=1, max_size=60), cut=st.integers(0, 60), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_resumed_model_scores_the_same(values: list[float], cut: int, data: st.DataObject) -> None:
    direction = data.draw(st.sampled_from(["both", "up", "down"]))
    whole, first = SeriesDetector(2.0), SeriesDetector(2.0)
    warm = shop(BURN_IN + 50)
    values = warm + values
    cut += BURN_IN
    expected = run(whole, values, direction=direction)
    before = run(first, values[:cut], direction=direction)
    after = run(unpack(pack(first), 2.0), values[cut:], cut, direction=direction)
    assert before + after == expected
    assert len(pack(first)) <= 4096


@given(prefix=st.lists(VALUES, max_size=40), one=VALUES, other=VALUES)
@settings(max_examples=50, deadline=None)
def test_a_point_is_judged_before_it_is_learnt(prefix: list[float], one: float, other: float) -> None:
    """What is expected, and the band, hang on the past alone."""
    first, second = SeriesDetector(), SeriesDetector()
    run(first, prefix)
    run(second, prefix)
    if not prefix:
        return
    said = run(first, [one], len(prefix))[0], run(second, [other], len(prefix))[0]
    assert (said[0].expected, said[0].lower, said[0].upper) == (said[1].expected, said[1].lower, said[1].upper)


@given(values=st.lists(VALUES, max_size=150), direction=st.sampled_from(["both", "up", "down"]))
@settings(max_examples=50, deadline=None)
def test_scores_are_finite_and_add_up(values: list[float], direction: Direction) -> None:
    for score in run(SeriesDetector(), shop(BURN_IN) + values, direction=direction):
        terms = score.terms
        assert score.surprise == pytest.approx(terms.novelty + terms.innovation + terms.level + terms.sustained)
        assert min(terms.novelty, terms.innovation, terms.level, terms.sustained) >= 0
        assert math.isfinite(score.surprise)
        assert score.lower <= score.expected <= score.upper
        assert score.anomaly_score in {score.surprise, 0.0}
        assert 0 <= score.confidence < 1


def test_a_larger_deviation_is_worse() -> None:
    said = []
    for off in (0, 30, 100, 300, 1000, 10_000):
        detector = SeriesDetector()
        values = shop(10 * DAY)
        run(detector, values[:-1])
        said.append(run(detector, [values[-1] + off], 10 * DAY - 1)[0].surprise)
    assert all(after > before for before, after in pairwise(said))


def test_a_spike_is_found_and_told_once() -> None:
    values = shop(14 * DAY)
    at = 12 * DAY + 150
    for number in range(at, at + 6):
        values[number] *= 4
    scores = run(SeriesDetector(), values)
    found = [number for number, score in enumerate(scores) if score.is_alarm and number >= 8 * DAY]
    assert found[0] == at
    assert scores[at].kind == "spike"
    assert len(found) == 1


def test_a_clean_season_makes_no_alarms_once_a_week_is_known() -> None:
    found = [s for s in run(SeriesDetector(), shop(35 * DAY, noise=0.03))[14 * DAY :] if s.is_alarm]
    assert len(found) <= 3  # the budget of three weeks


def test_a_missing_day_is_found_though_every_value_was_seen_before() -> None:
    """The night's level in the middle of the day: inside the range, wrong for the hour."""
    values = shop(14 * DAY)
    noon = 10 * DAY + 144  # a Thursday
    values[noon : noon + 36] = shop(36, seed=5, start=10 * DAY + 36)
    found = [number for number, score in enumerate(run(SeriesDetector(), values)) if score.is_alarm]
    assert any(noon <= number < noon + 3 for number in found)


@pytest.mark.parametrize("factor", [2.5, 0.3])
def test_a_level_shift_alarms_and_is_then_adapted_to(factor: float) -> None:
    values = shop(30 * DAY)
    at = 14 * DAY + 100
    values[at:] = [value * factor for value in values[at:]]
    scores = run(SeriesDetector(), values)
    first = alarms(scores[at : at + 36])
    assert first
    assert len(alarms(scores[at + 36 :])) <= 3  # sixteen days: hardly more than the budget
    late = scores[-2 * DAY :]
    inside = sum(score.lower <= score.value <= score.upper for score in late) / len(late)
    assert inside > 0.9


def test_a_slow_drift_is_told_as_drift() -> None:
    values = shop(60 * DAY, noise=0.03)
    values = [value * (1 + max(0, number - 20 * DAY) / DAY * 0.04) for number, value in enumerate(values)]
    found = alarms(run(SeriesDetector(), values)[20 * DAY :])
    assert "drift" in {score.kind for score in found}
    assert sum(score.kind != "drift" for score in found) <= 8  # under forty days' budget of six, plus two


def test_a_constant_series_is_quiet_until_it_moves() -> None:
    scores = run(SeriesDetector(), [5.0] * 1000 + [6.0] + [5.0] * 300)
    assert [number for number, score in enumerate(scores) if score.is_alarm] == [1000]
    assert max(score.surprise for score in scores[:1000]) == 0.0


def test_counts_near_zero_do_not_alarm_for_each_one() -> None:
    draw = random.Random(4)
    values = [float(draw.random() < 0.01) for _ in range(28 * DAY)]
    found = alarms(run(SeriesDetector(), values, direction="up")[7 * DAY :])
    assert len(found) <= 4
    burst = SeriesDetector()
    run(burst, values, direction="up")
    assert alarms(run(burst, [9.0, 11.0, 14.0], 28 * DAY, direction="up"))


@pytest.mark.parametrize(
    ("direction", "up", "down"), [("up", True, False), ("down", False, True), ("both", True, True)]
)
def test_only_the_bad_side_alarms(direction: Direction, up: bool, down: bool) -> None:
    for factor, wanted in ((5.0, up), (0.02, down)):
        detector = SeriesDetector()
        values = shop(14 * DAY, noise=0.02)
        run(detector, values[:-140], direction=direction)
        spike = [values[-140] * factor]
        assert bool(alarms(run(detector, spike, 14 * DAY - 140, direction))) == wanted


def test_what_is_too_small_to_matter_is_no_alarm() -> None:
    for least, wanted in ((0.0, True), (500.0, False)):
        detector = SeriesDetector()
        values = shop(10 * DAY)
        run(detector, values[:-1])
        at_us = START_US + (10 * DAY - 1) * STEP_US
        assert detector.score(at_us, values[-1] + 400, least=least).is_alarm is wanted


def test_a_gap_is_marked_and_does_not_alarm_by_itself() -> None:
    values = shop(21 * DAY)
    detector = SeriesDetector()
    run(detector, values[: 14 * DAY])
    later = run(detector, values[15 * DAY + 100 :], 15 * DAY + 100)
    assert later[0].kind == "gap"
    assert {score.kind for score in later[1:20]} == {"none"}
    assert later[0].confidence < later[1].confidence


def test_missing_windows_change_little() -> None:
    values = shop(21 * DAY)
    draw = random.Random(9)
    whole, holes = SeriesDetector(), SeriesDetector()
    run(whole, values)
    for number, value in enumerate(values):
        if draw.random() > 0.1:
            holes.score(START_US + number * STEP_US, value)
    one, other = run(whole, [0.0], 21 * DAY)[0], run(holes, [0.0], 21 * DAY)[0]
    assert other.expected == pytest.approx(one.expected, rel=0.1)


def test_summer_time_moves_with_the_sites_clock() -> None:
    zone = ZoneInfo("Europe/Berlin")
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    detector, draw, found = SeriesDetector(), random.Random(6), 0
    changed = datetime(2026, 3, 29, 1, tzinfo=UTC)
    while moment < changed + timedelta(days=5):
        local = moment.astimezone(zone)
        offset = local.utcoffset()
        assert offset is not None
        opened = 100.0 if 8 <= local.hour < 20 else 5.0
        score = detector.score(
            int(moment.timestamp() * 1e6),
            opened * (1 + 0.05 * draw.gauss(0, 1)),
            offset_us=offset // timedelta.resolution,
        )
        if moment >= changed:
            found += score.is_alarm
        moment += timedelta(minutes=5)
    assert found == 0


def test_a_young_sibling_takes_the_season_from_its_pool() -> None:
    """With a pool, the first morning rush is expected; alone it is a surprise."""
    pool = Pool()
    for seed in range(3):
        run(SeriesDetector(1.0, pool), shop(21 * DAY, seed=seed, level=50 * (seed + 1)))
    errors = {}
    for name, lent in (("alone", None), ("pooled", pool)):
        young = SeriesDetector(1.0, lent)
        first_day = run(young, shop(DAY, seed=9, start=21 * DAY, level=400, noise=0), 21 * DAY)[36:]
        off = [abs(score.expected - score.value) for score in first_day]
        errors[name] = sum(off) / len(off)
    assert errors["pooled"] < 0.6 * errors["alone"]


def test_confidence_grows_with_age() -> None:
    confidences = [score.confidence for score in run(SeriesDetector(), shop(1000))]
    assert confidences == sorted(confidences)
    assert confidences[10] < 0.1
    assert confidences[-1] > 0.8


def test_a_value_that_is_no_number_is_refused() -> None:
    detector = SeriesDetector()
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="must be finite"):
            detector.score(START_US, value)
    assert detector.seen == 0


def test_state_of_another_version_is_refused() -> None:
    packed = pack(SeriesDetector())
    with pytest.raises(StateError, match=f"reads version {VERSION}"):
        unpack(bytes([VERSION + 1]) + packed[1:], 1.0)
    with pytest.raises(StateError, match="bytes of knots"):
        unpack(packed[:-4], 1.0)
    with pytest.raises(StateError, match="version nothing"):
        unpack(b"", 1.0)
    with pytest.raises(StateError, match="pool of version"):
        unpack_pool(bytes([VERSION + 1]) + pack_pool(Pool())[1:])
    assert pack_pool(unpack_pool(pack_pool(Pool()))) == pack_pool(Pool())
