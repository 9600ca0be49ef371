"""Stock that isn't there, missing people, wrong routes, late carriers: by mechanism, and the truth about them."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from scenarios.settings import BreakdownSpec, SimulationSettings
from scenarios.truth import TruthRecord
from schemas import events as ev
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US, Duration, Instant
from schemas.errors import SettingsError
from tests.simulated_days import Day, occurred, p95


def _broken(out: Path, kind: str, **parameters: object) -> tuple[Day, TruthRecord, int, int]:
    spec = BreakdownSpec(kind=kind, parameters=parameters)
    day = Day(SimulationSettings(seed=7, stores=9, breakdowns=(spec,)), out)
    record = next(record for record in day.result.truth if record.kind == kind)
    return day, record, Instant.parse(record.begin), Instant.parse(record.end)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(SimulationSettings(seed=7, stores=9), tmp_path_factory.mktemp("clean"))


# --- phantom stock -----------------------------------------------------------------------------------------


def test_phantom_stock_is_believed_by_every_system_until_it_is_counted(tmp_path: Path) -> None:
    day, record, begin, end = _broken(tmp_path, "phantom_stock")
    short = [task for task in day.of(ev.TaskRejected) if task.reason == "short"]
    assert len(short) > 10
    assert {(task.node, task.sku) for task in short} <= {(record.scope["node"], sku) for sku in record.scope["sku"]}
    assert {task.order_id for task in short} == set(record.orders)
    assert all(begin < occurred(task) < end + HOUR_US for task in short)
    believed = [
        level
        for level in day.of(ev.InventoryLevel)
        if level.node == record.scope["node"]
        and level.sku in record.scope["sku"]
        and begin < occurred(level) < end - MINUTE_US
    ]
    assert {level.system for level in believed} == {"wms", "oms", "erp"}
    assert min(level.on_hand for level in believed) > 0
    counts = [event for event in day.of(ev.InventoryAdjusted) if event.reason == "count"]
    assert {(event.node, event.sku) for event in counts} == {(record.scope["node"], sku) for sku in record.scope["sku"]}
    assert all(end - SECOND_US < occurred(event) < end + 2 * MINUTE_US for event in counts)
    found = {(event.system, event.sku): event.delta for event in counts}
    assert all(delta < 0 for delta in found.values())
    for sku in record.scope["sku"]:
        assert found["wms", sku] == found["oms", sku] == found["erp", sku]
    stock: dict[tuple[str, str], float] = {}
    both = [*day.of(ev.InventoryLevel), *day.of(ev.InventoryAdjusted)]
    for event in sorted(both, key=occurred):
        if event.node == record.scope["node"] and event.sku in record.scope["sku"]:
            item = (event.system, event.sku)
            stock[item] = event.on_hand if isinstance(event, ev.InventoryLevel) else stock[item] + event.delta
    for sku in record.scope["sku"]:
        assert stock["wms", sku] == stock["oms", sku] == stock["erp", sku]
    cost = {e.sku: float(e.unit_cost) for e in day.of(ev.InventoryLevel) if e.system == "erp"}
    counted = sum(-found["wms", sku] * cost[sku] for sku in record.scope["sku"])
    assert float(record.value_at_risk) == pytest.approx(counted, abs=0.01)


# --- oversell ----------------------------------------------------------------------------------------------


def test_a_channel_with_old_figures_sells_what_is_gone(tmp_path: Path, clean: Day) -> None:
    day, record, begin, end = _broken(tmp_path, "oversell")
    orders = {order.order_id: order for order in day.of(ev.OrderCreated)}
    refused = day.of(ev.ReservationRejected)
    assert not clean.of(ev.ReservationRejected)
    assert len(refused) > 50
    assert {event.order_id for event in refused} <= set(record.orders)
    assert {event.sku for event in refused} <= set(record.scope["sku"])
    first = min(occurred(event) for event in refused)
    assert begin < first < begin + 15 * MINUTE_US
    assert {orders[event.order_id].channel for event in refused} == {record.scope["channel"]}
    cancelled = {e.order_id for e in day.of(ev.OrderCancelled) if begin < occurred(e) < end}
    assert cancelled <= set(record.orders)
    assert len(cancelled) > 0.9 * len({event.order_id for event in refused})
    level = [e for e in day.of(ev.InventoryLevel) if e.sku in record.scope["sku"] and e.system == "oms"]
    assert {e.available for e in level if begin + 5 * MINUTE_US < occurred(e) < end - HOUR_US} == {0}


# --- labour ------------------------------------------------------------------------------------------------


def _pick_waits(day: Day, node: str) -> list[tuple[str, int, float]]:
    queued = {task.task_id: task for task in day.of(ev.TaskQueued) if task.task_type == "pick" and task.node == node}
    started = {task.task_id: occurred(task) for task in day.of(ev.TaskStarted)}
    return [
        (task.order_id, occurred(task), (started.get(task_id, day.settings.end) - occurred(task)) / 1e6)
        for task_id, task in queued.items()
    ]


def test_without_pickers_tasks_queue_and_start_late(tmp_path: Path, clean: Day) -> None:
    day, record, begin, end = _broken(tmp_path, "picking_backlog", node="store-001", absent=1.0)
    assert record.scope == {"node": "store-001"}
    waits = _pick_waits(day, "store-001")
    late = {order for order, _, wait in waits if wait > 45 * 60}
    assert len(late) > 20
    edge = {order for order, _, wait in waits if abs(wait - 45 * 60) < 15}
    assert late - edge <= set(record.orders) <= late | edge
    assert all(at < end for order, at, wait in waits if order in late and wait > 45 * 60)
    assert max(wait for _, _, wait in _pick_waits(clean, "store-001")) < 45 * 60
    started = [e for e in day.of(ev.TaskStarted) if e.node == "store-001" and e.task_type == "pick"]
    assert not [e for e in started if begin + 10 * MINUTE_US < occurred(e) < end]
    other = [wait for _, at, wait in _pick_waits(day, "store-002") if begin <= at < end]
    assert p95(other) < 45 * 60


def test_some_pickers_left_means_some_work_done(tmp_path: Path) -> None:
    day, record, begin, end = _broken(tmp_path, "picking_backlog")
    done = [e for e in day.of(ev.TaskCompleted) if e.node == record.scope["node"] and e.task_type == "pick"]
    assert sum(begin + HOUR_US < occurred(e) < end for e in done) > 50
    assert record.orders


# --- routing -----------------------------------------------------------------------------------------------


def _deviations(allocations: list[ev.OrderAllocated]) -> list[ev.OrderAllocated]:
    return [event for event in allocations if event.node != event.expected_node]


def test_on_a_clean_day_few_allocations_leave_the_expected_node(clean: Day) -> None:
    allocations = clean.of(ev.OrderAllocated)
    assert 0.002 < len(_deviations(allocations)) / len(allocations) < 0.04


@pytest.mark.parametrize("region", ["south", "north"])
def test_a_region_in_the_wrong_table_is_served_from_elsewhere(tmp_path: Path, region: str) -> None:
    day, record, begin, end = _broken(tmp_path, "misrouting", region=region)
    assert record.scope == {"region": region}
    inside = [e for e in day.of(ev.OrderAllocated) if begin <= occurred(e) - 300_000 < end - 600_000]
    astray = _deviations(inside)
    assert len(astray) > 15
    ours = [event for event in astray if event.region == region]
    assert {event.order_id for event in ours} <= set(record.orders)
    assert len(set(record.orders) - {event.order_id for event in ours}) <= 1
    assert len(ours) > 0.9 * len(astray)
    region_of = {task.node: task.region for task in day.of(ev.TaskQueued)}
    wrong = Counter(region_of[event.node] for event in ours)
    assert wrong.most_common(1)[0][0] != region
    assert {region_of[event.expected_node] for event in ours if event.expected_node.startswith("store")} == {region}


def test_nodes_missing_from_the_table_get_nothing(tmp_path: Path) -> None:
    day, record, begin, end = _broken(tmp_path, "misrouting", nodes=["store-001", "store-002"])
    inside = [e for e in day.of(ev.OrderAllocated) if begin + 300_000 <= occurred(e) < end - 300_000]
    assert not [event for event in inside if event.node in record.scope["node"]]
    meant = {event.order_id for event in inside if event.expected_node in record.scope["node"]}
    assert len(meant) > 10
    assert meant <= set(record.orders)


def test_orders_can_go_back_and_forth(tmp_path: Path) -> None:
    day, record, _, _ = _broken(tmp_path, "misrouting", region="north", ping_pong=3)
    nodes = defaultdict(list)
    for event in day.of(ev.OrderAllocated):
        nodes[event.order_id].append(event.node)
    handed_back = {e.order_id for e in day.of(ev.ReservationRejected) if e.reason == "not_responsible"}
    assert handed_back
    assert handed_back <= set(record.orders)
    there_and_back = [found for order, found in nodes.items() if order in handed_back and len(found) == 4]
    assert there_and_back
    assert all(a == c and b == d and a != b for a, b, c, d in there_and_back)


# --- carriers ----------------------------------------------------------------------------------------------


def _late(day: Day, carrier: str) -> set[str]:
    """Orders whose parcel was not there when the carrier had said, as far as the log shows it."""
    came = {e.shipment_id: occurred(e) for e in day.of(ev.ShipmentDelivered)}
    sent = [(e, e.expected_at.timestamp() * 1e6) for e in day.of(ev.ShipmentDispatched) if e.carrier == carrier]
    ends = day.settings.end
    return {e.order_id for e, expected in sent if expected < ends and came.get(e.shipment_id, ends) > expected}


@pytest.mark.parametrize("hours", [24, 15])
def test_a_slow_carrier_delivers_after_it_said(tmp_path: Path, clean: Day, hours: int) -> None:
    spec = BreakdownSpec(kind="carrier_delay", end=Duration(15 * HOUR_US), parameters={"told": 0.5})
    settings = SimulationSettings(seed=7, stores=9, duration=Duration(hours * HOUR_US), breakdowns=(spec,))
    day = Day(settings, tmp_path)
    record = next(record for record in day.result.truth if record.kind == "carrier_delay")
    told = Counter(e.shipment_id for e in day.of(ev.ShipmentException) if e.reason == "line_haul_delay")
    held_up = {e.order_id for e in day.of(ev.ShipmentException) if e.shipment_id in told}
    natural = {e.order_id for e in day.of(ev.ShipmentException) if e.reason == "recipient_absent"}
    assert record.scope == {"carrier": "courier-1"}
    late = _late(day, "courier-1")
    assert len(late) > 8
    assert len(told) > 8
    assert max(told.values()) == 1
    assert late - natural <= set(record.orders) <= late | held_up
    assert not _late(clean, "courier-1") - {e.order_id for e in clean.of(ev.ShipmentException)}


def test_the_parcels_of_other_carriers_come_at_the_same_instants(tmp_path: Path, clean: Day) -> None:
    day, record, _, _ = _broken(tmp_path, "carrier_delay")
    others = {e.shipment_id: e.occurred_at for e in day.of(ev.ShipmentDelivered) if e.carrier != "courier-1"}
    same = {e.shipment_id: e.occurred_at for e in clean.of(ev.ShipmentDelivered) if e.carrier != "courier-1"}
    assert record.orders
    assert others == same


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("phantom_stock", {"node": "store-099"}, "store-001 to dc-01"),
        ("phantom_stock", {"share": 1.5}, "at most 1"),
        ("oversell", {"skus": 0}, "between 1 and"),
        ("picking_backlog", {"absent": 0.0}, "above 0"),
        ("misrouting", {"region": "moon"}, "north, south"),
        ("misrouting", {"region": "north", "nodes": ["store-001"]}, "not both"),
        ("carrier_delay", {"carrier": "counter"}, "courier-1, parcel-1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    tmp_path: Path, kind: str, parameters: dict[str, object], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        _broken(tmp_path, kind, **parameters)


def test_two_nodes_may_lose_their_pickers_at_once(tmp_path: Path) -> None:
    specs = tuple(
        BreakdownSpec(
            kind="picking_backlog", begin=Duration(HOUR_US), end=Duration(2 * HOUR_US), parameters={"node": n}
        )
        for n in ("store-001", "store-002")
    )
    settings = SimulationSettings(stores=3, orders_per_day=200, duration=Duration(3 * HOUR_US), breakdowns=specs)
    scopes = [r.scope for r in Day(settings, tmp_path).result.truth if r.kind != "none"]
    assert scopes == [{"node": "store-001"}, {"node": "store-002"}]
