"""Orders that come twice or in part, interfaces at fault, clocks that are wrong: and the truth about them."""

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from scenarios.settings import BreakdownSpec, SimulationSettings
from scenarios.truth import TruthRecord
from schemas import events as ev
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US, Duration, Instant
from schemas.errors import SettingsError
from tests.simulated_days import Day, delay_s, occurred, recorded

_FAULTS = {
    "downstream_outage": "downstream_error",
    "transport_fault": "transport_error",
    "rule_failure": "rule_error",
    "schema_change": "schema_error",
}
_BEGIN, _END = Duration(5 * HOUR_US), Duration(8 * HOUR_US)


def _broken(out: Path, kind: str, **parameters: object) -> tuple[Day, TruthRecord, int, int]:
    """Half a day with one breakdown from 11:00 to 14:00."""
    spec = BreakdownSpec(kind=kind, begin=_BEGIN, end=_END, parameters=parameters)
    settings = SimulationSettings(
        seed=3,
        start=Instant.parse("2026-03-03T06:00:00Z"),
        duration=Duration(11 * HOUR_US),
        stores=5,
        skus=80,
        orders_per_day=1_500,
        counter_sales_per_day=300,
        breakdowns=(spec,),
    )
    day = Day(settings, out)
    record = next(record for record in day.result.truth if record.kind == kind)
    return day, record, Instant.parse(record.begin), Instant.parse(record.end)


def _content(order: ev.OrderCreated) -> tuple[object, ...]:
    return order.customer_id, order.idempotency_key, tuple((line.sku, line.qty) for line in order.lines)


# --- duplicate orders --------------------------------------------------------------------------------------


def test_orders_come_again_in_three_ways(tmp_path: Path) -> None:
    day, record, begin, end = _broken(tmp_path, "duplicate_orders")
    raw = [event for event in day.by_topic["orders"] if isinstance(event, ev.OrderCreated)]
    words = Counter((event.source, event.event_id) for event in raw)
    distinct = {(event.source, event.event_id): event for event in raw}.values()
    by_id = Counter(event.order_id for event in distinct)
    by_key = defaultdict(set)
    for event in distinct:
        by_key[event.idempotency_key].add(event.order_id)
    again = {order for order, count in by_id.items() if count > 1}
    anew = {order for orders in by_key.values() if len(orders) > 1 for order in orders}
    assert sum(count - 1 for count in words.values()) > 30
    assert len(again) > 20
    assert len(anew) > 40
    assert set(record.orders) == again | anew
    assert {event.channel for event in distinct if event.order_id in again | anew} == {record.scope["channel"]}
    same = defaultdict(set)
    for event in distinct:
        same[event.idempotency_key].add(_content(event))
    assert all(len(contents) == 1 for contents in same.values())
    copies = [event for event in distinct if event.order_id.startswith("SO-8")]
    assert len(copies) == record.effects["copies_taken"]
    assert all(begin < occurred(event) < end + 2 * MINUTE_US + SECOND_US for event in copies)
    # The copies cost real work and real goods; the other ways don't.
    shipped = Counter(event.order_id for event in day.of(ev.ShipmentDispatched))
    assert sum(shipped[event.order_id] > 0 for event in copies) > 0.4 * len(copies)
    allocated = Counter(e.order_id for e in day.of(ev.OrderAllocated) if e.line_id is None)
    assert max(allocated.values()) == 1


def test_the_ways_can_be_chosen_by_weight(tmp_path: Path) -> None:
    day, record, _, _ = _broken(tmp_path, "duplicate_orders", same_order=0.0, new_order=0.0, share=1.0, most=1)
    assert record.orders == []
    assert set(record.effects) == {"messages_repeated"}
    sent = Counter(event.event_id for event in day.by_topic["orders"] if isinstance(event, ev.OrderCreated))
    assert sum(count > 1 for count in sent.values()) >= 0.95 * record.effects["messages_repeated"]


# --- incomplete orders -------------------------------------------------------------------------------------


def test_a_release_leaves_fields_out_of_one_channels_orders(tmp_path: Path) -> None:
    day, record, begin, end = _broken(tmp_path, "incomplete_orders")
    incomplete = [
        order
        for order in day.of(ev.OrderCreated)
        if order.customer_id is None or order.currency is None or order.lines[0].unit_price is None
    ]
    assert len(incomplete) > 30
    assert {order.order_id for order in incomplete} == set(record.orders)
    assert {order.channel for order in incomplete} == {"shop"}
    assert all(begin <= occurred(order) + 300_000 and occurred(order) - 300_000 < end for order in incomplete)
    missing = (
        order.customer_id or order.currency or order.promised_at or order.lines[0].unit_price for order in incomplete
    )
    assert not any(missing)
    assert all(order.total and order.lines[0].unit_cost for order in incomplete)
    inside = [o for o in day.of(ev.OrderCreated) if o.channel == "shop" and begin <= occurred(o) < end]
    assert 0.5 < len(incomplete) / len(inside) < 0.7


def test_it_can_leave_out_the_lines(tmp_path: Path) -> None:
    day, record, _, _ = _broken(tmp_path, "incomplete_orders", channel="marketplace", fields=["lines"])
    empty = {order.order_id for order in day.of(ev.OrderCreated) if not order.lines}
    assert empty == set(record.orders)
    assert empty


# --- interfaces --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interface", ["payment-gateway", "marketplace-import", "oms-wms"])
@pytest.mark.parametrize("kind", list(_FAULTS))
def test_a_fault_fails_calls_its_own_way_and_holds_up_what_they_carry(
    tmp_path: Path, kind: str, interface: str
) -> None:
    day, record, begin, end = _broken(tmp_path, kind, interface=interface)
    calls = day.of(ev.CallCompleted)
    inside = [c for c in calls if c.interface == interface and begin <= occurred(c) < end]
    failed = [call for call in inside if call.status == _FAULTS[kind]]
    natural = [call for call in calls if call.status != "ok" and call not in failed]
    assert len(failed) > 20
    assert {call.status for call in natural} <= {"transport_error"}
    assert len(natural) < 0.01 * len(calls)
    assert record.scope["interface"] == interface
    struck = {call.case_id for call in failed}
    assert set(record.orders) <= struck
    assert len(struck - set(record.orders)) <= (5 if kind == "transport_fault" else 0)
    through = {call.case_id: occurred(call) for call in calls if call.status == "ok" and call.interface == interface}
    assert sum(order in through for order in record.orders) > 0.97 * len(record.orders)
    if kind in ("downstream_outage", "schema_change"):
        burst = [order for order in record.orders if end < through.get(order, 0) + 400_000 < end + 15 * MINUTE_US]
        assert len(burst) > 0.7 * len(record.orders)
    follows = _what_follows(day, interface)
    assert all(follows[order] > through[order] - SECOND_US for order in record.orders if order in follows)
    first = _first_tries(failed)
    waits = [through[order] - first[order] for order in record.orders if order in through]
    assert min(waits) > 0
    assert sorted(waits)[len(waits) // 2] > (SECOND_US if kind == "transport_fault" else 10 * MINUTE_US)


def _first_tries(failed: list[ev.CallCompleted]) -> dict[str | None, int]:
    tries: dict[str | None, int] = {}
    for call in failed:
        tries.setdefault(call.case_id, occurred(call))
    return tries


def _what_follows(day: Day, interface: str) -> dict[str, int]:
    """When the order went on: the approval after payment and import, the reservation after the work order."""
    kind = ev.ReservationCreated if interface == "oms-wms" else ev.OrderApproved
    return {event.order_id: occurred(event) for event in day.of(kind)}


@pytest.mark.parametrize("form", ["renamed", "text"])
@pytest.mark.parametrize(("interface", "topic"), [("payment-gateway", "orders"), ("oms-wms", "orders")])
def test_a_schema_change_sends_messages_that_break_the_contract(
    tmp_path: Path, interface: str, topic: str, form: str
) -> None:
    day, record, begin, end = _broken(tmp_path, "schema_change", interface=interface, form=form)
    refused = {message["event_id"]: message for message in day.refused}.values()
    assert len(refused) == record.effects["messages_broken"] > 30
    assert {message["source"] for message in refused} == {record.scope["source"]}
    assert {message["type"] for message in refused} <= {kind.__struct_config__.tag for kind in ev.TOPICS[topic]}
    ids = {message.get("order_id", message.get("orderId")) for message in refused}
    assert ids == set(record.orders)
    kind = ev.OrderCreated if interface == "payment-gateway" else ev.OrderAllocated
    sent_right = {event.order_id for event in day.of(kind) if end < recorded(event) < end + 5 * MINUTE_US}
    assert set(record.orders) <= sent_right
    assert begin < min(Instant.parse(message["occurred_at"]) for message in refused)


def test_an_import_that_fails_delays_the_orders_themselves(tmp_path: Path) -> None:
    day, record, _, _ = _broken(tmp_path, "downstream_outage", interface="marketplace-import")
    orders = {order.order_id: order for order in day.of(ev.OrderCreated)}
    late = [order for order in record.orders if delay_s(orders[order]) > 60]
    assert len(late) > 0.9 * len(record.orders)
    others = [delay_s(order) for order in orders.values() if order.order_id not in set(record.orders)]
    assert max(others) < 60


# --- clocks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [False, True])
def test_a_wrong_clock_shifts_the_times_of_one_source_only(tmp_path: Path, ahead: bool) -> None:
    day, record, begin, end = _broken(tmp_path, "clock_skew", skew="20m", ahead=ahead)
    assert record.orders == []
    mine, others = [], []
    for events in day.by_topic.values():
        for event in events:
            if begin + SECOND_US < recorded(event) < end:
                (mine if event.source == record.scope["source"] else others).append(delay_s(event))
    assert len(mine) > 500
    sign = -1 if ahead else 1
    steady = sorted(delay * sign for delay in mine)
    assert 1_195 < steady[len(steady) // 20] < steady[19 * len(steady) // 20] < 1_210
    assert max(abs(delay) for delay in others) < 180
    after = [
        delay_s(event)
        for events in day.by_topic.values()
        for event in events
        if event.source == record.scope["source"] and recorded(event) > end + 3 * MINUTE_US
    ]
    assert max(abs(delay) for delay in after) < 180
    assert record.effects["events_with_wrong_time"] == pytest.approx(len(mine), rel=0.02)


# --- what is refused, and what stays the same --------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("duplicate_orders", {"channel": "till"}, "shop, marketplace"),
        ("duplicate_orders", {"share": 0.0}, "above 0"),
        ("duplicate_orders", {"word_for_word": 0.0, "same_order": 0.0, "new_order": 0.0}, "not all be 0"),
        ("incomplete_orders", {"fields": ["colour"]}, "customer_id, currency"),
        ("schema_change", {"interface": "fax"}, "payment-gateway, marketplace-import"),
        ("schema_change", {"form": "sideways"}, "renamed"),
        ("clock_skew", {"source": "wms-moon"}, "wms-dc-01"),
        ("clock_skew", {"skew": "0s"}, "at least 1s"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    tmp_path: Path, kind: str, parameters: dict[str, object], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        _broken(tmp_path, kind, **parameters)


def test_one_interface_has_one_fault_at_a_time(tmp_path: Path) -> None:
    specs = tuple(BreakdownSpec(kind=kind, begin=_BEGIN, end=_END) for kind in ("rule_failure", "transport_fault"))
    with pytest.raises(SettingsError, match="both are a fault of payment-gateway"):
        Day(SimulationSettings(breakdowns=specs), tmp_path)


def test_faults_and_duplicates_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    kinds = ("duplicate_orders", "schema_change", "clock_skew")
    specs = tuple(BreakdownSpec(kind=kind, begin=_BEGIN, end=_END) for kind in kinds)
    settings = SimulationSettings(
        seed=5, stores=3, orders_per_day=400, duration=Duration(9 * HOUR_US), breakdowns=specs
    )
    first, second = (Day(settings, tmp_path / name).result.files for name in "ab")
    for topic, path in first.items():
        assert path.read_bytes() == second[topic].read_bytes()


def test_retries_of_one_case_get_further_apart(tmp_path: Path) -> None:
    day, _, begin, end = _broken(tmp_path, "downstream_outage")
    tries = defaultdict(list)
    for call in day.of(ev.CallCompleted):
        if call.interface == "payment-gateway" and call.status == "downstream_error" and begin < occurred(call) < end:
            tries[call.case_id].append(occurred(call))
    gaps = [[b - a for a, b in pairwise(found)][:4] for found in tries.values() if len(found) > 4]
    assert len(gaps) > 20
    assert all(gap == sorted(gap) for gap in gaps)
