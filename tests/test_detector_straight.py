"""The straight ways of judging by scope against the plain ones: the same findings, the same state."""

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as config
from hypothesis import strategies as st

from operators.anomaly.vector import VectorModel
from operators.detectors import adjustments, picking, routing_watch
from operators.detectors.age_watch import AgeRule, AgeState, AgeWatch
from operators.detectors.ageing import age_metrics
from operators.detectors.events import CELL_US
from operators.detectors.policy import Policy
from operators.detectors.rates import Judged, RateRule, RateState, RateWatch, Seen, surprise_of_share
from operators.detectors.records import Impact, Scoped, ScopeFinding, Tally, scoped
from operators.detectors.routing import Route, RoutingRule
from operators.detectors.routing_watch import Allocated, RoutingState, RoutingWatch
from operators.detectors.scopes import Cell, ScopeDetector, ScopeDetectors, ScopeDetectorsState
from operators.incidents.stretches import POINTS
from operators.incidents.survival import Survival
from operators.quantiles import GAMMA, ZERO_BUCKET
from schemas.durations import HOUR_US, MINUTE_US, Duration
from tests.logs import START_US

WEB = scoped(channel="web")
START = START_US // CELL_US
RULE = RateRule(window=Duration(10 * MINUTE_US), least=4, share=0.2, score=3, quiet=Duration(5 * MINUTE_US))
AGES = tuple(minutes * MINUTE_US for minutes in (5, 10, 30, 60))
AGE_RULE = AgeRule(
    window=Duration(20 * MINUTE_US), least=3, share=0.2, score=2.0, quiet=Duration(8 * MINUTE_US), learnt=10.0
)


def words(seen: Seen) -> tuple[str, str, str]:
    return f"at most {seen.usual:.3%}", f"{seen.bad:g} of {seen.total:g} in {seen.within}", f"{seen.cases} orders."


class PlainRates(RateWatch):
    """Looks at every window, at each of its ends by itself, and lets cells leave it in steps."""

    def is_clean(self, state: RateState, rule: RateRule, number: int) -> bool:
        del state, rule, number
        return False

    @staticmethod
    def _has_few(state: RateState, rule: RateRule) -> bool:
        del state, rule
        return False

    def _most_surprising(self, state: RateState, rule: RateRule, number: int, width: int) -> tuple[int, Judged]:
        return plain_most(self, state, rule, number, width)

    def _slide(self, state: RateState, oldest: int, rule: RateRule) -> None:
        plain_slide(state, oldest, rule, counts=self._counts, most=float("inf"))


def plain_most(watch: RateWatch, state: RateState, rule: RateRule, number: int, width: int) -> tuple[int, Judged]:
    ends = [width, *(1 << power for power in range(width.bit_length()) if 1 << power < width)]
    judged = [(end, watch._over(state, rule, number, end)) for end in ends]
    if judged[0][1].bad < rule.least:
        return judged[0]
    return max((one for one in judged if one[1].bad >= rule.least), key=lambda one: one[1].score)


def plain_slide(state: RateState, oldest: int, rule: RateRule, *, counts: bool, most: float) -> None:
    gone = [one for one in state.cells if one[0] <= oldest]
    if not gone:
        return
    state.cells = [one for one in state.cells if one[0] > oldest]
    state.recent = [one for one in state.recent if one[0] >= oldest * CELL_US]
    for number, bad, total in gone if not state.opened_us else ():
        part = most / total if total > most else 1.0
        if state.learnt:
            fade = exp(-log(2) * (number - state.learnt) * CELL_US / rule.memory)
            state.usual_bad, state.usual_total = state.usual_bad * fade, state.usual_total * fade
        state.usual_bad += bad if part == 1.0 else bad * most / total
        state.usual_total += 1.0 if counts else min(total, most)
        if counts and state.learnt:
            state.usual_total += min(number - state.learnt - 1, rule.memory // CELL_US)
        state.learnt = number


class PlainAges(AgeWatch):
    """Judges every age in full."""

    def _too_many(
        self, age: RateState, rule: AgeRule, number: int, width: int, least: float
    ) -> tuple[int, Judged] | None:
        span, judged = plain_most(self, age, rule, number, width)
        high = judged.bad >= least and judged.share >= judged.bar and judged.score >= rule.score
        return (span, judged) if high and len({one[0] // CELL_US for one in age.recent}) >= 3 else None

    def _slide(self, state: RateState, oldest: int, rule: RateRule) -> None:
        plain_slide(state, oldest, rule, counts=False, most=10.0)

    def naming_age(self, state: AgeState, rule: AgeRule) -> int:
        for index, age in enumerate(state.ages):
            clear = self.is_known(age, index, rule) and self._usual(age, rule, 1) <= rule.named_usual
            if self._ages[index] >= rule.named_from and clear:
                return index
        later = [index for index, age in enumerate(self._ages) if age >= rule.named_from]
        return later[0] if later else len(self._ages) - 1


def run(
    detector: ScopeDetector, days: Sequence[list[Tally]], resumed: Iterable[int] = (), seed: int = 0
) -> tuple[list[ScopeFinding], bytes]:
    """What is found, and what is kept in the end; in any order, resumed from a snapshot where that is said."""
    host, out, chance, again = ScopeDetectors([detector]), [], random.Random(seed), set(resumed)
    for minute, some in enumerate(days):
        host.update(chance.sample(some, len(some)))
        if minute in again:
            state = msgspec.msgpack.encode(host.snapshot())
            host = ScopeDetectors([detector])
            host.restore(msgspec.msgpack.decode(state, type=ScopeDetectorsState))
        out += host.advance((START + minute + 1) * CELL_US)
    return out, msgspec.msgpack.encode(host.snapshot())


def told(metric: str, minute: int, bad: int, good: int) -> list[Tally]:
    at = (START + minute) * CELL_US
    found = [
        Tally(metric, WEB, at + n % 3, at - n, 1.0, 1.0, f"e{minute}-{n}", Impact(f"o{minute}-{n % 7}"), f"r{n % 2}")
        for n in range(bad)
    ]
    return [*found, Tally(metric, WEB, at, at, 0.0, float(good))] if good else found


MINUTES = st.lists(st.tuples(st.integers(0, 12), st.sampled_from([0, 0, 0, 1, 2, 5]), st.integers(0, 40)), max_size=60)


@config(deadline=None)
@given(MINUTES, st.booleans(), st.sets(st.integers(0, 200), max_size=4))
def test_rates_are_judged_as_by_a_look_at_every_window_and_end(
    minutes: list[tuple[int, int, int]], counts: bool, resumed: set[int]
) -> None:
    days: list[list[Tally]] = []
    for gap, bad, good in minutes:
        days += [[]] * gap
        days.append(told("rate", len(days), bad, good))
    days += [[]] * 20
    policy = Policy(RULE, [], {}, "capture.incomplete")
    plain = PlainRates("capture", "incomplete_orders", "rate", policy, words, counts=counts)
    straight = RateWatch("capture", "incomplete_orders", "rate", policy, words, counts=counts)
    assert run(straight, days, resumed, seed=1) == run(plain, days)


@config(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, 1, 4]),
            st.lists(st.tuples(st.integers(1, 3), st.sampled_from([0, 1, 1, 2, 5]), st.integers(0, 4)), max_size=3),
        ),
        max_size=60,
    ),
    st.sets(st.integers(30, 150), max_size=4),
)
@example([(0, [(2, 1, 0)])] * 3 + [(0, [])] * 20, {33})
@example([(0, [(2, 6, 0), (3, 6, 0)])] * 8 + [(0, [(1, 0, 9)])] * 40, {40})
def test_ages_are_judged_as_by_a_look_at_each(
    minutes: list[tuple[int, list[tuple[int, int, int]]]], resumed: set[int]
) -> None:
    metrics = age_metrics("wait", len(AGES))
    days = [usual_minute(minute) for minute in range(30)]
    for gap, some in minutes:
        days += [[]] * gap
        heard = told(metrics[-1], len(days), 0, 5)
        days.append([*heard, *(one for age, bad, good in some for one in told(metrics[age], len(days), bad, good))])
    days += [told(metrics[-1], len(days) + n, 0, 5) for n in range(30)]
    policy = Policy(AGE_RULE, [], {}, "warehouse.backlog")
    plain = PlainAges("late", "picking_backlog", "wait", AGES, policy, words)
    straight = AgeWatch("late", "picking_backlog", "wait", AGES, policy, words)
    assert run(straight, days, resumed, seed=1) == run(plain, days)


def usual_minute(minute: int) -> list[Tally]:
    """A minute in which nothing is late."""
    metrics = age_metrics("wait", len(AGES))
    return [one for metric, good in zip(metrics, (9, 5, 5, 5, 5), strict=True) for one in told(metric, minute, 0, good)]


def test_as_many_as_are_asked_for_are_found_and_it_is_over_when_few_are_late() -> None:
    metrics, late = age_metrics("wait", len(AGES)), range(40, 60)
    days = [[*usual_minute(n), *told(metrics[2], n, 12 if n in late else 0, 0)] for n in range(100)]
    policy = Policy(AGE_RULE, [], {}, "warehouse.backlog")
    found, _ = run(AgeWatch("late", "picking_backlog", "wait", AGES, policy, words), days)
    assert [found[0].signal.closed_at_us, found[0].signal.found_at_us] == [None, (START + 43) * CELL_US]
    assert found[-1].signal.closed_at_us == (START + 68) * CELL_US
    few = [[*told(metrics[-1], n, 0, 5), *told(metrics[2], n, n > 70, 0)] for n in range(40, 80)]
    found, _ = run(
        AgeWatch("late", "picking_backlog", "wait", AGES, policy, words), [*(usual_minute(n) for n in range(40)), *few]
    )
    assert found[0].signal.found_at_us == (START + 74) * CELL_US, "with the third"


NAMES = st.text(st.sampled_from("\0\1\2ab"), max_size=3)
SCOPES = st.lists(st.tuples(NAMES, NAMES), max_size=3).map(tuple)


class _Order(ScopeDetector):
    """Says in which order it is asked."""

    METRICS = ("rate",)
    State = RateState

    def __init__(self, name: str, asked: list[tuple[str, Scoped]]) -> None:
        self.NAME = name  # type: ignore[misc] # as others are
        self._asked = asked

    def judge(self, scope: Scoped, state: Any, cells: Mapping[str, Cell], end_us: int) -> list[ScopeFinding]:  # noqa: ANN401 - as its base
        del state, cells, end_us
        self._asked.append((self.NAME, scope))
        return []

    def idle(self, state: Any) -> bool:  # noqa: ANN401 - as its base
        return state is not None


@given(st.lists(SCOPES, max_size=8))
def test_scopes_are_judged_in_their_order_detector_by_detector(scopes: list[Scoped]) -> None:
    asked: list[tuple[str, Scoped]] = []
    host = ScopeDetectors([_Order("a", asked), _Order("b", asked)])
    host.update([Tally("rate", scope, START_US, START_US, 0.0, 1.0) for scope in scopes])
    host.advance(START_US + HOUR_US)
    assert asked == sorted((name, scope) for name in "ab" for scope in set(scopes))


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 4, st.sampled_from(["", "x", "y"])), max_size=12), st.randoms())
def test_a_cell_is_what_all_its_tallies_say(some: list[tuple[int, int, int, int, str]], chance: random.Random) -> None:
    tallies = [
        Tally("rate", WEB, START_US + now, START_US + at, float(bad), float(total), name, None, name)
        for now, at, bad, total, name in some
    ]
    cell = Cell()
    for tally in chance.sample(tallies, len(tallies)):
        cell.add(tally)
    cell.settle()
    bad = [one for one in tallies if one.bad]
    assert (cell.bad, cell.total) == (sum(one.bad for one in bad), sum(one.total for one in tallies))
    assert cell.region == max((one.region for one in tallies), default="")
    assert cell.largest == max((one.bad for one in bad), default=0.0)
    assert (cell.last_us, cell.last) == max(((one.arrival_us, one.bad) for one in bad), default=(0, 0.0))
    assert cell.first_at_us == min((one.at_us for one in bad), default=0)
    named = Counter((one.arrival_us, one.at_us, one.event_id, None) for one in bad if one.event_id)
    assert Counter(cell.members) == named
    assert [(one[0], one[2]) for one in cell.members] == sorted((one[0], one[2]) for one in cell.members)


@given(
    st.dictionaries(st.sampled_from((*picking._LATE, *picking._STILL, "pick_queued", "pick_begun")), st.integers(1, 9))
)
def test_a_minute_of_picks_is_counted_age_by_age(totals: dict[str, int]) -> None:
    cells = {metric: Cell(many / 2, float(many)) for metric, many in totals.items()}
    still = [cells.get(metric, Cell()).total for metric in picking._STILL]
    late = [cells.get(metric, Cell()).bad for metric in picking._LATE[:-1]]
    at_age = dict(zip((*picking._COUNTED, *picking._JUDGED), (*still, *late), strict=True))
    first = [float(totals.get(metric, 0)) for metric in ("pick_queued", "pick_begun")]
    assert picking._counted(cells) == [*first, at_age[picking._JUDGED[-1]], *(at_age[age] for age in picking._PACED)]


@given(
    st.dictionaries(st.integers(900, 1000), st.tuples(st.integers(0, 9), st.integers(0, 9))),
    st.sampled_from([0.5, 0.93, 1.0]),
    st.integers(1, 15),
)
def test_changes_that_were_told_are_those_of_the_minutes(
    some: dict[int, tuple[int, int]], ratio: float, after: int
) -> None:
    minutes = [
        adjustments.Minute(number, float(moves), echoes={"erp": float(echoes)} if echoes else {}, levels={})
        for number, (moves, echoes) in sorted(some.items())
    ]
    number, spans = 1000, adjustments._SPANS
    sums = adjustments._Sums(adjustments._Moves(minutes, number - after - max(spans)), "erp")
    expected = []
    for span in spans:
        begins = number - after - span
        wanted = sum(one.moves for one in minutes if begins < one.number <= number - after) * ratio
        heard = sum(one.echoes.get("erp", 0.0) for one in minutes if one.number > begins)
        expected.append((wanted, wanted - heard))
    assert sums.all_told(ratio, number - after) == expected
    assert [sums.told(ratio, number - after, span) for span in spans] == expected


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.sampled_from(["right", "wrong", "wrong", "unsaid"]), st.sampled_from(["", "n", "s"])
        ),
        max_size=60,
    )
)
def test_values_are_judged_over_all_that_is_left(some: list[tuple[int, str, str]]) -> None:
    rule = RoutingRule(least=2, share=0.1, times=1.1, score=0.1, usual=0.01, sold_out=50.0)
    left = [
        Allocated(cell, cell, Route(f"e{at}", region, "web", "n1", "n2", f"k{at}", verdict), None)
        for at, (cell, verdict, region) in enumerate(sorted(some))
    ]
    watch, state = RoutingWatch(Policy(rule, [], {}, "routing.elsewhere")), RoutingState(window=left)
    usual = 0.01  # nothing was seen before, and too little of any item goes astray to be sold out
    known = []
    for dimension, field in (("region", "region"), ("node", "expected"), ("channel", "channel")):
        for value in sorted({getattr(one.route, field) for one in left} - {""}):
            mine = [one.route.verdict == "wrong" for one in left if getattr(one.route, field) == value]
            score = surprise_of_share(sum(mine), len(mine), usual)
            if sum(mine) >= 2 and sum(mine) >= 0.1 * len(mine) and score >= 0.1:
                known.append((score, (dimension, value), 0.1, usual))
    found = watch._most_surprising(state, left)
    assert found == max(known, key=lambda one: one[0], default=None)
    ends = [left[bisect_right(left, end, key=routing_watch._cell) :] for end in range(41)]
    assert ends == [[one for one in left if one.cell > end] for end in range(41)]


@given(st.integers(2, 12), st.integers(0, 400), st.integers(0, 1000))
def test_the_shrunk_covariance_is_that_of_the_whole_matrix(metrics: int, seen: int, seed: int) -> None:
    model, draw = VectorModel(metrics), np.random.default_rng(seed)
    for vector in draw.normal(0, 1.0, (min(seen, 20), metrics)):
        model.score(vector)
    model.seen = seen
    rows, columns = np.triu_indices(metrics)
    whole = np.empty((metrics, metrics))
    whole[rows, columns] = whole[columns, rows] = model.upper
    share = min(1.0, max(0.02, metrics / (seen + 1.0)))
    diagonal = np.maximum(np.diag(whole), 1e-6)
    assert np.array_equal(model.covariance, whole)
    assert np.array_equal(model._shrunk(), (1.0 - share) * whole + np.diag(share * diagonal))


@given(
    st.lists(st.tuples(st.integers(-50, 400), st.floats(0.05, 0.99)), max_size=12, unique_by=lambda one: one[0]),
    st.integers(ZERO_BUCKET, 400),
    st.floats(0.01, 1.0),
    st.sampled_from([0.0, 0.001]),
)
def test_what_is_left_of_a_pass_is_found_age_by_age(
    some: list[tuple[int, float]], age: int, share: float, rate: float
) -> None:
    ages = tuple(index for index, _ in sorted(some))
    left = tuple(np.cumprod([part for _, part in sorted(some)]).tolist())
    alive = next((one for at, one in reversed(list(zip(ages, left, strict=True))) if at <= age), 1.0)
    old_s = _seconds(age)
    expected = []
    for place in range(POINTS):
        wanted = alive * (1.0 - (place + 0.5) / POINTS * share)
        fallen = next((at for at, one in zip(ages, left, strict=True) if one <= wanted), None)
        if fallen is not None:
            expected.append(max(_seconds(fallen), old_s))
            continue
        oldest_s = max(_seconds(ages[-1]) if ages else 0.0, old_s)
        mean_s = min(oldest_s, 1.0 / rate) if rate else oldest_s
        expected.append(oldest_s + log((left[-1] if left else 1.0) / wanted) * mean_s)
    rest = Survival(ages, left, rate).rest(age, share)
    assert rest.points == tuple(expected)
    assert rest.at_least(100.0).points == tuple(max(100.0, one) for one in expected)
    away = sorted(abs(one - expected[POINTS // 2]) for one in expected)
    assert rest.error_s == pytest.approx((away[19] + away[20]) / 2)


def _seconds(index: int) -> float:
    return 0.0 if index <= ZERO_BUCKET else 2 * GAMMA**index / (GAMMA + 1)
