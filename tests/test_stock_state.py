"""What an item comes to does not depend on when it was packed, kept, taken up again or brought up to date."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, get_args
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators import stock_awake
from operators.item_keys import item_key, names_of
from operators.reservations import OpenReservations, Reservations, ReservationsState
from operators.stock import StockReconciler, StockSettings, StockState
from operators.stock_awake import keep_awake
from operators.stock_bytes import shortest
from operators.stock_history import SYSTEMS, Entry, History
from operators.stock_item import Item
from operators.stock_record import FLAGS, MARKS, pack_item, shape, shape_of, unpack_item
from operators.windows import WindowSettings
from schemas.durations import END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US, Duration, rfc3339
from schemas.errors import StateError
from schemas.events import Arrived, Event, System
from schemas.rows import StockWindow
from tests.harness import START_US
from tests.shop import STOCK_TYPES, Said, said

MINUTE = MINUTE_US
SETTINGS = StockSettings(
    settle=Duration(10 * MINUTE), oversell_settle=Duration(2 * MINUTE), inbound_horizon=Duration(HOUR_US)
)
QUANTITIES = st.sampled_from([0.0, -0.0, 1.0, -3.0, 0.1, 1 / 3, 1e15, 2.5, -7.25])
ENTRIES = st.builds(
    lambda system, at, is_level, number, quantity, reserved, cost: (
        system,
        (at, 1, f"e{number}", quantity, reserved, cost) if is_level else (at, 0, f"e{number}", quantity, None, None),
    ),
    st.sampled_from(["wms", "erp", "ecom"]),
    st.integers(0, 30),
    st.booleans(),
    st.integers(0, 99),
    QUANTITIES,
    st.none() | st.sampled_from([0.0, 2.0, 0.5]),
    st.none() | st.sampled_from(["1.50", "2"]),
)


def log_of(events: list[Said]) -> list[Arrived]:
    """As a lane would stamp them."""
    out, stamp = [], START_US - HOUR_US
    for one in sorted(events, key=lambda one: (one.arrival_us, one.number)):
        stamp = max(stamp, one.arrival_us)
        out.append(Arrived(stamp, "log", 0, one.number, one.occurred_us, msgspec.convert(one.body(), Event)))
    return out


def answers(item: Item) -> list[Any]:
    """All that an item is asked for."""
    return [
        (
            item.quantities(instant),
            item.unit_cost(instant),
            [item.reserved(system, instant) for system in item.entries],
            item.panes(instant, END_OF_TIME_US, 1),
        )
        for instant in range(32, -2, -1)
    ] + [item.all_entries()]


def item_of(entries: list[tuple[str, Entry]]) -> Item:
    item = Item()
    for system, entry in entries:
        item.note(system, entry, END_OF_TIME_US)
    return item


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=said(*STOCK_TYPES),
    cuts=st.lists(
        st.tuples(st.integers(0, 3_000), st.sampled_from(["rest", "snapshot", "go on", "restore"])), max_size=8
    ),
    size=st.sampled_from([1, 3]),
)
def test_rows_do_not_depend_on_when_items_rest_or_are_taken_up_again(
    events: list[Said], cuts: list[tuple[int, str]], size: int
) -> None:
    windows = WindowSettings(size * MINUTE, MINUTE, SECOND_US, 4 * MINUTE)
    whole, cut = StockReconciler(SETTINGS, windows), StockReconciler(SETTINGS, windows)
    log = log_of(events)
    one = [*whole.update(log), *whole.advance(START_US + 2 * HOUR_US)]
    other: list[Any] = []
    for mark, what in sorted(cuts):
        before = [event for event in log if event.arrival_us < START_US + mark * SECOND_US]
        log = log[len(before) :]
        other += [*cut.update(before), *cut.advance(START_US + mark * SECOND_US)]
        if what == "rest":
            cut._items.rest()
            cut._items.rest()
            assert cut._items.awake == 0
        elif what != "go on":
            state = msgspec.msgpack.encode(cut.snapshot())
            if what == "restore":
                cut = StockReconciler(SETTINGS, windows)
                cut.restore(msgspec.msgpack.decode(state, type=StockState))
    other += [*cut.update(log), *cut.advance(START_US + 2 * HOUR_US)]
    assert other == one


@settings(max_examples=300, deadline=None)
@given(
    first=st.lists(ENTRIES, max_size=8),
    second=st.lists(ENTRIES, max_size=8),
    third=st.lists(ENTRIES, max_size=4),
    how=st.tuples(*[st.sampled_from([pack_item, keep_awake])] * 2),
    open_entries=st.sampled_from([1, 2, 8]),
)
def test_packing_is_identity_however_often_and_whatever_comes_between(
    first: list[tuple[str, Entry]],
    second: list[tuple[str, Entry]],
    third: list[tuple[str, Entry]],
    how: tuple[Callable[[Item], bytes], ...],
    open_entries: int,
) -> None:
    plain = item_of([*first, *second, *third])
    packed = item_of(first)
    for more, pack in zip((second, third), how, strict=True):
        with patch.object(stock_awake, "_MOST_OPEN", open_entries):
            packed = unpack_item(pack(packed))
        for system, entry in more:
            packed.note(system, entry, END_OF_TIME_US)
    again = unpack_item(pack_item(packed))
    assert pack_item(unpack_item(pack_item(again))) == pack_item(again)
    assert repr(answers(again)) == repr(answers(packed)) == repr(answers(plain))  # repr: 0.0 is not -0.0


@settings(max_examples=300, deadline=None)
@given(entries=st.lists(ENTRIES, max_size=12), early=st.integers(0, 30), later=st.integers(0, 30))
def test_forgetting_twice_is_forgetting_up_to_the_later(
    entries: list[tuple[str, Entry]], early: int, later: int
) -> None:
    early, later = sorted((early, later))
    once, twice = item_of(entries), item_of(entries)
    once.forget(later)
    twice.forget(early)
    twice.forget(later)
    assert repr(answers(once)) == repr(answers(twice))
    assert (once.folded_cost, once.latest, once.moved) == (twice.folded_cost, twice.latest, twice.moved)
    for instant in range(later, 32):
        assert once.quantities(instant) == item_of(entries).quantities(instant)
        assert once.unit_cost(instant) == item_of(entries).unit_cost(instant)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from("aab"),
        st.sampled_from(["create", "end", "end", "ask", "pack", "keep"]),
        st.integers(-5, 30),
        QUANTITIES,
        st.none() | st.integers(0, 40),
    ),
    max_size=25,
)
#: Of one reservation: (when, how much, when it expires) of each time it was made; (when, how much) of each end.
Life: TypeAlias = tuple[list[tuple[int, float, int | None]], list[tuple[int, float]]]


def grains_held(lives: Mapping[str, Life], instant: int) -> int:
    """Millionths of a unit, added up from what was said of each."""
    total = 0
    for made, ends in lives.values():
        if not made:
            continue
        created, qty, expires = min(made, key=lambda one: one[:2])
        if created > instant or (expires is not None and expires <= instant):
            continue
        given = [max(0, round(part * 1_000_000)) for at, part in ends if at <= instant]
        amount = round(qty * 1_000_000)
        total += max(0, amount - sum(given)) if given else amount
    return total


def resumed(reservations: Reservations, how: str) -> Reservations:
    """As they are after a snapshot of them at rest (`pack`), or awake (`keep`)."""
    if how == "pack":
        kept = msgspec.msgpack.encode(reservations.state())
        return Reservations(msgspec.msgpack.decode(kept, type=ReservationsState | None))
    awake = msgspec.msgpack.encode(reservations.open_state())
    opened = msgspec.msgpack.decode(awake, type=OpenReservations | None)
    return Reservations() if opened is None else Reservations.opened(opened)


@settings(max_examples=1000, deadline=None)
@given(changes=CHANGES)
def test_what_is_held_equals_adding_up_all_reservations(
    changes: list[tuple[str, str, int, float, int | None]],
) -> None:
    reservations = Reservations()
    lives: dict[str, Life] = {}
    for name, what, instant, qty, expires in changes:
        made, ends = lives.setdefault(name, ([], []))
        if what in ("pack", "keep"):
            reservations = resumed(reservations, what)
        elif what == "ask":
            assert reservations.held(instant) == grains_held(lives, instant) / 1_000_000
        elif what == "create":
            if not made or (instant, qty) < min((at, size) for at, size, _ in made):  # else: the first to come stays
                made.append((instant, qty, expires))
            reservations.create(name, instant, qty, expires)
        else:
            ends.append((instant, qty))
            reservations.end(name, instant, qty)
    for instant in range(-6, 42):
        assert reservations.held(instant) == grains_held(lives, instant) / 1_000_000
    assert Reservations(reservations.state()).holds == reservations.holds


PARTS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0.5, 1.0, 2.0])), max_size=6)


@settings(max_examples=500, deadline=None)
@given(
    parts=PARTS,
    later=PARTS,
    expires=st.none() | st.integers(0, 40),
    early=st.integers(0, 30),
    horizon=st.integers(0, 30),
    begins=st.booleans(),
)
def test_ends_that_are_forgotten_still_count(
    parts: list[tuple[int, float]],
    later: list[tuple[int, float]],
    expires: int | None,
    early: int,
    horizon: int,
    *,
    begins: bool,
) -> None:
    """From the horizon on, whether forgotten in one go or two; what is over by then is kept no longer."""
    early, horizon = sorted((early, horizon))
    mindful, once, twice = Reservations(), Reservations(), Reservations()
    for one in (mindful, once, twice):
        if begins:
            one.create("r", 0, 4.0, expires)
        for at, qty in parts:
            one.end("r", at, qty)
    once.forget(horizon)
    twice.forget(early)
    twice.forget(horizon)
    assert once.holds == twice.holds
    if not once.holds:
        assert mindful.held(horizon) == 0
        return
    assert sum(at < horizon for at, _ in once.holds["r"].end_times()) <= 1
    for one in (mindful, once):
        for at, qty in later:
            one.end("r", horizon + at, qty)
    assert [one.held(at) for one in (mindful, once) for at in range(horizon, 70)] == [
        mindful.held(at) for at in range(horizon, 70)
    ] * 2


@pytest.mark.parametrize("parts", [1, 4_000])
def test_a_part_costs_the_same_however_many_came_before(parts: int) -> None:
    """In order of event time, that is: nothing of those before is looked at again."""
    reservations = Reservations()
    reservations.create("r", 0, 1e6, None)
    for number in range(parts):
        reservations.end("r", number, 1.0)
    assert reservations.held(parts) == 1e6 - parts
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        reservations.end("r", parts, 1.0)
    finally:
        sys.setprofile(None)
    assert calls < 30


def test_reservations_of_states_before_parts_counted_are_over_with_their_first_end() -> None:
    """Up to version 6 a record had one end, of all that was reserved; some had that alone."""
    values = ["over", 6, 10, 5, None, "ended", 0.0, None, 3, None, "open", 2.0, 10, None, 90]
    packed = Reservations((0, 0, 0, msgspec.msgpack.encode(values)))
    holds = {"over": [6.0, 10, 15, None], "ended": [0.0, None, 13, None], "open": [2.0, 20, None, 110]}
    awake = [0, 0, 0, holds]
    opened = Reservations.opened(msgspec.msgpack.decode(msgspec.msgpack.encode(awake), type=OpenReservations))
    assert packed.holds == opened.holds
    for reservations in (packed, opened):
        reservations.create("ended", 11, 7.0, None)
        reservations.end("open", 50, 1.5)
        reservations.create("over", 9, 8.0, None)  # two more, of which nobody said that they are over
        assert [reservations.held(at) for at in (9, 10, 11, 13, 15, 20, 50, 110)] == [8, 8, 15, 8, 2, 4, 2.5, 2]


def test_items_at_rest_of_states_before_it_was_kept_what_a_level_had_counted_are_read() -> None:
    """Up to version 7 nobody kept what was held when a system said what is reserved: then the item is asked."""

    def told(number: int, kind: str, at_us: int, **fields: object) -> Arrived:
        own = {"type": kind, "event_id": f"e{number}", "source": "w", "system": "wms", "occurred_at": rfc3339(at_us)}
        own |= {"sku": "k", "node": "n", **fields}
        return Arrived(at_us, "log", 0, number, at_us, msgspec.convert(own, Event))

    def reserved(number: int, what: str, at_us: int) -> Arrived:
        return told(number, f"reservation.{what}", at_us, reservation_id=f"r{number % 10}", order_id="o", qty=2)

    begin = int(START_US)
    log = [
        reserved(0, "created", begin),
        told(1, "inventory.level", begin + MINUTE, on_hand=9, reserved=2),
        reserved(2, "created", begin + 2 * MINUTE),
        reserved(10, "consumed", begin + 3 * MINUTE),
        told(3, "inventory.adjusted", begin + 3 * MINUTE, delta=-2, reason="pick"),
        reserved(4, "created", begin + 9 * MINUTE),
        told(5, "inventory.adjusted", begin + 10 * MINUTE, delta=0, reason="count"),
    ]
    windows = WindowSettings(MINUTE, MINUTE, SECOND_US, HOUR_US)
    plain = msgspec.structs.replace(SETTINGS, inbound_horizon=None)
    stock = StockReconciler(plain, windows)
    wanted = [*stock.update(log), *stock.advance(END_OF_TIME_US)]
    assert [row.available_to_promise for row in wanted if isinstance(row, StockWindow)] == [7, 5, 3]
    for upto in range(1, len(log)):
        before, after = StockReconciler(plain, windows), StockReconciler(plain, windows)
        rows = before.update(log[:upto])
        before._items.rest()
        before._items.rest()
        kept = before.snapshot()
        items = {key: _without_marks(packed) for key, packed in kept.items.items()}
        after.MOST_AWAKE = 0
        after.restore(msgspec.structs.replace(kept, version=7, items=items))
        for one in log[upto:]:
            rows += after.update([one])
        assert [*rows, *after.advance(END_OF_TIME_US)] == wanted


def _without_marks(packed: bytes) -> bytes:
    its = shape_of(packed[:FLAGS])
    if its.marks is None:
        return packed
    numbers = [*its.numbers_of(packed)]
    del numbers[its.marks : its.marks + its.count]
    return shape(its.flags & ~MARKS).packed(*numbers) + packed[its.size :]


def test_every_system_of_the_contract_has_a_number_in_packed_history() -> None:
    assert sorted(SYSTEMS) == sorted(get_args(System))
    entries: list[tuple[str, Entry]] = [(system, (at, 1, "e", 1.0, None, None)) for at, system in enumerate(SYSTEMS)]
    assert list(History().with_more(entries).entries().items()) == [(system, [entry]) for system, entry in entries]


@pytest.mark.parametrize("count", [3, 5_000, 20_000])
def test_long_histories_are_read_back(count: int) -> None:
    history, entries = History(), [(at, 1, f"e{at}", at / 2, None, None) for at in range(count)]
    for start in range(0, count, 1_001):
        history = history.with_more([("wms", entry) for entry in entries[start : start + 1_001]])
    assert history.entries() == {"wms": entries}


@given(quantity=st.floats(allow_nan=False, allow_infinity=False))
def test_the_shortest_form_of_a_quantity_is_exactly_it(quantity: float) -> None:
    encoded = msgspec.msgpack.encode(shortest(quantity))
    assert repr(float(msgspec.msgpack.decode(encoded))) == repr(quantity)


NAMES = st.text(st.sampled_from("a1\x1f"), min_size=1, max_size=4)


@settings(max_examples=500)
@given(one=st.tuples(NAMES, NAMES), other=st.tuples(NAMES, NAMES))
def test_no_two_items_have_the_same_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (item_key(*one) == item_key(*other)) is (one == other)
    assert names_of(item_key(*one)) == one


def test_state_of_the_version_before_is_refused_in_words() -> None:
    reconciler = StockReconciler(SETTINGS, WindowSettings(MINUTE, MINUTE, SECOND_US, HOUR_US))
    with pytest.raises(StateError, match="stock state of version 4; this code reads 5"):
        reconciler.restore(msgspec.structs.replace(reconciler.snapshot(), version=4))


def test_an_item_of_three_systems_rests_in_few_bytes() -> None:
    item = Item()
    for at, system in enumerate(("ecom", "erp", "wms")):
        item.note(system, (START_US + at * HOUR_US, 1, f"{system}:12345678", 250.0, None, None), END_OF_TIME_US)
    size = len(pack_item(item))
    assert size <= 150
    for number in range(10):
        item.note("wms", (START_US + 24 * HOUR_US + number, 0, f"wms:{number:08}", -1.0, None, None), END_OF_TIME_US)
    assert len(pack_item(item)) <= size + 10 * 24 + 40


@pytest.mark.parametrize("first", [pack_item, keep_awake])
@pytest.mark.parametrize("then", [pack_item, keep_awake])
def test_reservations_that_nobody_asked_for_meanwhile_are_kept(
    first: Callable[[Item], bytes], then: Callable[[Item], bytes]
) -> None:
    item = item_of([("wms", (0, 1, "e0", 9.0, None, None))])
    item.reservations.create("r1", 3, 2.0, None)
    item.reservations.create("r2", 5, 4.0, 8)
    again = unpack_item(then(unpack_item(first(item))))
    assert [again.held(instant) for instant in (2, 3, 5, 8)] == [0.0, 2.0, 6.0, 2.0]


def test_state_of_the_version_before_goes_on() -> None:
    """In version 5 `folded` was a number of periods."""
    windows = WindowSettings(MINUTE, MINUTE, SECOND_US, HOUR_US)
    kept = msgspec.structs.replace(StockReconciler(SETTINGS, windows).snapshot(), version=5, folded=7)
    resumed = StockReconciler(SETTINGS, windows)
    resumed.restore(kept)
    assert msgspec.structs.replace(resumed.snapshot(), version=5) == kept
