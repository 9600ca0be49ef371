"""The straight ways of stock equal the rules in full, whatever the batches, what rests, and where it is resumed."""

import random
from collections.abc import Sequence
from itertools import product
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.item_keys import item_key
from operators.stock import StockReconciler, StockSettings, StockState
from operators.stock_findings import OF_AN_ITEM
from operators.stock_judge import StockOutput
from operators.stock_timers import DIFFERS, LOOK, SHORT, StockTimers
from operators.windows import NEVER_US, WindowSettings
from schemas.durations import END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US, Duration, rfc3339
from schemas.events import Arrived, Event, InventoryLevel
from schemas.rows import Signal
from tests.harness import START_US
from tests.shop import STOCK_TYPES, Said, said

MINUTE, PANE = MINUTE_US, 20 * SECOND_US
SOON = StockSettings(settle=Duration(30 * SECOND_US), oversell_settle=Duration(2 * SECOND_US))
KINDS = {
    "plain": SOON,
    "held back": msgspec.structs.replace(SOON, safety_stock=2.5),
    "by node": msgspec.structs.replace(SOON, safety_stock_by_node={"n0": 3.0}),
    "other book": msgspec.structs.replace(SOON, book=("erp", "ecom")),
    "inbound": msgspec.structs.replace(SOON, inbound_horizon=Duration(HOUR_US)),
}
#: Of one item: arrival and event time in seconds, type, fields.
Fact: TypeAlias = tuple[int, int, str, dict[str, object]]
#: What is done after each batch, over and over.
DOINGS = st.lists(st.sampled_from(["nothing", "rest", "advance", "resume"]), min_size=1, max_size=6)
COMMON = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class InFull(StockReconciler):
    """Never takes a straight way, nor skips a judgement, nor writes a row from what was judged."""

    def update(self, events: Sequence[Arrived]) -> list[StockOutput]:
        for arrived in events:
            self._pass_time(arrived.arrival_us)
            event = arrived.event
            if isinstance(event, OF_AN_ITEM):
                key = item_key(event.sku, event.node)
                self._take_plainly(key, self._item(key), event, arrived)
            else:
                self._expect(event, arrived)
        return self._take()

    def _write_due(self) -> None:
        for item in self._items.young.values():
            item.book = ""
        super()._write_due()


class AtOnceAtRest(StockReconciler):
    """Lets its items rest as soon as it can."""

    MOST_AWAKE = 0


class HardlyAwake(StockReconciler):
    MOST_AWAKE = 1


def dense(seed: int, size: int) -> list[Arrived]:
    """Some minutes of few items, most of it as it happens: a little out of order, some of it ahead, some late."""
    draw = random.Random(seed)
    quantities = draw.choice(((0.0, 5.0, 100.0), (-1.0, -0.0, 0.0, 0.1, 2.5), (1e15, 3.0, -1e15), (4.0, 6.0, 8.0)))
    held = draw.choice(((0.5, 1, 2, -1), (0.5, 1, 2, -1), (1e15, -1e15, 4e12, 2)))
    names, ahead = draw.choice((3, 8, size)), draw.choice((0.02, 0.2, 0.5))
    bodies = []
    for number in range(size):
        occurred = START_US + draw.randrange(150) * SECOND_US
        delay_s = draw.choice((-2, -9, -40)) if draw.random() < ahead else draw.choice((0, draw.randrange(6), 30, 90))
        system = draw.choice(("erp", "ecom", "wms"))
        own: dict[str, object] = {"sku": draw.choice(("k", "k", "l")), "node": "n0"}
        kind = draw.choice(("level", "level", "level", "adjusted", "created", "created", "ended", "ordered"))
        if kind == "level":
            own |= {"type": "inventory.level", "on_hand": draw.choice(quantities)}
            own |= {"reserved": draw.choice((0.0, 4.0))} if draw.random() < 0.2 else {}
            own |= {"unit_cost": draw.choice(("1.5", "2"))} if draw.random() < 0.2 else {}
        elif kind == "adjusted":
            own |= {"type": "inventory.adjusted", "delta": draw.choice(quantities), "reason": "count"}
        elif kind == "ordered":
            own |= {"type": "po.created", "po_id": f"p{draw.randrange(3)}", "supplier": "s"}
            own |= {"lines": [{"sku": own["sku"], "qty": draw.choice((1, 7))}]}
            own["expected_at"] = rfc3339(occurred + draw.choice((30, 90, 3_700)) * SECOND_US)
        else:
            own |= {"reservation_id": f"r{draw.randrange(names)}", "order_id": "o", "qty": draw.choice(held)}
            own["type"] = "reservation.created" if kind == "created" else "reservation.consumed"
            if kind == "created" and draw.random() < 0.2:
                own["expires_at"] = rfc3339(occurred + draw.randrange(90) * SECOND_US)
        own |= {"event_id": f"e{number}", "source": system, "system": system, "occurred_at": rfc3339(occurred)}
        bodies.append((max(int(START_US), occurred + delay_s * SECOND_US), number, occurred, own))
    bodies.sort(key=lambda one: one[:2])
    return [
        Arrived(arrival, "log", 0, place, occurred, msgspec.convert(own, Event))
        for place, (arrival, _, occurred, own) in enumerate(bodies)
    ]


def log_of(events: list[Said]) -> list[Arrived]:
    """As a lane would stamp them."""
    in_order = sorted(events, key=lambda one: (one.arrival_us, one.number))
    return [
        Arrived(one.arrival_us, "log", 0, place, one.occurred_us, msgspec.convert(one.body(), Event))
        for place, one in enumerate(in_order)
    ]


def rows_of(
    stock: StockReconciler, log: list[Arrived], sizes: Sequence[int], doings: Sequence[str]
) -> list[StockOutput]:
    """Fed in batches of `sizes`, with one of `doings` after each."""
    out: list[StockOutput] = []
    turn = 0
    while log:
        batch, log = log[: sizes[turn % len(sizes)]], log[sizes[turn % len(sizes)] :]
        out += stock.update(batch)
        doing = doings[turn % len(doings)]
        if doing == "advance":
            out += stock.advance(batch[-1].arrival_us)
        elif doing == "rest":
            stock._items.rest()
            stock._items.rest()
        elif doing == "resume":
            kept = msgspec.msgpack.decode(msgspec.msgpack.encode(stock.snapshot()), type=StockState)
            stock = type(stock)(stock.settings, stock._windows)
            stock.restore(kept)
        turn += 1
    return [*out, *stock.advance(START_US + 2 * HOUR_US), *stock.advance(END_OF_TIME_US)]


@COMMON
@given(
    log=st.builds(dense, st.integers(0, 1 << 32), st.sampled_from([5, 20, 60, 250, 250]))
    | said(*STOCK_TYPES).map(log_of),
    kind=st.sampled_from(sorted(KINDS)),
    size=st.sampled_from([1, 3]),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=4),
    doings=DOINGS,
    made=st.sampled_from([StockReconciler, HardlyAwake, AtOnceAtRest, AtOnceAtRest]),
)
def test_the_straight_ways_equal_the_rules_in_full(
    log: list[Arrived], kind: str, size: int, sizes: list[int], doings: list[str], made: type[StockReconciler]
) -> None:
    windows = WindowSettings(size * PANE, PANE, 5 * SECOND_US, 3 * PANE)
    in_full = rows_of(InFull(KINDS[kind], windows), log, [len(log) or 1], ["nothing"])
    straight = rows_of(made(KINDS[kind], windows), log, sizes, doings)
    assert repr(straight) == repr(in_full)  # repr: 0.0 is not -0.0


@COMMON
@given(
    seed=st.integers(0, 1 << 32),
    size=st.sampled_from([1, 3]),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    doings=DOINGS,
    made=st.sampled_from([HardlyAwake, AtOnceAtRest, AtOnceAtRest]),
)
def test_where_levels_say_what_is_reserved_the_straight_ways_equal_the_rules_in_full(
    seed: int, size: int, sizes: list[int], doings: list[str], made: type[StockReconciler]
) -> None:
    windows, draw = WindowSettings(size * PANE, PANE, 5 * SECOND_US, 3 * PANE), random.Random(seed)
    log = [
        msgspec.structs.replace(one, event=msgspec.structs.replace(one.event, reserved=draw.choice((0.0, 0.5, 4.0))))
        if isinstance(one.event, InventoryLevel) and draw.random() < 0.8
        else one
        for one in dense(seed, 60)
    ]
    in_full = rows_of(InFull(SOON, windows), log, [len(log) or 1], ["nothing"])
    assert repr(rows_of(made(SOON, windows), log, sizes, doings)) == repr(in_full)


#: Of which sums depend on the order in which they are taken.
LEVELS: list[tuple[str, dict[str, object]]] = [("inventory.level", {"on_hand": one}) for one in (0.1, 1.0, -0.0)]
MOVES: list[tuple[str, dict[str, object]]] = [
    ("inventory.adjusted", {"delta": one, "reason": "sale"}) for one in (0.9, 1.0, -1.0, -0.0)
]


@pytest.mark.parametrize("doing", ["nothing", "rest", "resume"])
def test_what_is_summed_at_rest_is_what_it_would_be_awake(doing: str) -> None:
    windows = WindowSettings(PANE, PANE, 5 * SECOND_US, HOUR_US)
    for chosen in product(LEVELS, LEVELS + MOVES, LEVELS + MOVES, LEVELS + MOVES):
        log = log_of_item(*((at, at, kind, own) for at, (kind, own) in enumerate(chosen)))
        in_full = rows_of(InFull(SOON, windows), log, [len(log)], ["nothing"])
        assert repr(rows_of(AtOnceAtRest(SOON, windows), log, [1], [doing])) == repr(in_full)


RESERVED_AHEAD: dict[str, list[Fact]] = {
    "made after the window that is still to be written": [
        (50, 50, "inventory.level", {"on_hand": 10}),
        (62, 61, "reservation.created", {"reservation_id": "r", "qty": 2}),
    ],
    "made while the last level is still to come": [
        (10, 10, "inventory.level", {"on_hand": 10}),
        (12, 25, "reservation.created", {"reservation_id": "r1", "qty": 11}),
        (14, 100, "inventory.level", {"on_hand": 10, "reserved": 0}),
        (30, 130, "reservation.created", {"reservation_id": "r2", "qty": 1}),
    ],
}


@pytest.mark.parametrize("said_of", RESERVED_AHEAD.values(), ids=RESERVED_AHEAD.keys())
def test_reservations_at_rest_hold_from_their_own_time_on(said_of: list[Fact]) -> None:
    windows, log = WindowSettings(PANE, PANE, 5 * SECOND_US, HOUR_US), log_of_item(*said_of)
    in_full = rows_of(InFull(SOON, windows), log, [len(log)], ["nothing"])
    assert repr(rows_of(AtOnceAtRest(SOON, windows), log, [1], ["rest"])) == repr(in_full)


def test_dense_logs_have_findings_of_both_kinds() -> None:
    windows = WindowSettings(MINUTE, MINUTE, 5 * SECOND_US, 4 * MINUTE)
    out = [
        one for seed in range(20) for one in rows_of(StockReconciler(SOON, windows), dense(seed, 60), [60], ["nothing"])
    ]
    assert {one.kind for one in out if isinstance(one, Signal)} == {"stock_delta", "negative_atp"}


TIMERS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([LOOK, SHORT, DIFFERS]), st.sampled_from("abc")))


@given(first=TIMERS, taken=st.integers(0, 5), second=TIMERS, resumes=st.booleans())
def test_timers_come_in_order(
    first: list[tuple[int, int, str]], taken: int, second: list[tuple[int, int, str]], *, resumes: bool
) -> None:
    timers = StockTimers()
    expected = sorted(first)
    for timer in first:
        timers.put(*timer)
    for _ in range(min(taken, len(first))):
        assert timers.next_us == expected[0][0]
        assert timers.take() == expected.pop(0)
    if resumes:
        kept = timers.snapshot()
        timers = StockTimers()
        timers.restore(kept)
    for timer in second:
        timers.put(*timer)
    expected = sorted(expected + second)
    assert timers.sizes() == {"timers": len(expected)}
    assert [timers.take() for _ in expected] == expected
    assert timers.next_us == NEVER_US


def log_of_item(*said_of: Fact) -> list[Arrived]:
    """As a lane would stamp it."""
    head: dict[str, object] = {"source": "wms", "system": "wms", "sku": "k", "node": "n", "order_id": "o"}
    log = []
    for place, (arrival_s, occurred_s, kind, own) in enumerate(said_of):
        occurred = START_US + occurred_s * SECOND_US
        body = {**head, **own, "event_id": f"e{place}", "type": kind, "occurred_at": rfc3339(occurred)}
        log.append(Arrived(START_US + arrival_s * SECOND_US, "log", 0, place, occurred, msgspec.convert(body, Event)))
    return log


def short_items(*said_of: Fact) -> list[int]:
    """Since when less than nothing is promised, of what `log_of_item` makes."""
    log = log_of_item(*said_of)
    stock = StockReconciler(SOON, WindowSettings(MINUTE, MINUTE, 5 * SECOND_US, HOUR_US))
    found = [
        one for one in [*stock.update(log), *stock.advance(log[-1].arrival_us + MINUTE)] if isinstance(one, Signal)
    ]
    return [(one.opened_at_us - START_US) // SECOND_US for one in found if one.kind == "negative_atp"]


def test_a_reservation_that_was_larger_and_ends_by_a_clock_that_is_ahead_holds_until_then() -> None:
    own: dict[str, object] = {"reservation_id": "r"}
    assert short_items(
        (1, 1, "inventory.level", {"on_hand": 10}),
        (5, 5, "reservation.created", {**own, "qty": 1}),
        (6, 300, "reservation.consumed", {**own, "qty": 1}),
        (7, 3, "reservation.created", {**own, "qty": 12}),
    ) == [7]


def test_what_held_when_a_row_was_written_is_not_what_holds_now() -> None:
    assert short_items(
        (1, 1, "inventory.level", {"on_hand": 10}),
        (63, 62, "reservation.created", {"reservation_id": "r0", "qty": 5}),
        (70, 66, "reservation.created", {"reservation_id": "r1", "qty": 6}),
    ) == [70]


@pytest.mark.parametrize("qty", [99, 100])
def test_what_reservations_come_to_counts_however_few_judgements_it_takes(qty: int) -> None:
    """The promise is 0 after the last but one, and below it after the last."""
    held = [(2 + n, 2, "reservation.created", {"reservation_id": f"r{n}", "qty": 1}) for n in range(qty + 1)]
    assert short_items((1, 1, "inventory.level", {"on_hand": qty}), *held) == [2 + qty]


WHAT_KEEPS_RESTING: dict[str, Fact] = {
    "a level": (20, 20, "inventory.level", {"on_hand": 11}),
    "a level of another system": (20, 20, "inventory.level", {"on_hand": 11, "system": "erp"}),
    "a level with what is reserved": (20, 20, "inventory.level", {"on_hand": 11, "reserved": 2}),
    "a level with a unit cost": (20, 20, "inventory.level", {"on_hand": 11, "unit_cost": "2"}),
    "an adjustment": (20, 20, "inventory.adjusted", {"delta": -3, "reason": "sale"}),
    "a reservation": (200, 199, "reservation.created", {"reservation_id": "r", "qty": 2}),
}
WHAT_WAKES: dict[str, Fact] = {
    "a level that corrects": (20, 5, "inventory.level", {"on_hand": 11}),
    "a level by a clock that is ahead": (20, 25, "inventory.level", {"on_hand": 11}),
    "a level with which systems differ": (20, 20, "inventory.level", {"on_hand": 90, "system": "erp"}),
    "an adjustment of a part": (20, 20, "inventory.adjusted", {"delta": -0.1, "reason": "sale"}),
    "an adjustment of what is not known": (
        20,
        20,
        "inventory.adjusted",
        {"delta": -1, "reason": "sale", "system": "erp"},
    ),
    "an adjustment below nothing": (20, 20, "inventory.adjusted", {"delta": -11, "reason": "sale"}),
    "a reservation of more than there is": (200, 199, "reservation.created", {"reservation_id": "r", "qty": 11}),
    "a reservation in a window that is written": (30, 20, "reservation.created", {"reservation_id": "r", "qty": 2}),
    "a reservation that expires": (
        (200, 199, "reservation.created", {"reservation_id": "r", "qty": 2, "expires_at": rfc3339(START_US + HOUR_US)})
    ),
    "a reservation of a name like one there is": (
        (200, 199, "reservation.created", {"reservation_id": "e0", "qty": 2})
    ),
    "the end of a reservation": (200, 199, "reservation.consumed", {"reservation_id": "r", "qty": 2}),
}


@pytest.mark.parametrize("qty", [1e15, -1e15, 4e12])
def test_reservations_of_more_than_64_bits_can_add_up_rest_too(qty: float) -> None:
    settings_, windows = (
        msgspec.structs.replace(SOON, book=("wms",)),
        WindowSettings(PANE, PANE, 5 * SECOND_US, HOUR_US),
    )
    log = log_of_item(
        (1, 1, "inventory.level", {"on_hand": 10, "system": "erp"}),
        *((at, at, "reservation.created", {"reservation_id": f"r{at}", "qty": qty}) for at in range(30, 33)),
        (40, 40, "inventory.level", {"on_hand": 10, "system": "wms"}),
    )
    in_full = rows_of(InFull(settings_, windows), log, [len(log)], ["nothing"])
    assert repr(rows_of(AtOnceAtRest(settings_, windows), log, [1], ["resume"])) == repr(in_full)


@pytest.mark.parametrize("what", [*WHAT_KEEPS_RESTING, *WHAT_WAKES])
def test_what_stands_last_and_begins_or_ends_nothing_lets_an_item_rest(what: str) -> None:
    stock = AtOnceAtRest(SOON, WindowSettings(MINUTE, MINUTE, 5 * SECOND_US, HOUR_US))
    first, second = log_of_item((10, 10, "inventory.level", {"on_hand": 10}), (WHAT_KEEPS_RESTING | WHAT_WAKES)[what])
    stock.update([first])
    assert (len(stock), stock._items.awake) == (1, 0)
    stock.update([second])
    assert stock._items.awake == (1 if what in WHAT_WAKES else 0)


def test_an_item_that_much_is_said_of_is_taken_up() -> None:
    stock = AtOnceAtRest(SOON, WindowSettings(MINUTE, MINUTE, 5 * SECOND_US, 24 * HOUR_US))
    said_of: list[Fact] = [(at, at, "inventory.level", {"on_hand": 10}) for at in range(30)]
    log = log_of_item(*said_of)
    awake = []
    for event in log:
        stock.update([event])
        awake.append(stock._items.awake)
    assert awake == [0] * 17 + [1] * 13
