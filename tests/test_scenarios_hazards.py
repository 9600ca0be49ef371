"""Hazards are unusual and nothing more: the log shows them, nothing breaks, and the truth has no breakdown in it."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from scenarios.hazards.registry import HAZARDS
from scenarios.settings import BreakdownSpec, SimulationSettings, read_settings
from scenarios.simulate import simulate
from schemas import events as ev
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, Instant, to_us
from schemas.errors import SettingsError
from tests.simulated_days import Day, delay_s, occurred, recorded


def _settings(kind: str = "", **parameters: object) -> SimulationSettings:
    return SimulationSettings(hazards=(BreakdownSpec(kind=kind, parameters=parameters),) if kind else ())


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(_settings(), tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module", params=sorted(HAZARDS))
def hazard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Day]:
    return request.param, Day(_settings(request.param), tmp_path_factory.mktemp("hazard"))


def test_nothing_breaks(hazard: tuple[str, Day]) -> None:
    _, day = hazard
    assert not day.refused
    assert not day.of(ev.OrderCancelled)
    assert not day.of(ev.PostingFailed)
    assert not day.of(ev.ReservationRejected)
    assert not [task for task in day.of(ev.TaskRejected) if task.reason == "short"]
    assert max(event.oldest_age_s or 0 for event in day.of(ev.QueueDepth)) < 180
    assert all(level.on_hand >= 0 for level in day.of(ev.InventoryLevel))
    shipped = {shipment.order_id: occurred(shipment) for shipment in day.of(ev.ShipmentDispatched)}
    for order in day.of(ev.OrderCreated):
        assert order.dispatch_by is not None
        due = to_us(order.dispatch_by)
        assert due > day.settings.end - HOUR_US or shipped[order.order_id] < due
    queued = {task.task_id: occurred(task) for task in day.of(ev.TaskQueued)}
    done = {task.task_id: occurred(task) for kind in (ev.TaskCompleted, ev.TaskRejected) for task in day.of(kind)}
    waits = [done.get(task, day.settings.end) - at for task, at in queued.items()]
    assert max(waits) < 90 * MINUTE_US


def test_the_truth_names_it_in_a_clean_period(hazard: tuple[str, Day]) -> None:
    kind, day = hazard
    (record,) = day.result.truth
    assert (record.kind, [met.kind for met in record.hazards]) == ("none", [kind])


def _shares(day: Day, kind: type, begin: float, end: float) -> int:
    start = day.settings.start
    return sum(start + begin * HOUR_US <= occurred(event) < start + end * HOUR_US for event in day.of(kind))


@pytest.mark.parametrize("hazard", ["quiet_night", "weekly_peak"], indirect=True)
def test_demand_is_planned_otherwise(hazard: tuple[str, Day], clean: Day) -> None:
    kind, day = hazard
    low, high, until = (0.02, 0.3, 6) if kind == "quiet_night" else (1.5, 1.9, 24)
    assert low < _shares(day, ev.OrderCreated, 0, until) / _shares(clean, ev.OrderCreated, 0, until) < high
    if kind == "quiet_night":
        assert 0.85 < _shares(day, ev.OrderCreated, 6, 24) / _shares(clean, ev.OrderCreated, 6, 24) < 1.15
    else:
        assert 1.5 < _shares(day, ev.SaleRecorded, 0, 24) / _shares(clean, ev.SaleRecorded, 0, 24) < 1.9


@pytest.mark.parametrize("hazard", ["announced_promotion"], indirect=True)
def test_a_promotion_that_was_bought_for_sells(hazard: tuple[str, Day], clean: Day) -> None:
    _, day = hazard
    known = {event.promotion_id for event in clean.of(ev.PromotionStarted)}
    (started,) = [event for event in day.of(ev.PromotionStarted) if event.promotion_id not in known]

    def wanted(of: Day) -> int:
        begin = 10 * HOUR_US + of.settings.start
        orders = [order for order in of.of(ev.OrderCreated) if 0 <= occurred(order) - begin < 10 * HOUR_US]
        return sum(line.sku in started.skus for order in orders for line in order.lines)

    assert 2 < wanted(day) / wanted(clean) < 4.5
    sold = [Counter(sale.sku in started.skus for sale in of.of(ev.SaleRecorded))[True] for of in (day, clean)]
    assert sold[0] > 1.5 * sold[1]

    def there(of: Day) -> float:
        first = {(e.node, e.sku): e.on_hand for e in reversed(of.of(ev.InventoryLevel)) if e.system == "wms"}
        return sum(on_hand for (_, sku), on_hand in first.items() if sku in started.skus)

    assert there(day) > there(clean) + 2 * (wanted(day) - wanted(clean))


@pytest.mark.parametrize("forward", [True, False])
def test_business_moves_by_an_hour_in_utc_and_not_by_its_own_clocks(
    tmp_path: Path, clean: Day, *, forward: bool
) -> None:
    day = Day(_settings("daylight_saving", forward=forward), tmp_path)
    moved = -HOUR_US if forward else HOUR_US

    def doors(of: Day) -> int:
        begin = of.settings.start + 2 * HOUR_US
        return min(occurred(t) for t in of.of(ev.TaskStarted) if t.node.startswith("store") and occurred(t) > begin)

    def till(of: Day) -> tuple[int, int]:
        times = [occurred(sale) for sale in of.of(ev.SaleRecorded)]
        return min(times), max(times)

    assert abs(doors(day) - doors(clean) - moved) < 5 * MINUTE_US
    for new, old in zip(till(day), till(clean), strict=True):
        assert abs(new - old - moved) < 20 * MINUTE_US


@pytest.mark.parametrize("behind", [True, False])
def test_one_clock_is_off_and_no_message_is_late(tmp_path: Path, clean: Day, *, behind: bool) -> None:
    day = Day(_settings("clock_off", behind=behind), tmp_path)
    off = -90 if behind else 90

    def delays(of: Day, *, oms: bool) -> list[float]:
        events = of.of(ev.OrderApproved) if oms else of.of(ev.OrderCreated)
        found = sorted(delay_s(event) for event in events)
        return [found[len(found) // 10], found[len(found) // 2]]

    assert delays(day, oms=True) == pytest.approx([delay - off for delay in delays(clean, oms=True)], abs=0.1)
    assert delays(day, oms=False) == pytest.approx(delays(clean, oms=False), abs=0.1)
    assert [recorded(e) for e in day.by_topic["orders"]] == [recorded(e) for e in clean.by_topic["orders"]]
    assert {e.source for e in day.of(ev.OrderApproved)} == {"oms-1"}


def test_a_fifth_of_ten_minutes_comes_twice(tmp_path: Path) -> None:
    day = Day(_settings("duplicate_burst"), tmp_path)
    begin = day.settings.start + 12 * HOUR_US
    ids = defaultdict(list)
    for events in day.by_topic.values():
        for event in events:
            ids[event.source, event.event_id].append(recorded(event))
    inside = [times for times in ids.values() if begin <= times[0] < begin + 10 * MINUTE_US]
    assert len(inside) > 300
    assert 0.15 < sum(len(times) == 2 for times in inside) / len(inside) < 0.25
    rest = [times for times in ids.values() if not begin - MINUTE_US <= times[0] < begin + 11 * MINUTE_US]
    assert sum(len(times) == 2 for times in rest) / len(rest) < 0.004


def test_an_outage_of_the_consumer_holds_all_back_and_keeps_the_order(tmp_path: Path, clean: Day) -> None:
    day = Day(_settings("consumer_outage"), tmp_path)
    begin = day.settings.start + 15 * HOUR_US
    end = begin + 10 * MINUTE_US
    for topic, events in day.by_topic.items():
        assert not [event for event in events if begin <= recorded(event) < end]
        mine = [(event.source, event.event_id, occurred(event)) for event in events]
        assert mine == [(event.source, event.event_id, occurred(event)) for event in clean.by_topic[topic]]
    held = [e for events in day.by_topic.values() for e in events if end <= recorded(e) < end + MINUTE_US]
    usual = [e for events in clean.by_topic.values() for e in events if begin <= recorded(e) < end + MINUTE_US]
    assert len(held) == len(usual) > 300
    assert max(recorded(event) - occurred(event) for event in held) > 9 * MINUTE_US


def test_a_breakdown_and_a_hazard_may_meet_and_toml_asks_for_both(tmp_path: Path) -> None:
    text = """
    duration = "12h"
    [[breakdowns]]
    kind = "refund_lag"
    begin = "9h"
    end = "11h"
    [[hazards]]
    kind = "duplicate_burst"
    begin = "10h"
    end = "10h10m"
    parameters = { share = 0.5 }
    """
    truth = simulate(read_settings(text, "day.toml"), tmp_path).truth
    assert [(record.kind, len(record.hazards)) for record in truth] == [("none", 0), ("refund_lag", 1)]


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("flood", {}, "there is no such hazard; accepted here: announced_promotion"),
        ("quiet_night", {"share": 2}, r"hazards\[0\].parameters: .*share must be"),
        ("weekly_peak", {"factor": 9}, "factor must be"),
        ("announced_promotion", {"skus": 99}, "skus must be"),
        ("clock_off", {"source": "sap"}, "source must be one of erp-1"),
        ("clock_off", {"off": "10m"}, "at most 120s"),
        ("duplicate_burst", {"share": 1}, "share must be"),
        ("consumer_outage", {"catch_up": "0s"}, "catch_up must be"),
        ("consumer_outage", {"catchup": "5s"}, "catchup"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, kind: str, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        simulate(_settings(kind, **parameters), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_week_goes_well_from_its_first_day_to_its_last(tmp_path: Path) -> None:
    settings = SimulationSettings(
        stores=5,
        orders_per_day=500,
        counter_sales_per_day=900,
        level_cycle=Duration(24 * HOUR_US),
        duration=Duration(8 * DAY_US),
    )
    day = Day(settings, tmp_path)
    days: dict[int, Counter[type]] = defaultdict(Counter)
    for kind in (ev.OrderCreated, ev.OrderCancelled, ev.GoodsReceived, ev.SaleRecorded):
        for event in day.of(kind):
            days[(occurred(event) - settings.start) // DAY_US][kind] += 1
    assert len([number for number in days if number >= 0]) == 8
    orders = [days[number][ev.OrderCreated] for number in range(8)]
    assert max(orders) == orders[5] > 1.4 * orders[0]
    for number in range(8):
        assert days[number][ev.OrderCancelled] <= 0.005 * orders[number]
        assert days[number][ev.GoodsReceived] > 3
    assert days[7][ev.SaleRecorded] > 0.9 * days[0][ev.SaleRecorded]
    short = [task for task in day.of(ev.TaskRejected) if task.reason == "short"]
    assert len(short) <= 0.002 * sum(orders)
    assert Instant.parse(day.result.truth[0].end) == settings.end
    assert max(delay_s(event) for event in day.of(ev.ReservationCreated)) * SECOND_US < 5 * MINUTE_US
