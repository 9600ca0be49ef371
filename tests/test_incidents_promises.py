"""Promises that will be missed, and when: where orders stand, how long handoffs take now, and what follows of it."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import ceil, hypot, log
from random import Random
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.detectors.events import EventDetectors
from operators.detectors.order_book import OrderBook
from operators.detectors.records import CANCELLED, ORDER_MOVED, ScopeFinding, Standing, Tally, scoped
from operators.incidents.incidents import IncidentOutput, Incidents
from operators.incidents.journeys import Journeys
from operators.incidents.paces import CURRENT_US, ENOUGH, TOO_FEW, Pace, Paces, PacesState
from operators.incidents.standings import Standings
from operators.incidents.stretches import Stretch
from operators.incidents.survival import NOTHING_SEEN, PRIOR, Seen, survival
from operators.process_lint import read_process_map
from operators.promise_path import promise_path
from operators.quantiles import bucket, sketch
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US, rfc3339
from schemas.errors import StateError
from schemas.events import Arrived, Event
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


def moved(
    minute: float, name: str, link: int, scope: str = "", *, promised: float | None = None, **more: object
) -> Tally:
    impact = msgspec.structs.replace(
        order(name, promised=promised), standing=standing(minute, link, scope, None, **more)
    )
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


def passes_as_windows(passes: Sequence[tuple[int, int | None]], until: int) -> list[Pace]:
    """The windows of passes (begin in s, latency in s or None) that a scope has, five minutes each, up to `until` s."""
    out = []
    for end in range(300, until + 1, 300):
        ended = [latency for begin, latency in passes if latency is not None and end - 300 <= begin + latency < end]
        started = sum(end - 300 <= begin < end for begin, _ in passes)
        under_way = [begin for begin, latency in passes if begin < end and (latency is None or begin + latency >= end)]
        if ended or started or under_way:
            end_us, oldest = START_US + end * SECOND_US, min(under_way, default=None)
            oldest_us = None if oldest is None else START_US + oldest * SECOND_US
            name, counts = PATH[DELIVERY].name, sketch(ended)
            out.append(
                Pace(end_us, end_us, name, "courier", counts, started, 300 * SECOND_US, len(under_way), oldest_us)
            )
    return out


_PASSES = st.lists(
    st.tuples(st.integers(0, 20_000), st.one_of(st.none(), st.integers(1, 12_000))), min_size=10, max_size=60
)


@settings(deadline=None, max_examples=100)
@given(_PASSES, st.integers(1, 80))
@example([*[(300, None)] * 8, (0, 751), (300, 152)], 3)
@example([*[(0, None)] * 7, (900, None), (1800, 1340), (2100, 152)], 11)
def test_passes_under_way_are_known_from_what_began_and_ended(
    passes: list[tuple[int, int | None]], windows: int
) -> None:
    """As many as there are, and nearly all as old, to the length of a window and the sketch's 1 %."""
    until = 300 * windows
    known = Paces()
    known.hear(passes_as_windows(passes, until))
    if not len(known):
        return
    place = known.snapshot().places[PATH[DELIVERY].name]["courier"]
    found = [
        until - (end_us / SECOND_US - START_US / SECOND_US)
        for end_us, count in sorted(place.under_way.items(), reverse=True)
        for _ in range(max(0, count))
    ]
    there = sorted(
        until - begin for begin, latency in passes if begin < until and (latency is None or begin + latency >= until)
    )
    assert len(found) == len(there) == place.backlog
    far = sum(abs(age - real) > 600 + 0.03 * 12_000 for age, real in zip(found, there, strict=True))
    assert far <= 1 + len(there) // 10


def test_a_window_that_is_corrected_counts_as_corrected() -> None:
    passes = [(n * 60, 900 if n % 2 else None) for n in range(40)]
    right, early = passes_as_windows(passes, 3_600), passes_as_windows(passes[::2], 3_600)
    plain, corrected = Paces(), Paces()
    plain.hear(right)
    corrected.hear(early)
    last_us = early[-1].arrival_us + SECOND_US
    corrected.hear(msgspec.structs.replace(one, arrival_us=last_us) for one in right)
    for known in (plain, corrected):
        known.at(START_US + 3_601 * SECOND_US)
    name = PATH[DELIVERY].name
    assert corrected.stretch(name, "courier", 600.0) == plain.stretch(name, "courier", 600.0)


def test_a_delay_shows_before_anything_that_it_holds_up_has_ended() -> None:
    """Those that are over took 20 min; since an hour none has ended, and those under way are up to an hour older."""
    passes: list[tuple[int, int | None]] = [(60 * n, 1_200) for n in range(60)]
    passes += [(3_600 + 60 * n, None) for n in range(60)]
    known = Paces()
    known.hear(passes_as_windows(passes, 7_200))
    known.at(START_US + 7_200 * SECOND_US)
    ended_only = Paces()
    ended_only.hear(
        msgspec.structs.replace(one, started=0, backlog=0, length_us=0) for one in passes_as_windows(passes, 7_200)
    )
    ended_only.at(START_US + 7_200 * SECOND_US)
    name = PATH[DELIVERY].name
    found, naive = known.stretch(name, "courier", 600.0), ended_only.stretch(name, "courier", 600.0)
    assert found is not None
    assert naive is not None
    assert naive.points[-1] == pytest.approx(1_200, rel=0.02)
    assert sum(one > 3_600 for one in found.points) >= 0.3 * len(found.points)


# --- how long passes under way take -------------------------------------------------------------------------------


def oracle(seen: Sequence[Seen], usual: dict[int, int], age: int) -> float:
    """The product-limit estimate, written down from its definition: the share that takes longer than an age."""
    left = 1.0
    for at_age in sorted({bucket(one.to_s) for one in seen if one.ended} | set(usual)):
        if at_age > age:
            break
        mine = [one for one in seen if (one.from_s == 0 or bucket(one.from_s) < at_age) and bucket(one.to_s) >= at_age]
        ended = sum(one.count for one in mine if one.ended and bucket(one.to_s) == at_age)
        before = sum(count for index, count in usual.items() if index >= at_age)
        weight = min(before and sum(usual.values()), PRIOR)
        prior = weight * usual.get(at_age, 0) / (before + 1)
        left *= 1 - (ended + prior) / (sum(one.count for one in mine) + max(1.0, min(sum(usual.values()), PRIOR)))
    return left


_SEEN = st.builds(
    lambda begin, length, ended: Seen(begin, begin + length, 1.0, ended=ended),
    st.sampled_from([0.0, 0.0, 50.0, 900.0]),
    st.floats(1, 5_000),
    st.booleans(),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(_SEEN, min_size=1, max_size=30), st.lists(st.floats(1, 5_000), max_size=10), st.floats(0, 6_000))
def test_survival_is_the_product_limit_estimate(seen: list[Seen], before: list[float], age_s: float) -> None:
    some = [one for one in seen if one.from_s == 0 or bucket(one.from_s) < bucket(one.to_s)]
    curve, age = survival(seen, sketch(before)), bucket(age_s)
    at = bisect_right(curve.ages, age)
    assert (curve.left[at - 1] if at else 1.0) == pytest.approx(oracle(some, sketch(before), age))


def test_of_passes_that_are_all_over_it_is_the_share_of_those_that_took_longer_and_one_more() -> None:
    """1 - i / (n + 1) after the i-th of n: the distribution of the next of them."""
    curve = survival([Seen(0.0, 100.0 * n, 1.0, ended=True) for n in range(1, 10)], {})
    assert curve.left == pytest.approx([1 - n / 10 for n in range(1, 10)])


def test_of_what_is_known_nothing_of_it_lasts_as_long_again_in_the_mean() -> None:
    found = NOTHING_SEEN.rest(bucket(1_000.0))
    assert found.middle_s == pytest.approx(1_000 * (1 + log(2)), rel=0.02)
    assert found.error_s == pytest.approx(1_000 * log(2.5), rel=0.06)


@settings(deadline=None, max_examples=100)
@given(st.lists(_SEEN, min_size=12, max_size=40), st.integers(0, 10_000), st.integers(1, 5_000))
def test_what_is_left_is_longer_than_the_age_and_within_the_most(seen: list[Seen], age_s: int, more_s: int) -> None:
    curve, age, most = survival(seen, {}), bucket(float(age_s)), bucket(float(age_s + more_s))
    found = curve.rest(age)
    assert list(found.points) == sorted(found.points)
    assert found.points[0] >= 0.98 * age_s
    within = curve.beyond(age, most)
    assert within is None or within.points[-1] <= 1.03 * (age_s + more_s)


def test_the_bound_holds_eighty_percent_of_what_was_drawn_from_the_same() -> None:
    """Of passes that are half over, seen at one moment: what is said of the others, against what becomes of them."""
    chance, held, asked = Random(7), 0, 0
    for _ in range(40):
        lengths = [chance.lognormvariate(8.0, 0.6) for _ in range(60)]
        ages = [chance.uniform(0, 8_000) for _ in lengths]
        seen = [
            Seen(0.0, min(length, age), 1.0, ended=length <= age) for length, age in zip(lengths, ages, strict=True)
        ]
        curve = survival(seen, {})
        for length, age in zip(lengths, ages, strict=True):
            if length > age and curve.ended_beyond(bucket(age)) >= TOO_FEW:
                found = curve.rest(bucket(age))
                held, asked = held + (abs(length - found.middle_s) <= found.error_s), asked + 1
    assert asked > 500
    assert 0.75 <= held / asked <= 0.87


def test_one_after_the_other_is_the_sum() -> None:
    one, other = Stretch.about(1_000.0, 300.0), Stretch.about(5_000.0, 400.0)
    both = one.then(other)
    assert both.middle_s == pytest.approx(6_000.0, rel=0.01)
    assert both.error_s == pytest.approx(500.0, rel=0.06)
    assert Stretch.about(1_000.0, 300.0).error_s == pytest.approx(300.0, rel=0.06)


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


def test_paces_that_were_kept_before_passes_under_way_were_counted_are_read() -> None:
    """Version 1: windows of (end, buckets), what was usual, and all scopes together beside each scope."""
    some = [[[at(1), sketch([600.0] * 12)]], {}]
    kept = msgspec.msgpack.encode([1, {PATH[DISPATCH].name: {"s1": some, "": some}}])
    known = Paces()
    known.restore(msgspec.msgpack.decode(kept, type=PacesState))
    known.at(at(2))
    assert len(known) == 1
    found = known.stretch(PATH[DISPATCH].name, "s2")
    assert found is not None
    assert found.middle_s == pytest.approx(600.0, rel=0.01)


# --- when an order arrives ----------------------------------------------------------------------------------------


def test_an_arrival_is_the_median_of_the_sums_and_its_bound_holds_eighty_percent_of_them() -> None:
    known = Paces()
    node, carrier = [100.0 * n for n in range(1, 41)], [300.0 * n for n in range(1, 31)]
    known.hear([pace(0, DISPATCH, "s1", node), pace(0, DELIVERY, "courier", carrier)])
    known.at(at(10))
    found = Journeys(PATH, known).arrival(standing(0, DISPATCH, "s1"), at(9_000), at(10))
    assert found is not None
    sums = sorted(one + more for one in node if one > 600 for more in carrier)
    middle_s = nearest_rank(0.5, sums)
    error_s = nearest_rank(0.8, [abs(one - middle_s) for one in sums])
    assert (found.at_us - at(0)) / SECOND_US == pytest.approx(middle_s, rel=0.04)
    assert found.error_s == pytest.approx(error_s, rel=0.1)


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
    assert found.at_us == pytest.approx(at(240 + 120), abs=5 * MINUTE_US)
    assert found.error_s == pytest.approx(hypot(600, 600, 230 * 60, 120 * 60), rel=0.1)
    with_carrier = standing(0, DELIVERY, "parcel", expected_us=at(300))
    said = journeys.arrival(with_carrier, at(480), at(1))
    assert said is not None
    assert said.at_us == at(300)
    assert said.error_s == pytest.approx(299 * 60, rel=0.06)
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


def test_a_promise_is_predicted_anew_as_an_order_waits_until_it_is_there() -> None:
    operator = incidents()
    known = msgspec.structs.replace(order("o", promised=300), standing=standing(5, DELIVERY, "courier"))
    rows = operator.update([finding(10, "carrier_delay", {"carrier": "courier"}, [known])])
    operator.hear([], [pace(9, DELIVERY, "courier", [3_600.0] * 20)])
    rows += operator.advance(at(40))
    assert story(rows, "o") == [(10, None)], "an hour from minute 5 is in time"
    rows += operator.advance(at(200))
    (minute, predicted) = story(rows, "o")[-1]
    assert 175 <= minute <= 200
    assert predicted == pytest.approx(5 + (minute - 5) * (1 + log(2)), rel=0.02), "as long again in the mean"
    assert only(rows).promises_at_risk == 1
    operator.hear([moved(230, "o", LAST)], [])
    rows += operator.advance(at(250))
    assert story(rows, "o")[-1] in [(minute, None) for minute in range(230, 240)]
    assert only(rows).promises_at_risk == 0


def test_orders_are_followed_after_the_incident_is_over_until_it_is_forgotten() -> None:
    operator = incidents()
    known = msgspec.structs.replace(order("o", promised=60), standing=standing(5, DELIVERY, "courier"))
    rows = operator.update([finding(10, "carrier_delay", {"carrier": "courier"}, [known])])
    operator.hear([], [pace(9, DELIVERY, "courier", [1_800.0] * 20)])
    rows += operator.update([finding(30, "carrier_delay", {"carrier": "courier"}, closed=30, found=10)])
    rows += operator.advance(at(50))
    assert only(rows).status == "resolved"
    operator.hear([moved(90, "o", LAST)], [])
    rows += operator.advance(at(120))
    assert story(rows, "o")[-1][1] == 90, "it came too late, at 90"
    assert only(rows).status == "resolved"
    assert only(rows).promises_at_risk == 1


def test_an_order_that_came_too_late_is_told_with_the_time_it_came() -> None:
    operator = incidents()
    known = msgspec.structs.replace(order("o", promised=30), standing=standing(5, DELIVERY, "courier"))
    rows = operator.update([finding(10, "carrier_delay", {"carrier": "courier"}, [known])])
    operator.hear([moved(50, "o", LAST)], [])
    rows += operator.advance(at(90))
    last = touched(rows, only(rows).incident_id)["o"]
    assert (last.breach_predicted_at_us, last.breach_error_s) == (at(50), 0.0)


def test_a_promise_that_is_moved_is_written_also_where_nothing_else_changes() -> None:
    operator = incidents()
    known = msgspec.structs.replace(order("o", promised=300), standing=standing(5, DELIVERY, "courier"))
    rows = operator.update([finding(10, "carrier_delay", {"carrier": "courier"}, [known])])
    operator.hear([], [pace(9, DELIVERY, "courier", [3_600.0] * 20)])
    operator.hear([moved(21, "o", DELIVERY, "courier", promised=500)], [])
    rows += operator.advance(at(27))
    assert touched(rows, only(rows).incident_id)["o"].promised_at_us == at(500)
    assert story(rows, "o") == [(10, None), (25, None)], "at the next look, once"


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
    assert 50 <= len([row for row in rows if isinstance(row, IncidentOrder)]) <= 4 * 50, "of 98 predictions each"


# --- orders that only capture names --------------------------------------------------------------------------------


def created(name: str, minute: float, **fields: object) -> Arrived:
    base: dict[str, object] = {
        "order_id": name,
        "customer_id": f"c-{name}",
        "currency": "EUR",
        "channel": "web",
        "promised_at": rfc3339(at(600)),
        "lines": [{"line_id": "1", "sku": "k", "qty": 1, "unit_price": "10.00"}],
    }
    kept = {key: value for key, value in (base | fields).items() if value is not None}
    return happened("order.created", minute, **kept)


def happened(kind: str, minute: float, **fields: object) -> Arrived:
    body = {
        "event_id": f"{kind}-{fields['order_id']}-{minute}",
        "type": kind,
        "version": 1,
        "source": "shop",
        "system": "ecom",
        "occurred_at": rfc3339(at(minute)),
    }
    event = msgspec.json.decode(msgspec.json.encode(body | fields), type=Event)
    return Arrived(at(minute), "orders", 0, round(60 * minute), at(minute), event)


def moves_of(events: Sequence[Arrived]) -> list[Tally]:
    out = EventDetectors([OrderBook(24 * HOUR_US, PATH)]).update(events, [], events[-1].arrival_us)
    return [tally for tally in out.tallies if tally.metric == ORDER_MOVED]


@pytest.mark.parametrize("lacks", ["customer_id", "currency", "lines", "unit_price"])
def test_where_an_incomplete_order_stands_is_told_since_capture_can_not_ask(lacks: str) -> None:
    bare: dict[str, object] = (
        {"lines": [{"line_id": "1", "sku": "k", "qty": 1}]} if lacks == "unit_price" else {lacks: None}
    )
    lacking: dict[str, object] = {"lines": []} if lacks == "lines" else bare
    said = moves_of([created("o", 1, **lacking), happened("order.approved", 3, order_id="o")])
    assert [tally.impact.standing.link for tally in said if tally.impact and tally.impact.standing] == [0, 1]
    assert not moves_of([created("o", 1), happened("order.approved", 3, order_id="o")]), "nobody asked for a whole one"


def test_an_order_that_only_capture_names_is_predicted_by_its_way() -> None:
    """Capture names it without saying where it stands; the order book told that before."""
    operator = incidents()
    operator.hear(
        moves_of([created("o", 1, customer_id=None, promised_at=rfc3339(at(60)))]),
        [pace(2, link, "", [3_600.0] * 20) for link in range(LAST)],
    )
    rows = operator.update([finding(10, "incomplete_orders", {"channel": "web"}, [order("o", promised=60)])])
    rows += operator.advance(at(11))
    last = touched(rows, only(rows).incident_id)["o"]
    assert last.breach_predicted_at_us == pytest.approx(at(1 + 60 * LAST), abs=10 * MINUTE_US)


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
        moved(minute, f"o{number}", link, "s1", promised=promised)
        for minute, number, link, promised in draw(
            st.lists(
                st.tuples(
                    st.integers(2, 90), st.integers(0, 9), st.integers(-1, LAST), st.none() | st.integers(30, 300)
                ),
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
