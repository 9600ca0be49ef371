"""Promises that will be missed, and when: where orders stand, how long handoffs take now, and what follows of it."""

from collections.abc import Iterable, Sequence
from math import ceil, hypot
from random import Random
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.detectors.records import CANCELLED, ORDER_MOVED, ScopeFinding, Standing, Tally, scoped
from operators.incidents.incidents import IncidentOutput, Incidents
from operators.incidents.journeys import Journeys
from operators.incidents.paces import CURRENT_US, ENOUGH, Pace, Paces, PacesState
from operators.incidents.standings import Standings
from operators.process_lint import read_process_map
from operators.promise_path import promise_path
from operators.quantiles import sketch
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US
from schemas.errors import StateError
from schemas.incident_rows import Incident, IncidentOrder
from tests.harness import small_map
from tests.incident_streams import PROCESS, START_US, at, finding, incidents, only, order, resumed, touched

assert PROCESS is not None
PATH = promise_path(PROCESS)
NODE = {"node": "s1"}
LAST = len(PATH)
DISPATCH, DELIVERY = LAST - 2, LAST - 1


def pace(minute: float, link: int, scope: str, latencies_s: Iterable[float]) -> Pace:
    return Pace(at(minute), at(minute), PATH[link].name, scope, sketch(latencies_s))


def standing(minute: float, link: int, scope: str = "", since: float | None = None, **more: object) -> Standing:
    return Standing(at(minute), link, at(minute if since is None else since), scope, **more)  # type: ignore[arg-type]


def moved(minute: float, name: str, link: int, scope: str = "", **more: object) -> Tally:
    impact = msgspec.structs.replace(order(name), standing=standing(minute, link, scope, **more))
    return Tally(ORDER_MOVED, scoped(order=name), at(minute), at(minute), 1.0, 1.0, f"e-{name}-{minute}", impact)


def nearest_rank(q: float, values: Sequence[float]) -> float:
    return sorted(values)[max(0, ceil(q * len(values)) - 1)]


# --- the way ------------------------------------------------------------------------------------------------------


def test_the_way_to_the_promise_is_the_chain_of_handoffs_that_leads_there() -> None:
    assert [one.name for one in PATH] == ["order_approval", "allocation", "dispatch", "delivery"]


def test_without_a_chain_the_promise_is_the_only_handoff() -> None:
    assert [one.name for one in promise_path(small_map())] == ["promise"]


def test_a_map_without_a_promise_has_no_way() -> None:
    declared = read_process_map('name = "none"\n', "none.toml")
    assert declared.value is not None
    assert promise_path(declared.value) == ()


# --- how long handoffs take ---------------------------------------------------------------------------------------

_LATENCIES = st.lists(st.floats(1, 50_000), min_size=1, max_size=40)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 300), _LATENCIES), min_size=1, max_size=8), st.floats(0, 20_000))
def test_figures_are_those_of_the_passes_of_late_that_took_longer(
    windows: list[tuple[int, list[float]]], age_s: float
) -> None:
    """Against the plain samples; those within the sketch's accuracy of the age may fall on either side of it."""
    known, now = Paces(), 300
    known.hear(pace(minute, DISPATCH, "s1", latencies) for minute, latencies in windows)
    known.at(at(now))
    late = [one for minute, some in windows if at(minute) > at(now) - CURRENT_US for one in some]
    every = [one for _, some in windows for one in some]
    taken = late if len(late) >= ENOUGH else every if len(every) >= ENOUGH else []
    found = known.stretch(PATH[DISPATCH].name, "s1", age_s)
    if not taken:
        assert found is None
        return
    assert found is not None
    if any(abs(one - age_s) <= 0.03 * age_s for one in taken):
        return
    longer = [one for one in taken if one > age_s]
    if len(longer) < max(3, 0.02 * len(taken)):
        assert found.middle_s == pytest.approx(2 * age_s, rel=0.021)
        return
    low, middle, high = (nearest_rank(q, longer) for q in (0.1, 0.5, 0.9))
    assert found.middle_s == pytest.approx(middle, rel=0.011)
    assert found.error_s == pytest.approx((high - low) / 2, abs=0.011 * (high + low) / 2 + 1e-9)


def test_a_scope_of_which_little_is_known_takes_what_all_take() -> None:
    known = Paces()
    known.hear([pace(0, DISPATCH, "s1", [600.0] * 20), pace(0, DISPATCH, "s2", [6_000.0] * (ENOUGH - 1))])
    known.at(at(1))
    found = known.stretch(PATH[DISPATCH].name, "s2")
    assert found is not None
    assert found.middle_s == pytest.approx(600.0, rel=0.01)


def test_what_was_usual_is_taken_where_nothing_is_current() -> None:
    known = Paces()
    known.hear([pace(0, DISPATCH, "s1", [600.0] * 20)])
    known.at(at(0) + 3 * CURRENT_US)
    found = known.stretch(PATH[DISPATCH].name, "s1")
    assert found is not None
    assert found.middle_s == pytest.approx(600.0, rel=0.01)


def test_paces_of_another_version_are_refused() -> None:
    with pytest.raises(StateError, match="version 9"):
        Paces().restore(PacesState(9, {}))


# --- when an order arrives ----------------------------------------------------------------------------------------


def test_an_arrival_is_the_sum_of_medians_and_its_bound_the_root_of_squares() -> None:
    known = Paces()
    node, carrier = [100.0 * n for n in range(1, 41)], [300.0 * n for n in range(1, 31)]
    known.hear([pace(0, DISPATCH, "s1", node), pace(0, DELIVERY, "courier", carrier)])
    known.at(at(10))
    found = Journeys(PATH, known).arrival(standing(0, DISPATCH, "s1"), at(9_000), at(10))
    assert found is not None
    left = [one for one in node if one > 600]
    middle_s = nearest_rank(0.5, left) + nearest_rank(0.5, carrier)
    error_s = hypot(*((nearest_rank(0.9, some) - nearest_rank(0.1, some)) / 2 for some in (left, carrier)))
    assert (found.at_us - at(0)) / SECOND_US == pytest.approx(middle_s, rel=0.011)
    assert found.error_s == pytest.approx(error_s, rel=0.03)


def test_of_carriers_those_count_that_keep_to_the_time_that_the_promise_leaves_them() -> None:
    known = Paces()
    known.hear([pace(0, DISPATCH, "s1", [600.0] * 20)])
    known.hear([pace(0, DELIVERY, "counter", [300.0] * 20), pace(0, DELIVERY, "parcel", [80_000.0] * 60)])
    known.at(at(1))
    for_counter = standing(0, DISPATCH, "s1", dispatch_by_us=at(210))
    found = Journeys(PATH, known).arrival(for_counter, at(240), at(1))
    assert found is not None
    assert (found.at_us - at(0)) / SECOND_US == pytest.approx(900.0, rel=0.02)


def test_where_nothing_is_known_the_map_or_the_order_says_how_long_it_takes() -> None:
    journeys = Journeys(PATH, Paces())
    new = standing(0, 0, "web", dispatch_by_us=at(240))
    found = journeys.arrival(new, at(480), at(1))
    assert found is not None
    # 5 min and 5 min are the targets; the node has it out by dispatch_by; half of what is left is the carrier's.
    assert found.at_us == at(240 + 120)
    assert found.error_s == pytest.approx(hypot(600, 600, 230 * 60, 120 * 60))
    with_carrier = standing(0, DELIVERY, "parcel", expected_us=at(300))
    said = journeys.arrival(with_carrier, at(480), at(1))
    assert said is not None
    assert said.at_us == at(300)
    assert journeys.arrival(standing(0, DELIVERY, "parcel"), at(480), at(1)) is None


def test_a_carrier_that_puts_a_delivery_off_is_believed() -> None:
    known = Paces()
    known.hear([pace(0, DELIVERY, "parcel", [600.0] * 20)])
    known.at(at(1))
    found = Journeys(PATH, known).arrival(
        standing(0, DELIVERY, "parcel", expected_us=at(601), is_put_off=True), at(480), at(1)
    )
    assert found is not None
    assert (found.at_us, found.error_s) == (at(601), 600 * 60 / 4)


def test_standings_are_forgotten_some_time_after_the_order_is_over_and_beyond_the_bound() -> None:
    known = Standings(LAST, 24 * HOUR_US, 3)
    known.hear("done", standing(0, LAST), at(0))
    known.hear("open", standing(0, DISPATCH), at(0))
    known.hear("late", standing(200, DISPATCH), at(200))
    assert (known.get("done"), known.get("open") is not None) == (None, True)
    for number in range(3):
        known.hear(f"o{number}", standing(201, DISPATCH), at(201))
    assert len(known) == 3
    assert known.get("open") is None


# --- incidents ----------------------------------------------------------------------------------------------------


def story(rows: Iterable[IncidentOutput], name: str) -> list[tuple[int, int | None]]:
    """(minute, predicted minute) of an order, as it was written."""
    return [
        (
            round((row.arrival_us - START_US) / MINUTE_US),
            None if row.breach_predicted_at_us is None else round((row.breach_predicted_at_us - START_US) / MINUTE_US),
        )
        for row in rows
        if isinstance(row, IncidentOrder) and row.order_id == name
    ]


def test_a_promise_is_predicted_anew_as_handoffs_slow_down_until_the_order_is_there() -> None:
    operator = incidents()
    known = msgspec.structs.replace(order("o", promised=300), standing=standing(5, DELIVERY, "courier"))
    rows = operator.update([finding(10, "carrier_delay", {"carrier": "courier"}, [known])])
    operator.hear([], [pace(9, DELIVERY, "courier", [3_600.0] * 20)])
    rows += operator.advance(at(40))
    assert story(rows, "o") == [(10, None)], "an hour from minute 5 is in time"
    operator.hear([], [pace(40, DELIVERY, "courier", [7 * 3_600.0] * 60)])
    rows += operator.advance(at(60))
    (minute, predicted) = story(rows, "o")[-1]
    assert 40 <= minute <= 50
    assert predicted == pytest.approx(5 + 7 * 60, rel=0.02)
    assert only(rows).promises_at_risk == 1
    operator.hear([moved(70, "o", LAST)], [])
    rows += operator.advance(at(90))
    assert story(rows, "o")[-1] in [(minute, None) for minute in range(70, 80)]
    assert only(rows).promises_at_risk == 0


def test_an_order_that_came_too_late_is_told_with_the_time_it_came() -> None:
    operator = incidents()
    known = msgspec.structs.replace(order("o", promised=30), standing=standing(5, DELIVERY, "courier"))
    rows = operator.update([finding(10, "carrier_delay", {"carrier": "courier"}, [known])])
    operator.hear([moved(50, "o", LAST)], [])
    rows += operator.advance(at(90))
    last = touched(rows, only(rows).incident_id)["o"]
    assert (last.breach_predicted_at_us, last.breach_error_s) == (at(50), 0.0)


def test_an_order_that_went_on_before_it_was_named_stands_where_it_went() -> None:
    """A finding can name an order by what was known when it was counted."""
    operator = incidents()
    operator.hear([moved(8, "o", LAST)], [])
    old = msgspec.structs.replace(order("o", promised=60), standing=standing(1, DISPATCH, "s1"))
    rows = operator.update([finding(10, "picking_backlog", NODE, [old])])
    rows += operator.advance(at(11))
    assert story(rows, "o") == [(10, None)]


def test_a_cancelled_order_has_no_promise() -> None:
    operator = incidents()
    old = msgspec.structs.replace(order("o", promised=20), standing=standing(1, DISPATCH, "s1"))
    operator.hear([moved(15, "o", CANCELLED)], [pace(9, link, "", [3_600.0] * 20) for link in range(LAST)])
    rows = operator.update([finding(10, "picking_backlog", NODE, [old])])
    rows += operator.advance(at(30))
    assert [said is None for _, said in story(rows, "o")] == [False, True]


def test_orders_are_written_a_few_times_not_every_minute() -> None:
    operator = incidents()
    operator.hear([], [pace(1, link, "", [9 * 3_600.0 + n for n in range(60)]) for link in range(LAST)])
    old = [
        msgspec.structs.replace(order(f"o{n}", promised=60), standing=standing(1, DISPATCH, "s1")) for n in range(50)
    ]
    rows = operator.update([finding(10, "picking_backlog", NODE, old)])
    rows += operator.advance(at(500))
    assert len([row for row in rows if isinstance(row, IncidentOrder)]) == 50


# --- a function of the log ----------------------------------------------------------------------------------------


Log: TypeAlias = tuple[list[ScopeFinding], list[Tally], list[Pace]]
_EITHER = st.booleans()


@st.composite
def heard(draw: st.DrawFn) -> Log:
    """Findings that name orders, orders that go on, windows that end."""
    findings = [
        finding(
            minute,
            "picking_backlog",
            {"node": f"s{which}"},
            [
                msgspec.structs.replace(
                    order(f"o{number}", promised=30.0 * number), standing=standing(1, DISPATCH, f"s{which}")
                )
                for number in draw(st.lists(st.integers(0, 9), max_size=6, unique=True))
            ],
            name=f"{which}@{minute}",
        )
        for minute, which in draw(st.lists(st.tuples(st.integers(2, 60), st.integers(0, 3)), min_size=1, unique=True))
    ]
    moves = [
        moved(minute, f"o{number}", link, "s1")
        for minute, number, link in draw(
            st.lists(
                st.tuples(st.integers(2, 90), st.integers(0, 9), st.integers(-1, LAST)),
                max_size=20,
                unique_by=lambda one: one[:2],
            )
        )
    ]
    paces = [
        pace(minute, link, scope, [60.0 * minute * (link + 1)] * 12)
        for minute, link, scope in draw(
            st.lists(
                st.tuples(st.integers(0, 90), st.integers(0, LAST - 1), st.sampled_from(["s1", "s2"])),
                max_size=12,
                unique=True,
            )
        )
    ]
    return sorted(findings, key=lambda one: one.signal.arrival_us), moves, paces


def played(log: Log, cuts: Sequence[int], *, keep: bool) -> list[IncidentOutput]:
    """All rows, with time told at each cut and at minute 200, as the group tells it."""
    findings, moves, paces = log
    operator: Incidents = incidents()
    out: list[IncidentOutput] = []
    before_us = at(-1)
    for cut in (*sorted(cuts), 200):
        upto_us = at(cut)
        new = range(before_us, upto_us)
        operator.hear(
            [one for one in moves if one.arrival_us in new], [one for one in reversed(paces) if one.arrival_us in new]
        )
        out += operator.update([one for one in findings if one.signal.arrival_us in new])
        out += operator.advance(upto_us)
        before_us = upto_us
        if keep:
            operator = resumed(operator)
    return out


@settings(deadline=None, max_examples=60)
@given(
    log=heard(), cuts=st.lists(st.integers(0, 120), max_size=6), chance=st.randoms(use_true_random=False), keep=_EITHER
)
def test_rows_do_not_depend_on_cuts_order_or_kills(log: Log, cuts: list[int], chance: Random, *, keep: bool) -> None:
    findings, moves, paces = log
    mixed = list(moves)
    chance.shuffle(mixed)
    assert played((findings, mixed, paces), cuts, keep=keep) == played(log, [], keep=False)


def test_predictions_come_of_it() -> None:
    """The property above would hold of nothing, too."""
    some = [msgspec.structs.replace(order("o", promised=60), standing=standing(1, DISPATCH, "s1"))]
    paces = [pace(5, link, "s1", [9_000.0] * 12) for link in range(LAST)]
    rows = played(
        ([finding(10, "picking_backlog", NODE, some)], [moved(40, "o", DELIVERY, "s1")], paces), [], keep=False
    )
    assert [row.promises_at_risk for row in rows if isinstance(row, Incident)][-1] == 1
    assert len(story(rows, "o")) > 1
