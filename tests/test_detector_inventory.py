"""Stock that drifts apart or is not there, and items that run out: what is a finding, what is not, what it names."""

from collections.abc import Iterable

import msgspec
import pytest

from operators.detectors.adjustments import AdjustmentsLost
from operators.detectors.cover import SkuWatch
from operators.detectors.demand import Demand
from operators.detectors.events import EventDetector, EventDetectors
from operators.detectors.inventory import Inventory
from operators.detectors.order_book import OrderBook
from operators.detectors.oversell import Unfilled
from operators.detectors.phantom import PhantomStock, PickShorts
from operators.detectors.policy import Override
from operators.detectors.records import ScopeFinding
from operators.detectors.scopes import ScopeDetectors, ScopeDetectorsState
from operators.detectors.settings import DetectorSettings
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, rfc3339
from schemas.errors import StateError
from schemas.events import Arrived, Event
from tests.harness import START_US
from tests.tallies import all_tallies

SETTINGS = DetectorSettings()


class Log:
    """Events of a small retailer, one after the other."""

    def __init__(self) -> None:
        self.events: list[Arrived] = []

    def say(self, kind: str, at_us: int, system: str = "oms", **fields: object) -> None:
        number = len(self.events)
        body = {"type": kind, "event_id": f"e{number}", "source": "x", "system": system, "occurred_at": rfc3339(at_us)}
        event = msgspec.convert(body | fields, Event)  # type: ignore[arg-type] # a union
        self.events.append(Arrived(int(at_us), "t", 0, number, int(at_us), event))

    def level(self, at_us: int, sku: str, on_hand: float, system: str = "wms", node: str = "n1") -> None:
        cost = {"unit_cost": "2.00"} if system == "erp" else {}
        self.say("inventory.level", at_us, system, sku=sku, node=node, on_hand=on_hand, **cost)

    def move(self, at_us: int, sku: str, delta: float, system: str = "wms", reason: str = "sale") -> None:
        self.say("inventory.adjusted", at_us, system, sku=sku, node="n1", delta=delta, reason=reason)

    def order(self, at_us: int, name: str, sku: str, channel: str = "web") -> None:
        lines = [{"line_id": "1", "sku": sku, "qty": 1, "unit_price": "10.00", "unit_cost": "6.00"}]
        self.say("order.created", at_us, "ecom", order_id=name, channel=channel, currency="EUR", lines=lines)

    def reservation(self, what: str, at_us: int, order: str, sku: str) -> None:
        self.say(
            f"reservation.{what}", at_us, "wms", reservation_id=f"r{order}", order_id=order, sku=sku, node="n1", qty=1
        )

    def short(self, at_us: int, order: str, sku: str) -> None:
        more = {"task_id": f"t{order}", "task_type": "pick", "order_id": order, "sku": sku, "node": "n1"}
        self.say("task.rejected", at_us, "wms", **more)
        self.reservation("released", at_us + SECOND_US, order, sku)


def firsts(settings: DetectorSettings) -> tuple[EventDetectors, ...]:
    """The case, the item and the interface group."""
    book = OrderBook(settings.order_retention)
    items: list[EventDetector] = [Inventory(settings.inventory.lag)]
    return (
        EventDetectors([book, PickShorts(book), Unfilled(book)]),
        EventDetectors(items),
        EventDetectors([Demand(settings.demand.surge)]),
    )


def judges(settings: DetectorSettings) -> ScopeDetectors:
    policy = settings.policy
    return ScopeDetectors(
        [
            AdjustmentsLost(policy("inventory.lost"), "EUR"),
            PhantomStock(policy("inventory.phantom"), "EUR"),
            SkuWatch(policy("demand.cover")),
        ]
    )


def run(
    log: Log, settings: DetectorSettings = SETTINGS, *, keep: bool = False, step_us: int = 20 * MINUTE_US
) -> list[ScopeFinding]:
    """All that is found, with time told every `step_us`; everything is restarted each time with `keep`."""
    groups, second = firsts(settings), judges(settings)
    events, out = sorted(log.events), list[ScopeFinding]()
    at = 0
    for now in range(START_US + step_us, events[-1].arrival_us + 6 * HOUR_US, step_us):
        upto = at
        while upto < len(events) and events[upto].arrival_us < now:
            upto += 1
        for group in groups:
            second.update(all_tallies(group.update(events[at:upto], [], now)))
        at = upto
        out += second.advance(now)
        if keep:
            kept, judged = [group.snapshot() for group in groups], msgspec.msgpack.encode(second.snapshot())
            groups, second = firsts(settings), judges(settings)
            for group, state in zip(groups, kept, strict=True):
                group.restore(state)
            second.restore(msgspec.msgpack.decode(judged, type=ScopeDetectorsState))
    assert not any(impact.tag for one in out for impact in one.impacts), "tags are for second parts alone"
    return out


def kinds(found: Iterable[ScopeFinding]) -> set[tuple[str, str]]:
    return {(one.signal.kind, str(sorted(one.signal.scope.items()))) for one in found}


def named(found: Iterable[ScopeFinding]) -> list[str]:
    return [impact.order_id for one in found for impact in one.impacts]


# --- adjustments that one system does not hear of ---------------------------------------------------------------


def a_shop(lost: range, *, tells: bool = True, levels: bool = True, delay_us: int = 2 * MINUTE_US) -> Log:
    """A sale a minute of 40 items for 8 hours; the ERP follows, by adjustments too if it `tells`, but for `lost`."""
    log = Log()
    wms, erp = dict.fromkeys(range(40), 500.0), dict.fromkeys(range(40), 500.0)
    for item in wms:
        log.level(START_US + item, f"s{item}", 500, "wms")
        log.level(START_US + item, f"s{item}", 500, "erp")
    for minute in range(1, 480):
        at, item = START_US + minute * MINUTE_US, minute * 7 % 40
        wms[item] -= 1
        log.move(at, f"s{item}", -1)
        if minute not in lost:
            erp[item] -= 1
            if tells:
                log.move(at + delay_us, f"s{item}", -1, "erp")
        if levels and minute % 3 == 0:
            told = minute // 3 % 40
            log.level(at + 10 * SECOND_US, f"s{told}", wms[told])
            log.level(at + delay_us + 20 * SECOND_US, f"s{told}", erp[told], "erp")
    return log


@pytest.mark.parametrize("tells", [True, False])
def test_a_system_that_does_not_hear_of_changes_is_found(tells: bool) -> None:
    log = a_shop(range(240, 330), tells=tells)
    found = run(log)
    assert kinds(found) == {("adjustments_lost", "[('node', 'n1')]")}
    first = found[0].signal
    begin = START_US + 240 * MINUTE_US
    assert begin <= first.opened_at_us <= first.found_at_us <= begin + (30 if tells else 90) * MINUTE_US
    assert "erp" in first.explanation
    assert first.evidence or tells
    assert found[-1].signal.evidence
    assert found[-1].value > 0
    assert run(log, keep=True, step_us=7 * MINUTE_US) == found


@pytest.mark.parametrize(
    "log",
    [
        a_shop(range(0)),
        a_shop(range(0), delay_us=12 * MINUTE_US),
        a_shop(range(1, 480), levels=False),  # never heard of by this system: nobody knows that it should be
    ],
    ids=["in time", "always late", "never"],
)
def test_books_that_agree_as_ever_are_no_finding(log: Log) -> None:
    assert run(log) == []


def test_a_system_that_says_nothing_at_all_is_not_said_to_lose_changes() -> None:
    log = a_shop(range(0))
    silent = START_US + 240 * MINUTE_US
    log.events = [
        one
        for one in log.events
        if one.event.system != "erp" or one.arrival_us < silent  # its feed has stopped
    ]
    assert run(log) == []


def test_a_leader_that_fell_silent_does_not_make_others_look_behind() -> None:
    log = a_shop(range(0), tells=False)
    silent = START_US + 240 * MINUTE_US
    log.events = [one for one in log.events if one.event.system != "wms" or one.arrival_us < silent]
    assert run(log) == []


def test_changes_that_are_only_late_are_not_said_to_be_lost() -> None:
    log = a_shop(range(240, 330))
    for number in range(40):
        log.reservation("created", START_US + (235 + number) * MINUTE_US, f"q{number}", "s1")
        made = log.events[-1]
        log.events[-1] = msgspec.structs.replace(made, occurred_us=made.occurred_us - 12 * MINUTE_US)
    begin = START_US + 240 * MINUTE_US
    assert [one for one in run(log) if one.signal.found_at_us < begin + 75 * MINUTE_US] == []


def test_thresholds_of_a_node_can_be_others() -> None:
    lax = Override(node="n1", set={"inventory.lost.least": 500, "inventory.lost.behind": 500})
    assert run(a_shop(range(240, 330)), DetectorSettings(override=[lax])) == []


# --- goods that are not where the book has them -----------------------------------------------------------------


def picks(shorts: int, on_hand: float, *, well_between: int = 0, far_us: int = 10 * MINUTE_US) -> Log:
    """So many picks of an item fail, with some that succeed after each, where the book has `on_hand`."""
    log = Log()
    log.level(START_US, "a", on_hand)
    at = START_US + HOUR_US
    for number in range(shorts):
        log.order(at - MINUTE_US, f"o{number}", "a")
        log.short(at, f"o{number}", "a")
        for more in range(well_between):
            log.reservation("consumed", at + (more + 1) * MINUTE_US, f"w{number}-{more}", "a")
        at += far_us
    return log


def test_an_item_that_is_not_found_again_and_again_though_the_book_has_it() -> None:
    log = picks(5, 20)
    counted = START_US + 3 * HOUR_US
    log.level(START_US, "a", 20, "erp")
    log.move(counted, "a", -15, reason="count")
    found = run(log)
    assert kinds(found) == {("phantom_stock", "[('node', 'n1'), ('sku', 'a')]")}
    assert found[0].signal.found_at_us == START_US + HOUR_US + 21 * MINUTE_US, "with the third"
    assert named(found) == [f"o{number}" for number in range(5)]
    assert found[0].impacts[0].value == 10.0
    assert found[-1].signal.closed_at_us == counted + MINUTE_US
    assert "a count has put the book right" in found[-1].signal.explanation
    assert (found[-1].value, found[-1].currency) == (30.0, "EUR")
    assert run(log, keep=True, step_us=13 * MINUTE_US) == found


def test_where_nobody_says_what_the_book_has_it_takes_longer() -> None:
    log = picks(5, 20, far_us=30 * MINUTE_US)
    log.events = [one for one in log.events if type(one.event).__name__ != "ReservationReleased"]
    found = run(log)
    assert kinds(found) == {("phantom_stock", "[('node', 'n1'), ('sku', 'a')]")}
    assert found[0].signal.found_at_us >= START_US + HOUR_US + 90 * MINUTE_US


@pytest.mark.parametrize(
    "log",
    [
        picks(1, 20),
        picks(2, 20, far_us=3 * HOUR_US),
        picks(5, 0),  # the book knows
        picks(4, 20, well_between=3),
        picks(4, 20, far_us=5 * HOUR_US),
    ],
    ids=["one", "two in hours", "book knows", "others are found", "far between"],
)
def test_picks_that_fail_now_and_then_are_no_phantom_stock(log: Log) -> None:
    assert run(log) == []


def test_a_count_explains_what_failed_before_it() -> None:
    log = picks(2, 20)
    log.move(START_US + HOUR_US + 15 * MINUTE_US, "a", -5, reason="count")
    log.events += picks(3, 15).events[-3:]
    assert run(log) == []


def a_store(vanished: int, *, on_hand: float = 20, begin_us: int = START_US + 8 * HOUR_US, before: int = 999) -> Log:
    """A pick every two minutes, each of another of 60 items; of so many items one is not found, ten minutes apart.

    Every so many picks `before` fail, too.
    """
    log = Log()
    for item in range(60):
        log.level(START_US, f"s{item}", on_hand)
    for number in range(12 * 30):
        at, sku = START_US + number * 2 * MINUTE_US, f"s{number % 60}"
        log.order(at, f"o{number}", sku)
        since = (at - begin_us) // (2 * MINUTE_US)
        fails = since % 5 == 0 and since // 5 < vanished if since >= 0 else number % before == before - 1
        if fails:
            log.short(at + MINUTE_US, f"o{number}", sku)
        else:
            log.reservation("consumed", at + MINUTE_US, f"o{number}", sku)
    return log


def test_items_that_vanish_together_are_found_before_one_of_them_fails_twice() -> None:
    log, begin = a_store(6), START_US + 8 * HOUR_US
    found = run(log)
    assert kinds(found) == {("phantom_stock", f"[('node', 'n1'), ('sku', 's{item}')]") for item in range(0, 30, 5)}
    assert begin < found[0].signal.found_at_us <= begin + 42 * MINUTE_US, "with the fifth at the latest"
    assert sorted(named(found)) == sorted(f"o{240 + 5 * number}" for number in range(6))
    assert {impact.case_id for one in found for impact in one.impacts} == {""}
    assert run(log, keep=True, step_us=13 * MINUTE_US) == found


@pytest.mark.parametrize(("before", "finds"), [(999, True), (100, False)])
def test_two_picks_of_an_item_are_enough_only_where_picks_hardly_ever_fail(before: int, finds: bool) -> None:
    log, begin = a_store(0, before=before), START_US + 10 * HOUR_US
    log.level(START_US, "s61", 20)
    for number in range(2):
        log.order(begin, f"x{number}", "s61")
        log.short(begin + (1 + 20 * number) * MINUTE_US, f"x{number}", "s61")
    found = run(log)
    assert (kinds(found) == {("phantom_stock", "[('node', 'n1'), ('sku', 's61')]")}) is finds
    assert bool(found) is finds


def test_a_morning_without_a_failed_pick_does_not_make_single_ones_later_a_surprise() -> None:
    log, begin = a_store(0), START_US + 9 * HOUR_US
    for number in range(4):
        log.level(START_US, f"s{61 + number}", 20)
        log.order(begin, f"x{number}", f"s{61 + number}")
        log.short(begin + 15 * number * MINUTE_US, f"x{number}", f"s{61 + number}")
    assert run(log) == []


def test_an_item_that_was_found_after_all_is_not_among_those_that_vanished_together() -> None:
    log, begin = a_store(6), START_US + 8 * HOUR_US
    log.reservation("consumed", begin + 5 * MINUTE_US, "y", "s0")
    assert kinds(run(log)) == {("phantom_stock", f"[('node', 'n1'), ('sku', 's{item}')]") for item in range(5, 30, 5)}


def test_where_items_are_known_to_have_vanished_others_are_found_with_their_first_failed_pick() -> None:
    log, begin = a_store(0), START_US + 9 * HOUR_US
    for number, sku in enumerate(["s61", "s62", "s61", "s62", "s63"]):
        log.level(START_US, sku, 20)
        log.order(begin + number * MINUTE_US, f"x{number}", sku)
        log.short(begin + (2 * number + 1) * MINUTE_US, f"x{number}", sku)
    found = run(log)
    assert kinds(found) == {("phantom_stock", f"[('node', 'n1'), ('sku', 's{item}')]") for item in (61, 62, 63)}
    assert sorted(named(found)) == [f"x{number}" for number in range(5)]


def test_single_picks_that_fail_as_often_as_ever_are_no_phantom_stock() -> None:
    assert run(a_store(2)) == []
    assert run(a_store(5)) != []
    assert run(a_store(5, before=22)) == [], "where one in twenty always fails, five in an hour are no surprise"
    assert run(a_store(6, on_hand=0)) == [], "the book knows"


def test_a_system_s_levels_only_tell_of_items_that_have_moved_piece_by_piece() -> None:
    log, begin = Log(), START_US + 4 * HOUR_US
    for item in range(20):
        log.level(START_US + item, f"s{item}", 50)
        log.level(START_US + item + SECOND_US, f"s{item}", 50, "erp")
        log.move(begin, f"s{item}", -20, reason="transfer_out" if item else "pick")
        log.level(begin + HOUR_US + item, f"s{item}", 50, "erp")
    assert run(log) == [], "transfers are booked when they are; one item is not enough"
    moved = Log()
    for item in range(20):
        moved.level(START_US + item, f"s{item}", 50)
        moved.level(START_US + item + SECOND_US, f"s{item}", 50, "erp")
        if item < 5:
            moved.move(begin, f"s{item}", -2, reason="pick")
        moved.level(begin + HOUR_US + item, f"s{item}", 50, "erp")
    found = run(moved)
    assert kinds(found) == {("adjustments_lost", "[('node', 'n1')]")}
    assert found[0].signal.found_at_us <= begin + HOUR_US + 3 * MINUTE_US, "with the first levels after it"


# --- items that run out -----------------------------------------------------------------------------------------


def a_day(stock: float = 200, *, hours: int = 12) -> Log:
    """Thirty items, each ordered every half an hour by one of two channels; 200 of each are there."""
    log = Log()
    for item in range(30):
        log.level(START_US + item, f"s{item}", stock)
    for minute in range(hours * 60):
        at, item = START_US + minute * MINUTE_US, minute % 30
        log.order(at, f"d{minute}", f"s{item}", "web" if minute // 30 % 2 else "market")
    return log


def run_on(
    log: Log, begin_us: int, many: int, sku: str = "s3", *, channels: tuple[str, ...] = ("web", "market")
) -> None:
    for number in range(many):
        log.order(begin_us + number * MINUTE_US, f"x{number}", sku, channels[number % len(channels)])


def refuse(log: Log, begin_us: int, orders: range, sku: str = "s3") -> None:
    for number in orders:
        log.reservation("rejected", begin_us + number * MINUTE_US + 30 * SECOND_US, f"x{number}", sku)


def test_a_run_on_an_item_is_found_while_there_is_stock_and_names_who_gets_none() -> None:
    log, begin = a_day(), START_US + 6 * HOUR_US
    run_on(log, begin, 120)
    log.move(begin + 80 * MINUTE_US, "s3", -199, reason="pick")
    refuse(log, begin, range(85, 120))
    found = run(log)
    assert kinds(found) == {("stockout_risk", "[('sku', 's3')]")}
    assert begin < found[0].signal.found_at_us <= begin + 20 * MINUTE_US
    assert found[0].impacts == []
    assert named(found) == [f"x{number}" for number in range(85, 120)]
    assert found[-1].signal.closed_at_us is not None
    assert run(log, keep=True, step_us=9 * MINUTE_US) == found


def test_a_run_on_an_item_of_which_there_is_plenty_or_more_comes_is_no_finding() -> None:
    log, begin = a_day(2_000), START_US + 6 * HOUR_US
    run_on(log, begin, 120)
    assert run(log) == []
    log = a_day()
    lines = [{"sku": "s3", "qty": 2_000}]
    due_us = begin + 2 * HOUR_US
    log.say(
        "po.created", START_US, "erp", po_id="p1", supplier="s", node="n1", expected_at=rfc3339(due_us), lines=lines
    )
    log.move(due_us - MINUTE_US, "s3", 2_000, reason="receipt")
    run_on(log, begin, 120)
    assert run(log) == []


@pytest.mark.parametrize(
    ("came_h", "kept", "finds"),
    [(2, 2_000, False), (-1, 2_000, False), (-1, 300, True)],
    ids=["in time", "early", "early, and most of it went elsewhere"],
)
def test_what_came_before_it_was_due_is_not_expected_any_more(came_h: int, kept: int, *, finds: bool) -> None:
    log, begin = a_day(), START_US + 6 * HOUR_US
    run_on(log, begin, 120)
    lines = [{"sku": "s3", "qty": 1_000}, {"sku": "s3", "qty": 1_000}]
    due, came = rfc3339(begin + 2 * HOUR_US), begin + came_h * HOUR_US - MINUTE_US
    log.say("po.created", START_US, "erp", po_id="p1", supplier="s", node="n1", expected_at=due, lines=lines)
    log.say("goods.received", came, "wms", po_id="p1", lines=lines)
    log.move(came, "s3", 2_000, reason="receipt")
    log.move(came + 1, "s3", kept - 2_000, reason="transfer_out")
    found = run(log)
    assert kinds(found) == ({("stockout_risk", "[('sku', 's3')]")} if finds else set())
    assert not found or found[0].signal.found_at_us <= begin + 20 * MINUTE_US


def test_a_channel_that_sells_what_is_gone() -> None:
    log, begin = a_day(), START_US + 6 * HOUR_US
    log.move(begin - MINUTE_US, "s3", -200, reason="other")
    for number in range(6):
        log.order(begin + number * 10 * MINUTE_US, f"x{number}", "s3", "market")
        log.reservation("rejected", begin + number * 10 * MINUTE_US + 30 * SECOND_US, f"x{number}", "s3")
    found = run(log)
    assert kinds(found) == {("oversell", "[('channel', 'market'), ('sku', 's3')]")}
    assert found[0].signal.found_at_us == begin + 11 * MINUTE_US, "with the second"
    assert named(found) == [f"x{number}" for number in range(6)]
    assert {impact.case_id for one in found for impact in one.impacts} == {""}


def test_once_a_channel_oversold_an_item_others_who_are_refused_are_no_new_finding() -> None:
    log, begin = a_day(), START_US + 6 * HOUR_US
    log.move(begin - MINUTE_US, "s3", -200, reason="other")
    for number, channel in enumerate(["market", "market", "web", "web"]):
        at = begin + (number + (4 * 60 if channel == "web" else 0)) * MINUTE_US
        log.order(at, f"x{number}", "s3", channel)
        log.reservation("rejected", at + 30 * SECOND_US, f"x{number}", "s3")
    found = run(log)
    assert kinds(found) == {("oversell", "[('channel', 'market'), ('sku', 's3')]")}
    assert found[-1].signal.closed_at_us is not None
    assert len({one.signal.signal_id for one in found}) == 1
    assert named(found) == ["x0", "x1"]


def test_orders_refused_while_there_is_stock_or_of_all_channels_are_no_overselling() -> None:
    log, begin = a_day(), START_US + 6 * HOUR_US
    run_on(log, begin, 6, channels=("market",))
    refuse(log, begin, range(6))
    assert run(log) == []
    log = a_day()
    log.move(begin - MINUTE_US, "s3", -200, reason="other")
    run_on(log, begin, 6)
    refuse(log, begin, range(6))
    assert run(log) == []
    log = a_day()
    log.move(begin - MINUTE_US, "s3", -200, reason="other")
    run_on(log, begin, 90, channels=("market",))
    refuse(log, begin, range(0, 90, 80))
    assert run(log) == [], "two in an hour and a half are a race that a channel loses now and then"


@pytest.mark.parametrize(("line_id", "finds"), [("2", True), ("1", False), ("elsewhere", False)])
def test_of_an_order_of_which_a_line_is_cancelled_only_that_line_could_not_be_had(line_id: str, *, finds: bool) -> None:
    """The first lines are of an item of which there is plenty, the second of one that is gone, and reserved in time."""
    log, begin = a_day(), START_US + 6 * HOUR_US
    log.move(begin - MINUTE_US, "s3", -200, reason="other")
    for number in range(6):
        at, order = begin + number * 10 * MINUTE_US, {"order_id": f"x{number}", "channel": "market"}
        lines = [{"line_id": str(1 + place), "sku": sku, "qty": 1} for place, sku in enumerate(("s5", "s3"))]
        log.say("order.created", at, "ecom", **order, lines=lines)
        log.say("order.cancelled", at + 30 * SECOND_US, "oms", **order, line_id=line_id)
    assert kinds(run(log)) == ({("oversell", "[('channel', 'market'), ('sku', 's3')]")} if finds else set())


def test_what_was_cancelled_before_is_not_cancelled_again_with_the_rest_of_its_order() -> None:
    """Customers take an item out of their orders while there is plenty; what is left is cancelled when it is gone."""
    log, begin = a_day(), START_US + 6 * HOUR_US
    for number in range(6):
        at, order = begin - 4 * HOUR_US + number * MINUTE_US, {"order_id": f"x{number}", "channel": "market"}
        lines = [{"line_id": str(1 + place), "sku": sku, "qty": 1} for place, sku in enumerate(("s5", "s3"))]
        log.say("order.created", at, "ecom", **order, lines=lines)
        log.say("order.cancelled", at + 30 * SECOND_US, "oms", **order, line_id="2")
        log.say("order.cancelled", begin + number * 10 * MINUTE_US, "oms", **order)
    log.move(begin - MINUTE_US, "s3", -200, reason="other")
    assert run(log) == []


def promote(log: Log, at_us: int, what: str = "started") -> None:
    log.say(f"promotion.{what}", at_us, "ecom", promotion_id="p7", skus=["s3", "s4"])


def test_a_promotion_whose_goods_are_not_there_is_found_when_it_starts() -> None:
    log, begin = a_day(), START_US + 6 * HOUR_US
    log.move(begin - HOUR_US, "s3", -195, reason="transfer_out")
    promote(log, begin)
    run_on(log, begin, 60)
    refuse(log, begin, range(5, 60))
    promote(log, begin + 2 * HOUR_US, "ended")
    found = run(log)
    assert kinds(found) == {("promotion_without_stock", "[('promotion', 'p7'), ('sku', 's3')]")}
    assert found[0].signal.found_at_us == begin + MINUTE_US
    assert named(found) == [f"x{number}" for number in range(5, 60)]
    assert run(log, keep=True, step_us=11 * MINUTE_US) == found


def test_a_promotion_that_sells_out_within_hours_is_found_before_it_has() -> None:
    log, begin = a_day(170), START_US + 6 * HOUR_US
    promote(log, begin)
    run_on(log, begin, 60)
    found = run(log)
    assert kinds(found) == {("promotion_without_stock", "[('promotion', 'p7'), ('sku', 's3')]")}
    assert begin < found[0].signal.found_at_us <= begin + 20 * MINUTE_US


def test_demand_that_is_no_surprise_is_none_even_where_no_surprise_is_asked_for() -> None:
    surge = msgspec.structs.replace(SETTINGS.demand.surge, raised_score=0.0, raised_times=0.0, least=1)
    demand = msgspec.structs.replace(SETTINGS.demand, surge=surge)
    assert run(a_day(), msgspec.structs.replace(SETTINGS, demand=demand)) == []


def a_run(*promotions: tuple[str, int, str, list[str]]) -> set[tuple[str, str]]:
    """What is found of a run on an item, when promotions were (what, when in seconds, which, of which items)."""
    log, begin = a_day(), START_US + 6 * HOUR_US
    run_on(log, begin, 120)
    for what, at_s, name, skus in promotions:
        log.say(f"promotion.{what}", START_US + at_s * SECOND_US, "ecom", promotion_id=name, skus=skus)
    return kinds(run(log))


@pytest.mark.parametrize(
    "promotions",
    [
        [("started", 14_400, "p", ["s4"])],
        [("started", 14_400, "p", ["s3"]), ("ended", 18_000, "p", ["s3"])],
        [("started", 14_400, "p", ["s3", "s4"]), ("ended", 18_000, "p", [])],
        [("started", 14_400, "p", ["s3"]), ("ended", 14_401, "p", ["s3"])],
    ],
    ids=["of another item", "ended", "ended as a whole", "ended within a minute"],
)
def test_a_run_on_an_item_that_is_in_no_promotion_is_not_put_down_to_one(
    promotions: list[tuple[str, int, str, list[str]]],
) -> None:
    assert a_run(*promotions) == {("stockout_risk", "[('sku', 's3')]")}


def test_of_two_promotions_of_an_item_one_goes_on_when_the_other_ends() -> None:
    both = [("started", 14_400, "p", ["s3"]), ("started", 14_500, "q", ["s3"])]
    of_p, of_q = (("promotion_without_stock", f"[('promotion', '{name}'), ('sku', 's3')]") for name in "pq")
    assert a_run(*both) == {of_q}
    assert a_run(*both, ("ended", 18_000, "q", ["s3"])) == {of_p}
    assert a_run(*both, ("ended", 18_000, "p", ["s3"])) == {of_q}


def test_a_promotion_whose_end_nobody_tells_is_over_after_a_while() -> None:
    log, begin = a_day(hours=12), START_US + 6 * HOUR_US
    log.say("promotion.started", START_US + HOUR_US, "ecom", promotion_id="p", skus=["s3"])
    run_on(log, begin, 120)
    surge = msgspec.structs.replace(SETTINGS.demand.surge, promoted=Duration(4 * HOUR_US))
    demand = msgspec.structs.replace(SETTINGS.demand, surge=surge)
    assert kinds(run(log)) == {("promotion_without_stock", "[('promotion', 'p'), ('sku', 's3')]")}
    assert kinds(run(log, msgspec.structs.replace(SETTINGS, demand=demand))) == {("stockout_risk", "[('sku', 's3')]")}


def test_a_promotion_with_stock_is_no_finding() -> None:
    log, begin = a_day(400), START_US + 6 * HOUR_US
    promote(log, begin)
    run_on(log, begin, 90)
    assert run(log) == []


def test_a_busy_hour_of_all_items_is_no_surge() -> None:
    log = a_day(150)
    for number in range(900):  # five times as many orders, of all items
        log.order(START_US + 6 * HOUR_US + number * 12 * SECOND_US, f"y{number}", f"s{number % 30}")
    assert run(log) == []


def test_the_network_s_stock_is_the_leading_system_s_and_what_others_say_does_not_count() -> None:
    host = EventDetectors([Inventory(SETTINGS.inventory.lag)])
    log = Log()
    log.level(START_US, "a", 7, "erp")
    log.level(START_US + 1, "a", 10, "wms")
    log.level(START_US + 2, "a", 4, "wms", node="n2")
    log.move(START_US + 3, "a", -2, "erp")
    log.move(START_US + 4, "a", -1)
    log.level(START_US - HOUR_US, "a", 99)  # older than what was said last
    found = all_tallies(host.update(log.events, [], START_US + 9))
    assert sum(one.total for one in found if one.metric == "on_hand") == 13.0


@pytest.mark.parametrize("is_first", [True, False], ids=["the changes", "the level"])
def test_where_the_system_that_tells_of_changes_gives_no_levels_the_next_one_says_what_there_is(
    *, is_first: bool
) -> None:
    """The warehouse tells of changes alone, the ERP of levels and, after a while, of the same changes."""
    log = Log()
    log.move(START_US + MINUTE_US * is_first, "s", -1)
    log.level(START_US + MINUTE_US * (not is_first), "s", 100, "erp")
    for minute in range(2, 42):
        log.move(START_US + minute * MINUTE_US, "s", -2)
        log.move(START_US + minute * MINUTE_US + 20 * SECOND_US, "s", -2, "erp")
    log.level(START_US + HOUR_US, "s", 20, "erp")
    counted = dict[str, float]()
    for keep in (False, True):
        host = EventDetectors([Inventory(SETTINGS.inventory.lag)])
        counted.clear()
        for one in sorted(log.events):
            for tally in all_tallies(host.update([one], [], one.arrival_us)):
                counted[tally.metric] = counted.get(tally.metric, 0.0) + tally.total
            if keep:
                kept, host = host.snapshot(), EventDetectors([Inventory(SETTINGS.inventory.lag)])
                host.restore(kept)
        assert counted["on_hand"] == 20
        assert counted["taken"] == 81, "each piece once"
        assert (counted["stock_moves"], counted["stock_echo:erp"]) == (41, 40)


def test_states_of_another_version_are_refused() -> None:
    for detector in (Inventory(1), Demand(SETTINGS.demand.surge)):
        with pytest.raises(StateError, match="version 9"):
            detector.restore(msgspec.msgpack.encode((9, {})))
        with pytest.raises(StateError, match="can't be read"):
            detector.restore(b"\xc1")


def test_what_is_not_ordered_any_more_is_forgotten() -> None:
    demand = Demand(SETTINGS.demand.surge)
    host = EventDetectors([demand])
    log = Log()
    log.order(START_US, "o1", "a")
    for day in range(1, 60):
        log.order(START_US + day * DAY_US, f"o{day + 1}", "b")
    host.update(log.events, [], START_US)
    assert demand.sizes() == {"skus": 1, "promotions": 0}
