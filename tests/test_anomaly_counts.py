"""Series of what is counted: against a plain count over all tallies, however they are cut; silence, rates, stock."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.detectors.order_flow import CANCELLED, ORDERED, RETURNED
from operators.detectors.records import Tally, scoped
from operators.series_counts import LEAST_TOTAL, STOCK_APART, SeriesCounts, SeriesCountsState, stock_tallies
from operators.series_points import WindowPoint
from operators.windows import WindowSettings
from schemas.durations import DAY_US, END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US
from schemas.errors import StateError
from schemas.rows import StockWindow
from tests.harness import START_US

STEP_US, GRACE_US = 5 * MINUTE_US, 5 * SECOND_US
WINDOWS = WindowSettings(STEP_US, STEP_US, GRACE_US, DAY_US)
FIRST_END_US = START_US + STEP_US
METRICS = [ORDERED, CANCELLED, RETURNED, "pick_queued", "pick_rejected", "parcel_exception", STOCK_APART, "unheard_of"]
SCOPES = [scoped(channel="shop"), scoped(node="s1"), scoped()]


def tally(metric: str, minute: int, bad: float = 0.0, total: float = 1.0, **scope: str) -> Tally:
    at_us = START_US + minute * MINUTE_US
    return Tally(metric, scoped(**scope), at_us, at_us, bad, total)


def values(points: list[WindowPoint], metric: str, scope: str = "") -> dict[int, float]:
    """Value by the number of the window."""
    return {
        (one.point.at_us - FIRST_END_US) // STEP_US: one.point.value
        for one in points
        if one.point.series[0] == metric and scope in ("", one.point.series[3])
    }


def advanced(tallies: list[Tally], minute: int) -> list[WindowPoint]:
    counts = SeriesCounts(WINDOWS)
    counts.update(tallies)
    return counts.advance(START_US + minute * MINUTE_US)


# --- against a plain count ---------------------------------------------------------------------------------

drawn = st.lists(
    st.builds(
        lambda metric, minute, bad, total, scope: Tally(
            metric, scope, START_US + minute * MINUTE_US, START_US + minute * MINUTE_US, float(bad), float(total)
        ),
        st.sampled_from(METRICS),
        st.integers(0, 150),
        st.integers(0, 3),
        st.integers(0, 15),
        st.sampled_from(SCOPES),
    ),
    max_size=60,
)


def plain_rate(tallies: list[Tally], metrics: tuple[str, ...], scope: object, end_us: int) -> float | None:
    """Bad of total over the hour up to `end_us`, None where there is no point."""
    mine = [one for one in tallies if one.metric in metrics and one.scope == scope and one.arrival_us < end_us]
    if not any(one.arrival_us >= end_us - STEP_US for one in mine):
        return None
    hour = [one for one in mine if one.arrival_us >= end_us - HOUR_US]
    total = sum(one.total for one in hour)
    return sum(one.bad for one in hour) / total if total >= LEAST_TOTAL else None


@given(tallies=drawn)
@settings(max_examples=80, deadline=None)
def test_points_are_those_of_a_plain_count(tallies: list[Tally]) -> None:
    points = advanced(tallies, 160)
    made_of = {
        "cancellation_rate": (ORDERED, CANCELLED),
        "return_rate": (ORDERED, RETURNED),
        "reject_rate": ("pick_rejected",),
        "exception_rate": ("parcel_exception",),
    }
    ends = [FIRST_END_US + number * STEP_US for number in range(31)]
    for scope in SCOPES:
        by, name = scope[0] if scope else ("", "")
        for metric, metrics in made_of.items():
            found = {one.point.at_us: one.point.value for one in points if one.point.series == (metric, "", by, name)}
            expected = {end: plain_rate(tallies, metrics, scope, end) for end in ends}
            assert found == {end: value for end, value in expected.items() if value is not None}
        asked = [one for one in tallies if one.metric in (ORDERED, "pick_queued") and one.scope == scope]
        found = {one.point.at_us: one.point.value for one in points if one.point.series == ("demand", "", by, name)}
        begun_us = min((one.arrival_us for one in asked), default=END_OF_TIME_US)
        assert found == {
            end: sum(one.total for one in asked if end - STEP_US <= one.arrival_us < end)
            for end in ends
            if end > begun_us
        }
    assert not [one for one in points if one.point.series[0] == "unheard_of"]
    assert [one.arrival_us for one in points] == sorted(one.point.at_us + GRACE_US for one in points)


@given(tallies=drawn, cuts=st.lists(st.integers(0, 160), max_size=5), ahead=st.integers(0, 40))
@settings(max_examples=80, deadline=None)
def test_points_do_not_depend_on_cuts_restarts_or_what_is_known_ahead(
    tallies: list[Tally], cuts: list[int], ahead: int
) -> None:
    whole = advanced(tallies, 160)
    counts, said, given_out = SeriesCounts(WINDOWS), [], 0
    tallies = sorted(tallies, key=lambda one: one.arrival_us)
    for cut in [*sorted(cuts), 160]:
        upto_us = START_US + cut * MINUTE_US
        part = [one for one in tallies[given_out:] if one.arrival_us < upto_us + ahead * MINUTE_US]
        given_out += len(part)
        counts.update(part)
        said += counts.advance(upto_us)
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(counts.snapshot()), type=SeriesCountsState)
        counts = SeriesCounts(WINDOWS)
        counts.restore(kept)
    assert said == whole


def test_a_rate_looks_back_as_far_as_it_is_told() -> None:
    picks = [tally("pick_rejected", minute, bad=float(minute < 20), total=4.0, node="store-1") for minute in range(60)]
    counts = SeriesCounts(WINDOWS, rate_span_us=20 * MINUTE_US)
    counts.update(picks)
    rates = values(counts.advance(START_US + 70 * MINUTE_US), "reject_rate")
    assert [rates[window] for window in (3, 4, 5, 6, 7)] == [0.25, 0.1875, 0.125, 0.0625, 0.0]
    assert counts.sizes()["cells"] == 20 // 5 - 2, "two windows without a pick have come since"


# --- demand ------------------------------------------------------------------------------------------------


def test_that_orders_stop_coming_is_said_for_a_day() -> None:
    orders = [tally(ORDERED, minute, total=2.0, channel="shop") for minute in range(10)]
    found = values(advanced(orders, 3 * 24 * 60), "demand")
    assert found[0] == found[1] == 10.0
    assert set(found) == set(range(2 + DAY_US // STEP_US))
    assert {found[number] for number in range(2, len(found))} == {0.0}


def test_a_series_that_was_forgotten_begins_anew_however_much_is_known_ahead() -> None:
    later = 3 * 24 * 60
    orders = [tally(ORDERED, minute, channel="shop") for minute in (0, later)]
    at_once = values(advanced(orders, later + 10), "demand")
    counts = SeriesCounts(WINDOWS)
    counts.update(orders[:1])
    bit_by_bit = counts.advance(START_US + later * MINUTE_US)
    assert counts.sizes() == {"series": 0, "cells": 0, "held": 0}
    counts.update(orders[1:])
    bit_by_bit += counts.advance(START_US + (later + 10) * MINUTE_US)
    assert values(bit_by_bit, "demand") == at_once
    assert at_once[later // 5] == 1.0
    assert later // 5 - 1 not in at_once


def test_the_end_of_time_closes_what_was_counted_and_no_more() -> None:
    orders = [tally(ORDERED, minute, channel="shop") for minute in (0, 12)]
    counts = SeriesCounts(WINDOWS)
    counts.update(orders)
    assert values(counts.advance(END_OF_TIME_US), "demand") == {0: 1.0, 1: 0.0, 2: 1.0}


def test_at_the_end_of_time_no_series_hangs_on_how_long_another_goes_on() -> None:
    short = [tally(ORDERED, 0, channel="shop")]
    counts = SeriesCounts(WINDOWS)
    counts.update([*short, tally(ORDERED, 40, channel="web")])
    beside = values(counts.advance(END_OF_TIME_US), "demand", "shop")
    alone = SeriesCounts(WINDOWS)
    alone.update(short)
    assert beside == values(alone.advance(END_OF_TIME_US), "demand", "shop") == {0: 1.0}


# --- rates and stock ---------------------------------------------------------------------------------------


def test_a_share_of_few_is_no_point() -> None:
    picks = [tally("pick_rejected", minute, bad=1.0, node="s1") for minute in range(int(LEAST_TOTAL) - 1)]
    assert values(advanced(picks, 30), "reject_rate") == {}
    picks.append(tally("pick_rejected", len(picks), bad=0.0, node="s1"))
    assert values(advanced(picks, 30), "reject_rate") == {3: (LEAST_TOTAL - 1) / LEAST_TOTAL}


def stock_row(node: str, delta: float, end_us: int = FIRST_END_US, *, late_us: int = 0) -> StockWindow:
    arrival_us = end_us + GRACE_US + late_us
    return StockWindow("sku", node, end_us - STEP_US, end_us, {}, delta, None, None, "", arrival_us, arrival_us)


def test_stock_deltas_of_a_node_add_up_and_corrections_do_not_count() -> None:
    rows = [stock_row("s1", 0.1), stock_row("s1", 0.2), stock_row("s2", 7.0), stock_row("s1", 9.0, late_us=1)]
    one_group = stock_tallies(rows, GRACE_US)
    two_groups = [*stock_tallies(rows[1:], GRACE_US), *stock_tallies(rows[:1], GRACE_US)]
    for tallies in (one_group, two_groups):
        points = advanced(tallies, 10)
        assert values(points, "stock_delta", "s1") == {0: 0.3}
        assert values(points, "stock_delta", "s2") == {0: 7.0}


def test_stock_is_known_when_its_windows_are_written_not_before() -> None:
    counts = SeriesCounts(WINDOWS, stock_grace_us=2 * GRACE_US)
    counts.update(stock_tallies([stock_row("s1", 3.0)], GRACE_US))
    assert counts.advance(FIRST_END_US + 2 * GRACE_US) == []
    (point,) = counts.advance(FIRST_END_US + 2 * GRACE_US + 1)
    assert (point.arrival_us, point.start_us) == (FIRST_END_US + 2 * GRACE_US, START_US)


def test_state_of_another_version_is_refused() -> None:
    counts = SeriesCounts(WINDOWS)
    with pytest.raises(StateError, match="version 9"):
        counts.restore(msgspec.structs.replace(counts.snapshot(), version=9))
