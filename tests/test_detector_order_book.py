"""What the order book says of an order: again as anew, and what is left of it as its lines are cancelled."""

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from dataflows.process_maps import load_process_map
from operators.detectors.events import EventDetectors
from operators.detectors.order_book import OrderBook
from operators.detectors.order_facts import Line, OrderFacts, worth_of
from operators.detectors.order_flow import CANCELLED as ORDERS_CANCELLED
from operators.detectors.order_flow import OrderFlow
from operators.detectors.records import CANCELLED, ORDER_MOVED, Impact
from operators.promise_path import promise_path
from schemas.durations import HOUR_US, MINUTE_US, rfc3339
from tests.detector_days import Day, at

PATH = promise_path(load_process_map("default"))
RETENTION_US = 2 * HOUR_US
LATER = rfc3339(at(30.0))

#: What can be told of an order, with the fields that its type has.
TOLD: dict[str, dict[str, object]] = {
    "order.created": {
        "currency": "EUR",
        "channel": "web",
        "promised_at": rfc3339(at(20.0)),
        "lines": [{"line_id": "1", "sku": "s", "qty": 2, "unit_price": "10.00", "unit_cost": "4.00"}],
    },
    "order.promise_changed": {"promised_at": LATER},
    "order.approved": {},
    "order.allocated": {"node": "n1"},
    "order.cancelled": {},
    "order.cancelled ": {"line_id": "1"},
    "shipment.dispatched": {"shipment_id": "p1", "carrier": "dhl", "expected_at": rfc3339(at(18.0))},
    "shipment.exception": {"shipment_id": "p1", "expected_at": LATER},
    "shipment.delivered": {"shipment_id": "p1"},
}

STEPS = st.lists(
    st.tuples(st.sampled_from([1, 10, 70, 150]), st.sampled_from(sorted(TOLD)), st.sampled_from(["o1", "o2"])),
    max_size=25,
)


WAY = ("order.created", "order.approved", "shipment.dispatched", "shipment.exception", "shipment.delivered")


@example([(1, kind, "o1") for kind in WAY], set(), set(range(25)))
@given(STEPS, st.sets(st.integers(0, 24), max_size=2), st.sets(st.integers(0, 24)))
def test_what_is_said_again_of_an_order_is_as_if_said_anew(
    steps: list[tuple[int, str, str]], restarts: set[int], asked: set[int]
) -> None:
    day, minutes = Day(), 0
    book = OrderBook(RETENTION_US, PATH)
    host = EventDetectors([book])
    for number, (passed, kind, order_id) in enumerate(steps):
        minutes += passed
        now_us = at(0.0) + minutes * MINUTE_US
        day.tell(kind.strip(), now_us, order_id=order_id, **TOLD[kind])
        host.update([day.events[-1]], [], now_us)
        if number in restarts:
            kept, book = host.snapshot(), OrderBook(RETENTION_US, PATH)
            host = EventDetectors([book])
            host.restore(kept)
        for one in ("o1", "o2") if number in asked else ():
            facts = book.get(one)
            anew = facts.impact(one) if facts is not None else Impact(one)
            assert book.whole(one) == anew
            assert book.impact(one) == anew
            assert book.impact(one, tag="t") == msgspec.structs.replace(anew, tag="t")
    host.update([], [], at(0.0) + minutes * MINUTE_US + 4 * RETENTION_US)
    assert len(book.sizes()) == 1
    assert book.sizes()["orders"] == 0
    assert book.whole("o1") == Impact("o1"), "forgotten with what was said of it"


MONEY = st.one_of(st.none(), st.floats(0, 1e4, width=32))


@given(st.lists(st.builds(Line, st.just("1"), st.just("s"), st.floats(0, 1e3, width=32), MONEY, MONEY), max_size=6))
def test_the_worth_of_lines_is_summed_line_by_line(lines: list[Line]) -> None:
    priced = [line for line in lines if line.price is not None]
    margins = [
        line.qty * (line.price - line.cost) for line in priced if line.price is not None and line.cost is not None
    ]
    value = sum((line.qty * line.price for line in priced if line.price is not None), 0.0)
    margin = round(sum(margins), 2) if margins and len(margins) == len(lines) else None
    assert worth_of(lines) == (sum(line.qty for line in lines), round(value, 2), margin)
    impact = OrderFacts(lines=tuple(lines)).impact("o")
    assert (impact.units, impact.value, impact.margin) == worth_of(lines)


#: What is said of an order: that it was made, or that one of its lines (or none of them, or all) was cancelled.
LINE_IDS = ["1", "2", "3", "elsewhere"]
SAID = st.lists(st.sampled_from(["made", "all", *LINE_IDS]), max_size=10)


@example(["made", "1", "2", "3"], ["1", "2", "3"], set())  # one by one
@example(["1", "2", "made"], ["1", "1", "2"], set())  # told before the order
@example(["made", "elsewhere", "all", "1"], ["1"], {1})
@given(SAID, st.lists(st.sampled_from(LINE_IDS[:3]), max_size=4), st.sets(st.integers(0, 9)))
def test_an_order_is_cancelled_with_the_last_of_its_lines(
    said: list[str], lines: list[str], restarts: set[int]
) -> None:
    """Held against plain sets: what was cancelled of what was ordered."""
    day = Day()
    made = [{"line_id": one, "sku": f"s{one}", "qty": 1, "unit_price": f"{10**at}.00"} for at, one in enumerate(lines)]
    worth = {at: 10**at for at in range(len(lines))}
    book = OrderBook(RETENTION_US, PATH)
    host = EventDetectors([OrderFlow(book), book])
    is_known, is_over, gone, ends = False, False, set[str](), 0
    for number, what in enumerate(said):
        now_us = at(8.0) + number * MINUTE_US
        if what == "made":
            day.tell("order.created", now_us, order_id="o", channel="web", currency="EUR", lines=made)
        else:
            day.tell("order.cancelled", now_us, order_id="o", **({} if what == "all" else {"line_id": what}))
        book.impact("o")  # from here on it is of interest where it goes
        out = host.update([day.events[-1]], [], now_us)
        if number in restarts:
            kept, book = host.snapshot(), OrderBook(RETENTION_US, PATH)
            host = EventDetectors([OrderFlow(book), book])
            host.restore(kept)
        is_known = is_known or what == "made"
        gone |= {what} - {"made", "all"}
        before, is_over = is_over, is_over or what == "all" or (is_known and bool(lines) and set(lines) <= gone)
        ends += is_over and not before and what != "made"
        facts = book.get("o")
        assert facts is not None
        assert facts.cancelled is is_over
        assert (facts.standing is not None and facts.standing.link == CANCELLED) is is_over
        counted = [tally for tally in out.told() if tally.metric == ORDERS_CANCELLED]
        assert len(counted) == (is_over and not before and what != "made")
        moved = [tally.impact for tally in out.told() if tally.metric == ORDER_MOVED]
        if is_over and not before and number and is_known:
            assert [one.standing.link for one in moved if one is not None and one.standing is not None][-1:] == [
                CANCELLED
            ]
        left = [at for at, one in enumerate(lines) if one not in gone] or list(worth)
        assert book.impact("o").value == (sum(worth[at] for at in left) if is_known else 0.0)
