"""Misrouting: what most of the wrong allocations have in common; what goes elsewhere rightly is none."""

import pytest

from operators.detectors.policy import Override
from operators.detectors.routing import Routes
from operators.detectors.routing_watch import routing_judges
from operators.detectors.settings import DetectorSettings
from schemas.durations import DAY_US, MINUTE_US
from tests.detector_days import Day, at, named, run, with_book

ENDS = at(18)
REGIONS = ("north", "south", "west")
BROKEN = range(240, 420)  # ordered from 10:00 to 13:00


def parts(settings: DetectorSettings = DetectorSettings()):  # noqa: ANN201, B008 - as `Parts`; frozen
    policy = settings.policy
    return with_book(
        lambda book: [Routes(book, DAY_US)], lambda: routing_judges(policy("routing.elsewhere"), policy("routing.late"))
    )


def routed(wrong, *, unsaid: int = 0, goes_to: str = "dc-east", refused: bool = False, sku: str = "") -> Day:  # noqa: ANN001 - of (number, region)
    """An order a minute from 6:00, of each region in turn and its centre; every 50th goes elsewhere for some reason.

    Of every `unsaid`-th nobody says where it should go.
    """
    day = Day()
    for number in range(600):
        region, now, order = REGIONS[number % 3], at(6) + number * MINUTE_US, f"o{number}"
        astray = wrong(number, region)
        day.order(order, now, region=region, sku=sku if sku and astray else f"sku-{number % 40}")
        home, line = f"dc-{region}", "1"
        if refused and astray:
            day.tell("order.allocated", now + 1, order_id=order, line_id=line, node=home, expected_node=home)
            stock = {"reservation_id": f"r{number}", "order_id": order, "sku": "s", "node": home, "qty": 1}
            day.tell("reservation.rejected", now + 2, **stock)
        node = goes_to if astray else "dc-spare" if number % 50 == 0 else home
        said = {} if unsaid and number % unsaid == 0 else {"expected_node": home}
        day.tell("order.allocated", now + 3, order_id=order, line_id=line, node=node, **said)
    return day


def test_a_region_that_is_sent_elsewhere_is_found_with_its_orders_and_closes() -> None:
    events = routed(lambda number, region: number in BROKEN and region == "south", unsaid=4).events
    found = run(events, parts(), ENDS)
    signals = [finding.signal for finding in found]
    assert {signal.kind for signal in signals} == {"misrouting"}
    assert signals[0].scope == {"region": "south", "node": "dc-east"}
    assert at(10) < signals[0].found_at_us <= at(10.5)
    assert signals[0].opened_at_us >= at(10)
    assert signals[-1].closed_at_us is not None
    wanted = {f"o{number}" for number in BROKEN if number % 3 == 1}
    assert len(named(found)) == len(set(named(found)))
    assert len(wanted & set(named(found))) >= 0.95 * len(wanted)  # also those of which nobody said where they belong
    assert len(wanted & set(named(found))) >= 0.95 * len(named(found))
    assert run(events, parts(), ENDS, step_us=17 * MINUTE_US, keep=True) == found


def test_of_an_expected_node_whose_orders_go_to_several_the_node_is_the_scope() -> None:
    mixed = Day()  # each centre serves a third of each region: regions don't explain it
    for number in range(600):
        region, now, order = REGIONS[number % 3], at(6) + number * MINUTE_US, f"o{number}"
        expected = ("dc-1", "dc-2", "dc-3")[number // 3 % 3]
        mixed.order(order, now, region=region, sku=f"sku-{number % 40}")
        node = ("dc-2", "dc-3")[number % 2] if number in BROKEN and expected == "dc-1" else expected
        mixed.tell("order.allocated", now + 3, order_id=order, node=node, expected_node=expected)
    found = run(mixed.events, parts(), ENDS)
    assert {tuple(finding.signal.scope.items()) for finding in found} == {(("node", "dc-1"),)}
    assert set(named(found)) == {f"o{number}" for number in BROKEN if number // 3 % 3 == 0}


def test_orders_that_go_to_and_fro_without_a_refusal_are_misrouted() -> None:
    day = Day()
    for number in range(600):
        now, order = at(6) + number * MINUTE_US, f"o{number}"
        day.order(order, now, region=REGIONS[number % 3], sku=f"sku-{number % 40}")
        there = ("dc-1", "dc-2", "dc-1") if number in BROKEN and number % 3 == 0 else ("dc-1",)
        for step, node in enumerate(there):
            day.tell("order.allocated", now + step, order_id=order, node=node, expected_node="dc-1")
    found = run(day.events, parts(), ENDS)
    assert {finding.signal.scope.get("region") for finding in found} == {"north"}
    assert set(named(found)) == {f"o{number}" for number in BROKEN if number % 3 == 0}


@pytest.mark.parametrize(
    "day",
    [
        routed(lambda number, region: False),  # noqa: ARG005 - nothing
        routed(lambda number, region: number in BROKEN and region == "south", refused=True),
        routed(lambda number, region: number in BROKEN and region == "south", sku="sold-out"),
    ],
    ids=["usual", "refused", "sold_out"],
)
def test_what_goes_elsewhere_rightly_is_none(day: Day) -> None:
    assert run(day.events, parts(), ENDS) == []


@pytest.mark.parametrize("part", ["cancelled", "shipped"])
def test_what_a_node_refused_may_go_anywhere_whatever_becomes_of_the_rest_of_the_order(part: str) -> None:
    """Of two lines one is refused at home in the south; before it is sent elsewhere the other is cancelled, or goes."""
    day = Day()
    for number in range(600):
        region, now, order = REGIONS[number % 3], at(6) + number * MINUTE_US, f"o{number}"
        home, skus = f"dc-{region}", (f"sku-{number % 40}", f"sku-{(number + 7) % 40}")
        lines = [{"line_id": str(at), "sku": sku, "qty": 1, "unit_price": "10.00"} for at, sku in enumerate(skus)]
        day.tell("order.created", now, order_id=order, currency="EUR", channel="web", region=region, lines=lines)
        for line in ("0", "1"):
            day.tell("order.allocated", now + 1, order_id=order, line_id=line, node=home, expected_node=home)
        if number not in BROKEN or region != "south":
            continue
        stock = {"reservation_id": f"r{number}", "order_id": order, "sku": skus[1], "node": home, "qty": 1}
        day.tell("reservation.rejected", now + 2, **stock)
        if part == "cancelled":
            day.tell("order.cancelled", now + 3, order_id=order, line_id="0")
        else:
            sent = [{"line_id": "0", "sku": skus[0], "qty": 1}]
            day.tell("shipment.dispatched", now + 3, order_id=order, shipment_id=f"s{number}", node=home, lines=sent)
        day.tell("order.allocated", now + 4, order_id=order, line_id="1", node="dc-east", expected_node=home)
    assert run(day.events, parts(), ENDS) == []


def promoted(*, south: bool) -> Day:
    """Usual orders, and from 9:00 to 13:00 as many again with one of four items that are sold out at all centres.

    These go elsewhere, with what else is ordered with them. With `south`, so do all orders of that region from 10:00.
    """
    day = routed(lambda number, region: south and number in BROKEN and region == "south")
    for number in range(180, 420):
        region, now, order = REGIONS[number % 3], at(6) + number * MINUTE_US + 20_000_000, f"p{number}"
        skus = [f"sku-{number % 40}", f"promoted-{number % 4}"][:: -1 if number % 2 else 1]
        lines = [{"line_id": str(place), "sku": sku, "qty": 1} for place, sku in enumerate(skus)]
        day.tell("order.created", now, order_id=order, channel="web", region=region, lines=lines)
        goes_to = f"dc-{region}" if number % 5 == 0 else "dc-spare"
        day.tell("order.allocated", now + 3, order_id=order, node=goes_to, expected_node=f"dc-{region}")
    return day


def test_items_that_are_sold_out_everywhere_are_no_misrouting() -> None:
    assert run(promoted(south=False).events, parts(), ENDS) == []


def test_a_wrong_table_is_found_beside_items_that_are_sold_out() -> None:
    found = run(promoted(south=True).events, parts(), ENDS)
    assert {finding.signal.scope.get("region") for finding in found} == {"south"}
    assert at(10) < found[0].signal.found_at_us <= at(10.75)


def test_thresholds_of_a_region() -> None:
    events = routed(lambda number, region: number in BROKEN and region == "south").events
    override = Override(region="south", set={"routing.elsewhere.least": 10_000})
    found = run(events, parts(DetectorSettings(override=[override])), ENDS)
    assert all(finding.signal.scope.get("region") != "south" for finding in found)


def test_orders_of_many_lines_that_go_astray_count_once() -> None:
    day = routed(lambda number, region: False)  # noqa: ARG005 - as the others
    for number in range(2):
        now = at(10) + number * MINUTE_US
        lines = [{"line_id": str(line), "sku": f"sku-{number}-{line}", "qty": 1} for line in range(9)]
        day.tell("order.created", now, order_id=f"big-{number}", channel="web", region="south", lines=lines)
        for line in range(9):
            said = {"order_id": f"big-{number}", "line_id": str(line), "node": "dc-east", "expected_node": "dc-south"}
            day.tell("order.allocated", now + 3, **said)
    assert run(day.events, parts(), ENDS) == []


def test_a_node_that_sells_out_more_and_more_is_none() -> None:
    day, missed = Day(), 0.0
    for number in range(600):
        now, node = at(6) + number * MINUTE_US, f"store-{number % 2}"
        day.order(f"o{number}", now, region="north", sku=f"sku-{number % 97}")
        missed += max(0.0, (number - 240) / 300) if node == "store-1" else 0.0
        sold_out, missed = missed >= 1, missed % 1
        goes_to = "dc-1" if sold_out else node
        day.tell("order.allocated", now + 3, order_id=f"o{number}", node=goes_to, expected_node=node)
    assert run(day.events, parts(), ENDS) == []
