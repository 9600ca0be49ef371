"""A day without breakdowns is healthy: no deadline missed, nothing oversold, the systems agree."""

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from scenarios.simulate import SimulationSettings, simulate
from schemas import events as ev
from schemas.durations import HOUR_US, MINUTE_US, Duration, from_us
from tests.simulated_days import Day, delay_s, occurred, p95, recorded


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(SimulationSettings(seed=11), tmp_path_factory.mktemp("clean"))


def test_every_message_keeps_the_contract_and_each_file_is_a_log(day: Day) -> None:
    assert set(day.result.events) == set(ev.BUSINESS_TOPICS)
    for topic, events in day.by_topic.items():
        assert len(events) == day.result.events[topic] > 0
        assert {type(event) for event in events} <= set(ev.TOPICS[topic])
        arrivals = [recorded(event) for event in events]
        assert arrivals == sorted(arrivals)
        assert day.settings.start <= arrivals[0]
        assert arrivals[-1] < day.settings.end
        assert all(recorded(event) - occurred(event) > -1_000_000 for event in events)
    assert 40_000 < sum(day.result.events.values()) < 80_000


def test_the_log_has_duplicates_and_disorder_as_logs_have(day: Day) -> None:
    ids = Counter((event.source, event.event_id) for events in day.by_topic.values() for event in events)
    twice = sum(1 for count in ids.values() if count > 1)
    assert 0.001 < twice / len(ids) < 0.004
    times = [occurred(event) for event in day.by_topic["fulfillment"]]
    assert 0 < sum(after < before for before, after in pairwise(times)) < len(times) / 3


def test_ids_and_amounts_of_an_order_belong_together(day: Day) -> None:
    for order in day.of(ev.OrderCreated):
        total = sum(round(float(line.unit_price) * 100) * line.qty for line in order.lines)
        assert order.total == f"{total / 100:.2f}"
        assert order.occurred_at < order.dispatch_by < order.promised_at


def test_freight_follows_from_service_weight_and_way(day: Day) -> None:
    orders = {order.order_id: order for order in day.of(ev.OrderCreated)}
    lost = []
    for parcel in day.of(ev.ShipmentDispatched):
        assert (parcel.freight_cost is None) == (parcel.carrier == "counter")
        if parcel.freight_cost is not None and parcel.order_id in orders:
            order = orders[parcel.order_id]
            assert parcel.currency == order.currency
            assert 3 < float(parcel.freight_cost) < 20
            lost.append(float(parcel.freight_cost) - float(order.freight_charged))
    assert 0.2 < sum(one > 0 for one in lost) / len(lost) < 0.8, "some orders ship at a loss, by plan"
    free = [order for order in orders.values() if float(order.freight_charged) == 0]
    assert 0 < len(free) < len(orders) / 2


HANDOFFS = [
    (ev.OrderCreated, ev.OrderApproved, "order_id", 15 * 60),
    (ev.OrderApproved, ev.OrderAllocated, "order_id", 15 * 60),
    (ev.OrderAllocated, ev.ReservationCreated, "order_id", 10 * 60),
    (ev.TaskQueued, ev.TaskCompleted, "task_id", 2 * 3_600),
    (ev.ReturnReceived, ev.ReturnRestocked, "return_id", 24 * 3_600),
]


@pytest.mark.parametrize(("start", "end", "key", "deadline_s"), HANDOFFS)
def test_work_is_handed_over_in_half_the_time_allowed(
    day: Day, start: type, end: type, key: str, deadline_s: int
) -> None:
    began: dict[str, int] = {}
    for event in day.of(start):
        began.setdefault(getattr(event, key), occurred(event))
    ended: dict[str, int] = {}
    for event in day.of(end):
        ended.setdefault(getattr(event, key), occurred(event))
    took = [(ended[case] - began[case]) / 1e6 for case in began if case in ended]
    assert len(took) > 30
    assert min(took) > 0
    assert max(took) < deadline_s * 0.75
    assert p95(took) < deadline_s / 2
    rejected = {task.task_id for task in day.of(ev.TaskRejected)}
    late = [c for c, at in began.items() if c not in ended and at + deadline_s * 1e6 < day.settings.end]
    assert set(late) <= rejected


def test_postings_follow_the_dispatch(day: Day) -> None:
    posted = {(p.posting_type, p.reference): occurred(p) for p in reversed(day.of(ev.PostingRecorded))}
    assert not day.of(ev.PostingFailed)
    first = {shipment.order_id: shipment for shipment in reversed(day.of(ev.ShipmentDispatched))}
    for shipment in first.values():
        at = occurred(shipment)
        if at < day.settings.end - 2 * HOUR_US:
            assert at < posted["goods_issue", shipment.order_id] < at + 15 * MINUTE_US
            assert at < posted["invoice", shipment.order_id] < at + HOUR_US


def test_promises_are_kept(day: Day) -> None:
    orders = {order.order_id: order for order in day.of(ev.OrderCreated)}
    shipped = {shipment.order_id: shipment for shipment in day.of(ev.ShipmentDispatched)}
    cut = from_us(day.settings.end - HOUR_US)
    for order_id, order in orders.items():
        if order.dispatch_by < cut:
            assert shipped[order_id].occurred_at < order.dispatch_by
    delivered = [event for event in day.of(ev.ShipmentDelivered) if event.order_id in orders]
    assert len(delivered) > 100
    assert all(event.occurred_at < orders[event.order_id].promised_at for event in delivered)
    known = {shipment.shipment_id: shipment.expected_at for shipment in shipped.values()}
    late = [e for e in delivered if e.shipment_id in known and e.occurred_at > known[e.shipment_id]]
    assert len(late) <= len(day.of(ev.ShipmentException))


def test_some_cases_began_before_the_log(day: Day) -> None:
    created = {order.order_id for order in day.of(ev.OrderCreated)}
    assert sum(s.order_id not in created for s in day.of(ev.ShipmentDispatched)) > 20
    assert sum(s.order_id not in created for s in day.of(ev.ShipmentDelivered)) > 100


def test_each_pick_follows_its_allocation_and_its_reservation(day: Day) -> None:
    allocated, reserved = defaultdict(list), defaultdict(list)
    for event in day.of(ev.OrderAllocated):
        allocated[event.order_id, event.node].append(occurred(event))
    for event in day.of(ev.ReservationCreated):
        reserved[event.order_id, event.node, event.sku].append(occurred(event))
    created = {order.order_id for order in day.of(ev.OrderCreated)}
    for task in day.of(ev.TaskCompleted):
        if task.task_type == "pick" and task.order_id in created:
            assert allocated[task.order_id, task.node][0] < reserved[task.order_id, task.node, task.sku][0]
            assert reserved[task.order_id, task.node, task.sku][0] < occurred(task)


def test_stock_is_conserved_and_never_below_zero(day: Day) -> None:
    """Replay each system's own adjustments on its own levels: they must meet at every level it sends."""
    moves = defaultdict(list)
    for event in day.of(ev.InventoryAdjusted):
        moves[event.system, event.node, event.sku].append((event.occurred_at, event.delta))
    levels = defaultdict(list)
    for event in day.of(ev.InventoryLevel):
        levels[event.system, event.node, event.sku].append(event)
    checked = 0
    for item, found in levels.items():
        for before, after in pairwise(found):
            between = sum(d for at, d in moves[item] if before.occurred_at < at <= after.occurred_at)
            assert before.on_hand + between == after.on_hand
            checked += between != 0
    assert checked > 1_000
    assert all(event.on_hand >= 0 for event in day.of(ev.InventoryLevel))
    assert all((event.available or 0) >= 0 for event in day.of(ev.InventoryLevel))


def test_the_three_views_agree_once_settled(day: Day) -> None:
    stock: dict[tuple[str, str, str], float] = {}
    moved: dict[tuple[str, str], int] = {}
    both = [*day.of(ev.InventoryLevel), *day.of(ev.InventoryAdjusted)]
    for event in sorted(both, key=occurred):
        item = (event.system, event.node, event.sku)
        if isinstance(event, ev.InventoryLevel):
            stock[item] = event.on_hand
        elif item in stock:
            stock[item] += event.delta
            moved[item[1:]] = occurred(event)
    settled = {item[1:] for item in stock if moved.get(item[1:], 0) < day.settings.end - 2 * MINUTE_US}
    assert len(settled) > 1_300
    for node, sku in settled:
        assert stock["wms", node, sku] == stock["oms", node, sku] == stock["erp", node, sku]


def test_no_queue_is_near_its_capacity(day: Day) -> None:
    assert max(event.oldest_age_s or 0 for event in day.of(ev.QueueDepth)) < 180
    for kind in (ev.ReservationCreated, ev.InventoryAdjusted, ev.OrderCreated, ev.PostingRecorded):
        assert p95(delay_s(event) for event in day.of(kind)) < 10


def test_a_clean_day_says_so_in_its_truth(day: Day) -> None:
    assert [(record.kind, record.orders) for record in day.result.truth] == [("none", [])]


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def run(name: str, seed: int) -> dict[str, bytes]:
        small = SimulationSettings(
            seed=seed,
            stores=4,
            orders_per_day=300,
            counter_sales_per_day=200,
            duration=Duration(10 * HOUR_US),
        )
        result = simulate(small, tmp_path / name)
        return {topic: path.read_bytes() for topic, path in result.files.items()}

    first = run("a", 1)
    assert run("b", 1) == first
    assert run("c", 2)["orders"] != first["orders"]


def test_progress_goes_up_to_all_of_it(tmp_path: Path) -> None:
    told: list[float] = []
    simulate(SimulationSettings(stores=1, skus=20, duration=Duration(HOUR_US)), tmp_path, told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
