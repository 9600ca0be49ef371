"""Breakdowns do what they say, by mechanism; and the truth names exactly what suffered."""

import json
from pathlib import Path

import pytest

from scenarios.breakdowns.registry import KINDS
from scenarios.simulate import BreakdownSpec, SimulationSettings, demo_settings
from scenarios.truth import TruthRecord
from schemas import events as ev
from schemas.durations import HOUR_US, MINUTE_US, Duration, Instant
from tests.simulated_days import Day, delay_s, occurred, p95, recorded


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(demo_settings(), tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(SimulationSettings(seed=7), tmp_path_factory.mktemp("clean"))


def _truth(day: Day, kind: str) -> tuple[TruthRecord, int, int]:
    record = next(record for record in day.result.truth if record.kind == kind)
    return record, Instant.parse(record.begin), Instant.parse(record.end)


def test_the_truth_file_is_in_the_public_format(demo: Day) -> None:
    lines = [json.loads(line) for line in demo.result.files["truth"].read_text().splitlines()]
    assert [line["kind"] for line in lines if line["kind"] != "none"] == [
        "feed_stopped",
        "queue_saturation",
        "posting_interface_down",
    ]
    assert sum(line["kind"] == "none" for line in lines) >= 3
    for line in lines:
        assert line["begin"] < line["end"]
        assert line["cause"]["kind"] == line["kind"]
        assert float(line["value_at_risk"]) >= 0
        assert line["currency"] == "EUR"


def test_customers_are_the_same_with_and_without_breakdowns(demo: Day, clean: Day) -> None:
    def wanted(day: Day) -> list[object]:
        begin = Instant.parse("2026-03-02T11:25:00Z")
        orders = [order for order in day.of(ev.OrderCreated) if recorded(order) < begin]
        return [(order.customer_id, order.total, order.channel) for order in orders]

    assert wanted(demo) == wanted(clean)


def test_a_saturated_queue_delays_reservations_and_only_those(demo: Day) -> None:
    _, begin, end = _truth(demo, "queue_saturation")
    inside, outside, centre = [], [], []
    for event in demo.of(ev.ReservationCreated):
        if event.node.startswith("dc"):
            centre.append(delay_s(event))
        elif begin <= occurred(event) < end:
            inside.append(delay_s(event))
        elif not begin <= occurred(event) < end + 30 * MINUTE_US:
            outside.append(delay_s(event))
    assert p95(inside) > 300
    assert p95(outside) < 10
    assert p95(centre) < 10
    depths = [e for e in demo.of(ev.QueueDepth) if e.queue == "store-reservations"]
    assert max(e.depth for e in depths if begin <= occurred(e) < end) > 100
    assert max(e.depth for e in depths if not begin <= occurred(e) < end + 30 * MINUTE_US) < 20


def test_its_truth_names_the_orders_that_waited_or_were_picked_short(demo: Day, clean: Day) -> None:
    record, begin, end = _truth(demo, "queue_saturation")
    reservations = (ev.ReservationCreated, ev.ReservationConsumed, ev.ReservationReleased)
    late = {
        event.order_id
        for kind in reservations
        for event in demo.of(kind)
        if event.node.startswith("store") and delay_s(event) > 305
    }
    short = {task.order_id for task in demo.of(ev.TaskRejected) if task.reason == "short"}
    assert len(short) > 20
    assert not [task for task in clean.of(ev.TaskRejected) if task.reason == "short"]
    assert late <= set(record.orders)
    assert short <= set(record.orders)
    unexplained = set(record.orders) - late - short
    assert len(unexplained) <= 0.05 * len(record.orders)  # within the jitter around five minutes
    again = {e.order_id for e in demo.of(ev.OrderAllocated) if e.line_id is not None}
    assert short <= again | {e.order_id for e in demo.of(ev.OrderCancelled)}
    lines = {o.order_id: sum(float(x.unit_price) * x.qty for x in o.lines) for o in demo.of(ev.OrderCreated)}
    assert 0 < float(record.value_at_risk) <= sum(lines[order] for order in record.orders) + 0.01
    assert begin < Instant.parse(str(record.effects_until)) < end + 30 * MINUTE_US


def test_a_late_reservation_holds_the_goods_issue_up(demo: Day, clean: Day) -> None:
    def waits(day: Day, begin: int, end: int) -> list[float]:
        at = {p.reference: occurred(p) for p in reversed(day.of(ev.PostingRecorded)) if p.posting_type == "goods_issue"}
        sent = [s for s in day.of(ev.ShipmentDispatched) if s.node.startswith("store")]
        inside = [s for s in sent if begin <= occurred(s) < end and s.order_id in at]
        return [(at[s.order_id] - occurred(s)) / 1e6 for s in inside]

    _, begin, end = _truth(demo, "queue_saturation")
    assert p95(waits(demo, begin, end)) > 900
    assert p95(waits(clean, begin, end)) < 300


def test_a_stopped_feed_is_silent_and_comes_back_with_what_it_kept(demo: Day) -> None:
    record, begin, end = _truth(demo, "feed_stopped")
    mine = [
        event
        for event in demo.by_topic["inventory"]
        if event.node == record.scope["node"] and event.source == record.scope["source"]
    ]
    slack = 10 * 1_000_000  # what was under way, or is a duplicate of it
    assert not [event for event in mine if begin + slack <= recorded(event) < end]
    kept = [event for event in mine if begin + slack <= occurred(event) < end - slack]
    assert len(kept) > 50
    assert all(end <= recorded(event) < end + MINUTE_US for event in kept)
    other = [e for e in demo.by_topic["inventory"] if e.node != record.scope["node"] and begin <= recorded(e) < end]
    assert len(other) > 500
    assert float(record.value_at_risk) > 0


def test_an_interface_that_is_down_fails_and_recovers_in_a_burst(demo: Day) -> None:
    record, begin, end = _truth(demo, "posting_interface_down")
    failed = demo.of(ev.PostingFailed)
    assert {f.reference for f in failed} <= set(record.orders)
    assert all(begin <= occurred(f) + 300_000 and occurred(f) - 300_000 < end for f in failed)
    assert {f.error_code for f in failed} == {record.scope["error_code"]}
    issues = [p for p in demo.of(ev.PostingRecorded) if p.posting_type == "goods_issue"]
    assert not [p for p in issues if begin + 400_000 <= occurred(p) < end - 400_000]
    burst = [p for p in issues if end - 400_000 <= occurred(p) < end + 10 * MINUTE_US]
    assert {f.reference for f in failed} <= {p.reference for p in burst}
    quiet = sum(end + HOUR_US <= occurred(p) < end + HOUR_US + 10 * MINUTE_US for p in issues)
    assert len(burst) > 3 * quiet
    assert set(record.orders) - {f.reference for f in failed} <= {p.reference for p in burst}
    assert any(p.posting_type == "refund" and begin < occurred(p) < end for p in demo.of(ev.PostingRecorded))


def test_lost_adjustments_leave_the_erp_apart_for_good(tmp_path: Path) -> None:
    settings = SimulationSettings(breakdowns=(BreakdownSpec(kind="adjustments_lost"),))
    day = Day(settings, tmp_path)
    record, _, _ = _truth(day, "adjustments_lost")
    last: dict[tuple[str, str, str], float] = {}
    for event in sorted([*day.of(ev.InventoryLevel), *day.of(ev.InventoryAdjusted)], key=occurred):
        item = (event.system, event.node, event.sku)
        last[item] = event.on_hand if isinstance(event, ev.InventoryLevel) else last.get(item, 0) + event.delta
    apart = {
        (node, sku)
        for system, node, sku in last
        if system == "wms" and last["wms", node, sku] != last["erp", node, sku]
    }
    assert record.scope["sku"]
    assert apart == {(record.scope["node"], sku) for sku in record.scope["sku"]}
    assert record.effects["adjustments_lost"] >= len(record.scope["sku"])


def test_a_feed_whose_messages_are_lost_is_caught_up_by_the_oms_alone(tmp_path: Path) -> None:
    spec = BreakdownSpec(
        kind="feed_stopped",
        begin=Duration(9 * HOUR_US),
        end=Duration(12 * HOUR_US),
        parameters={"node": "store-001", "lost": True},
    )
    day = Day(SimulationSettings(breakdowns=(spec,)), tmp_path)
    _, begin, end = _truth(day, "feed_stopped")
    mine = [e for e in day.by_topic["inventory"] if e.node == "store-001" and e.system == "wms"]
    assert not [event for event in mine if begin + 500_000 <= occurred(event) < end - 500_000]
    counted = [e for e in day.of(ev.InventoryAdjusted) if e.reason == "count" and e.node == "store-001"]
    assert counted
    assert {e.system for e in counted} == {"oms"}


def test_refunds_lag_for_what_was_received_meanwhile(tmp_path: Path) -> None:
    settings = SimulationSettings(breakdowns=(BreakdownSpec(kind="refund_lag"),))
    day = Day(settings, tmp_path)
    record, begin, end = _truth(day, "refund_lag")
    received = {e.return_id for e in day.of(ev.ReturnReceived) if begin <= occurred(e) + 300_000 and occurred(e) < end}
    assert abs(len(received) - len(record.cases)) <= 1
    refunded = {p.reference for p in day.of(ev.PostingRecorded) if p.posting_type == "refund"}
    assert not refunded & set(record.cases)
    assert refunded


def test_all_kinds_can_happen_in_one_day(tmp_path: Path) -> None:
    settings = SimulationSettings(breakdowns=tuple(BreakdownSpec(kind=kind) for kind in KINDS))
    day = Day(settings, tmp_path)
    assert {record.kind for record in day.result.truth} == {*KINDS, "none"}
    assert all(sum(record.effects.values()) > 0 for record in day.result.truth if record.kind != "none")
