"""Stock as timed scripts: this is said, exactly that is found; and what is forgotten changes no result."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.item_keys import item_key
from operators.stock import StockReconciler, StockSettings, StockState
from operators.stock_item import Item
from operators.windows import WindowSettings
from schemas.durations import DAY_US, END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US, Duration
from schemas.errors import StateError
from schemas.events import (
    Arrived,
    Event,
    ReservationConsumed,
    ReservationCreated,
    ReservationRejected,
    ReservationReleased,
)
from schemas.rows import LateEvent, Signal, StockWindow
from tests.harness import START_US
from tests.scripts import Script, at, found
from tests.shop import STOCK_TYPES, Said, said

MINUTE = MINUTE_US
WINDOWS = WindowSettings(5 * MINUTE, 5 * MINUTE, 5 * SECOND_US, DAY_US)
PLAIN = StockSettings(settle=Duration(30 * MINUTE), oversell_settle=Duration(5 * MINUTE))


def script(plain: StockSettings = PLAIN, windows: WindowSettings = WINDOWS, **changed: object) -> Script:
    return Script(StockReconciler(msgspec.structs.replace(plain, **changed), windows))


def level(play: Script, arrival: str, system: str, on_hand: float, **fields: object) -> Sequence[Any]:
    fields = {"sku": "k", "node": "n1", "system": system, "source": f"{system}-1", "on_hand": on_hand} | fields
    return play.send(arrival, "inventory.level", **fields)


def adjust(play: Script, arrival: str, system: str, delta: float, **fields: object) -> Sequence[Any]:
    fields = {"reason": "count", "system": system, "source": f"{system}-1", "delta": delta} | fields
    return play.send(arrival, "inventory.adjusted", **({"sku": "k", "node": "n1"} | fields))


def reserve(play: Script, arrival: str, what: str, qty: float = 1, **fields: object) -> Sequence[Any]:
    fields = {"reservation_id": "r1", "order_id": "o1", "sku": "k", "node": "n1", "qty": qty} | fields
    return play.send(arrival, f"reservation.{what}", **fields)


def windows_of(outputs: Sequence[Any]) -> list[StockWindow]:
    return [one for one in outputs if isinstance(one, StockWindow)]


def last_promise(play: Script, time: str) -> float | None:
    """What is available to promise by the last window that is written by `time`."""
    return windows_of(play.reach(time))[-1].available_to_promise


# --- differences -------------------------------------------------------------------------------------------------


def test_a_difference_is_found_once_it_has_outlasted_the_settle_time_and_closes_when_it_ends() -> None:
    play = script()
    level(play, "10:00", "wms", 100)
    assert found(level(play, "10:01", "erp", 80)) == []
    assert found(play.reach("10:31")) == []
    assert found(play.reach("10:31:00.000001")) == ["stock_delta node=n1 sku=k since 10:01"]
    assert found(play.reach("12:00")) == []
    closed = level(play, "12:01", "erp", 99)
    assert found(closed) == ["stock_delta node=n1 sku=k since 10:01 until 12:01"]
    assert found(play.reach("23:00")) == []


def test_what_is_in_transit_for_less_than_the_settle_time_is_no_finding() -> None:
    play = script()
    level(play, "10:00", "wms", 100)
    level(play, "10:01", "erp", 100)
    for arrival, system in (("10:10", "wms"), ("10:39", "erp"), ("10:40", "wms"), ("11:09", "erp"), ("11:10", "wms")):
        assert found(adjust(play, arrival, system, -20)) == []
    assert found(adjust(play, "11:40", "erp", -20)) == []  # exactly at the settle time: in time
    assert found(play.reach("23:00")) == []


def test_a_difference_that_changes_but_never_ends_is_found() -> None:
    play = script()
    level(play, "10:00", "wms", 100)
    level(play, "10:00", "erp", 80)
    adjust(play, "10:20", "erp", 5)
    assert found(play.reach("10:31")) == ["stock_delta node=n1 sku=k since 10:00"]


@pytest.mark.parametrize(
    ("wms", "erp", "is_beyond"),
    [
        (10, 8, False),
        (10, 7.5, True),
        (100, 95, False),
        (100, 94.5, True),
        (0, -2, False),
        (0, -3, True),
        (1, 1, False),
    ],
)
def test_a_difference_must_pass_both_margins(wms: float, erp: float, *, is_beyond: bool) -> None:
    play = script(margin_units=2.0, margin_share=0.05)
    level(play, "10:00", "wms", wms)
    level(play, "10:00", "erp", erp)
    assert len(found(play.reach("11:00"))) == is_beyond


def test_a_system_without_a_level_has_no_known_quantity() -> None:
    play = script()
    level(play, "10:00", "wms", 100)
    adjust(play, "10:00", "erp", -50)
    assert found(play.reach("11:00")) == []
    assert found(level(play, "11:01", "erp", 100, occurred="09:00")) == []  # the adjustment came after it
    assert found(play.reach("12:00")) == ["stock_delta node=n1 sku=k since 11:01"]


def test_a_level_wins_over_adjustments_before_it_however_late_they_come() -> None:
    play = script()
    level(play, "10:00", "wms", 100)
    level(play, "10:00", "erp", 100)
    adjust(play, "10:05", "erp", -50, occurred="09:59")
    adjust(play, "10:06", "erp", -50, occurred="10:00")  # at the same time: the level knew
    assert found(play.reach("11:00")) == []


# --- available to promise ------------------------------------------------------------------------------------------


def test_negative_available_to_promise_by_reservations() -> None:
    play = script()
    level(play, "10:00", "wms", 5)
    reserve(play, "10:01", "created", 6)
    assert found(play.reach("10:06")) == []
    assert found(play.reach("10:07")) == ["negative_atp node=n1 sku=k since 10:01"]
    assert found(reserve(play, "10:08", "released", 6)) == ["negative_atp node=n1 sku=k since 10:01 until 10:08"]


@pytest.mark.parametrize("how", ["consumed", "released", "rejected"])
def test_what_is_left_of_a_reservation_is_still_held(how: str) -> None:
    play = script()
    level(play, "10:00", "wms", 10)
    reserve(play, "10:01", "created", 4)
    reserve(play, "10:06", how, 1.5)
    level(play, "10:06", "wms", 10)
    assert last_promise(play, "10:11") == 7.5
    reserve(play, "10:12", "released", 2)
    level(play, "10:12", "wms", 10)
    assert last_promise(play, "10:16") == 9.5
    reserve(play, "10:21", "consumed", 9)  # more than there is left
    level(play, "10:21", "wms", 10)
    assert last_promise(play, "10:26") == 10


def test_a_part_of_a_reservation_ends_no_oversell() -> None:
    play = script()
    level(play, "10:00", "wms", 5)
    reserve(play, "10:01", "created", 8)
    assert found(play.reach("10:07")) == ["negative_atp node=n1 sku=k since 10:01"]
    assert found(reserve(play, "10:08", "consumed", 2)) == []
    assert found(reserve(play, "10:09", "consumed", 1)) == ["negative_atp node=n1 sku=k since 10:01 until 10:09"]


def test_a_reservation_that_expires_within_the_settle_time_is_no_oversell() -> None:
    play = script()
    level(play, "10:00", "wms", 5)
    reserve(play, "10:01", "created", 6, expires_at="10:03")
    assert found(play.reach("11:00")) == []


def test_a_negative_promise_ends_when_the_reservation_expires() -> None:
    play = script()
    level(play, "10:00", "wms", 5)
    reserve(play, "10:01", "created", 6, expires_at="10:20")
    assert found(play.reach("10:20")) == ["negative_atp node=n1 sku=k since 10:01"]
    assert found(play.reach("10:20:00.000001")) == ["negative_atp node=n1 sku=k since 10:01 until 10:20"]


@pytest.mark.parametrize("how", ["released", "rejected", "consumed"])
def test_what_a_system_says_is_reserved_wins_over_reservations(how: str) -> None:
    play = script()
    level(play, "10:00", "wms", 10)
    reserve(play, "10:01", "created", 4)
    assert last_promise(play, "10:06") == 6
    level(play, "10:11", "wms", 10, reserved=1)
    assert last_promise(play, "10:16") == 9
    level(play, "10:21", "wms", 10)
    assert last_promise(play, "10:26") == 6
    reserve(play, "10:31", how, 4)
    level(play, "10:31", "wms", 10)
    assert last_promise(play, "10:36") == 10


def test_what_is_picked_of_what_a_system_said_is_reserved_is_no_oversell() -> None:
    """All there is is reserved; piece by piece it is picked, until the next level hours later."""
    play = script()
    for number in range(5):
        reserve(play, "09:00", "created", reservation_id=f"r{number}")
    level(play, "10:00", "wms", 5, reserved=5)
    for number, time in enumerate(("10:10", "10:20", "10:30", "10:40")):
        assert found(reserve(play, time, "consumed", reservation_id=f"r{number}")) == []
        assert found(adjust(play, time, "wms", -1, reason="pick")) == []
    assert last_promise(play, "10:46") == 0
    assert found(play.reach("14:00")) == []
    assert found(level(play, "14:00", "wms", 1, reserved=1)) == []
    assert found(play.reach("15:00")) == []


def test_what_is_reserved_after_a_system_said_how_much_is_counts_too() -> None:
    play = script()
    reserve(play, "09:00", "created", 2, reservation_id="before")
    level(play, "10:00", "wms", 5, reserved=4)  # two of them were made before the log began
    reserve(play, "10:02", "created", 2, reservation_id="after", expires_at="10:30")
    told = play.reach("10:20")
    assert found(told) == ["negative_atp node=n1 sku=k since 10:02"]
    assert windows_of(told)[-1].available_to_promise == -1
    closed = reserve(play, "10:22", "released", 2, reservation_id="before")
    assert found(closed) == ["negative_atp node=n1 sku=k since 10:02 until 10:22"]
    adjust(play, "10:23", "wms", 0)
    assert last_promise(play, "10:26") == 1
    adjust(play, "10:31", "wms", 0)  # it has expired
    assert last_promise(play, "10:36") == 3
    level(play, "10:41", "wms", 5, reserved=0)
    assert last_promise(play, "10:46") == 5


def test_what_a_system_said_is_reserved_holds_what_came_later_of_reservations_made_before() -> None:
    """They are heard of late; the level, which is dated after them and after what was given back, has counted that."""
    play = script()
    level(play, "10:00", "wms", 6, reserved=5)
    reserve(play, "10:02", "created", 1, reservation_id="r2")
    assert found(reserve(play, "10:03", "created", 3, occurred="09:55")) == []
    assert last_promise(play, "10:11") == 0
    assert found(reserve(play, "10:12", "released", 2, occurred="09:58")) == []
    assert found(play.reach("11:00")) == []
    level(play, "11:01", "oms", 5)
    assert last_promise(play, "11:06") == 0
    assert found(reserve(play, "11:07", "consumed", 1)) == []
    level(play, "11:11", "oms", 5)
    assert last_promise(play, "11:16") == 1


def test_no_less_than_nothing_is_reserved() -> None:
    play = script()
    reserve(play, "09:00", "created", 3)
    level(play, "10:00", "wms", 5, reserved=1)  # it does not know of all of it
    reserve(play, "10:01", "released", 3)
    assert last_promise(play, "10:06") == 5


def test_a_late_reservation_corrects_windows_in_which_only_a_level_before_it_was_seen() -> None:
    play = script(windows=WindowSettings(15 * MINUTE, 5 * MINUTE, 5 * SECOND_US, DAY_US))
    level(play, "10:01", "wms", 10)
    assert [one.available_to_promise for one in windows_of(play.reach("10:30"))] == [10, 10, 10]
    reserve(play, "10:30", "created", 4, occurred="10:07")
    corrected = windows_of(play.reach("11:00"))
    assert [(one.window_end_us, one.available_to_promise) for one in corrected] == [(at("10:10"), 6), (at("10:15"), 6)]


@pytest.mark.parametrize("quantities", [(4, 7), (7, 4)])
def test_of_two_reservations_under_one_id_at_one_time_the_order_of_arrival_does_not_choose(
    quantities: tuple[int, int],
) -> None:
    play = script()
    level(play, "10:00", "wms", 10)
    for qty in quantities:
        reserve(play, "10:01", "created", qty)
    assert last_promise(play, "10:06") == 6


def test_safety_stock_is_held_back_by_node() -> None:
    play = script(safety_stock=3, safety_stock_by_node={"n2": 0.5})
    level(play, "10:00", "wms", 10)
    level(play, "10:00", "wms", 10, node="n2")
    promises = {one.node: one.available_to_promise for one in windows_of(play.reach("10:06"))}
    assert promises == {"n1": 7, "n2": 9.5}
    short = script(safety_stock=3)
    level(short, "10:00", "wms", 2)
    assert found(short.reach("10:06")) == ["negative_atp node=n1 sku=k since 10:00"]


def test_the_book_says_whose_stock_is_promised() -> None:
    play = script(book=("oms", "wms"))
    level(play, "10:00", "erp", 1)
    assert last_promise(play, "10:06") is None
    level(play, "10:11", "wms", 2)
    assert last_promise(play, "10:16") == 2
    level(play, "10:21", "oms", 3)
    assert last_promise(play, "10:26") == 3


ORDERED = {"po_id": "p1", "supplier": "s", "node": "n1", "expected_at": "14:02"}


def ordered(play: Script, arrival: str, *quantities: float, **fields: object) -> Sequence[Any]:
    lines = [{"sku": "k", "qty": qty} for qty in quantities]
    return play.send(arrival, "po.created", **(ORDERED | {"lines": lines} | fields))


def test_inbound_counts_only_when_asked_for_and_only_when_due_soon() -> None:
    off = script()
    level(off, "10:00", "wms", 10)
    ordered(off, "10:01", 5)
    assert last_promise(off, "10:06") == 10
    play = script(inbound_horizon=Duration(2 * HOUR_US))
    level(play, "10:00", "wms", 10)
    ordered(play, "10:01", 5, 2)  # two lines of the item
    assert last_promise(play, "10:06") == 10
    for time, written, promise in (("12:01", "12:06", 17), ("13:58", "14:00:30", 17), ("14:01", "14:06", 10)):
        level(play, time, "wms", 10)
        assert last_promise(play, written) == promise


def test_inbound_is_over_with_its_receipt_in_whichever_order_they_arrive() -> None:
    def final(*steps: str) -> list[tuple[int, float | None]]:
        play = script(inbound_horizon=Duration(8 * HOUR_US))
        outputs: list[Any] = [*level(play, "10:00", "wms", 10)]
        for arrival, step in zip(("10:30", "10:31"), steps, strict=True):
            if step == "receipt":
                outputs += adjust(play, arrival, "wms", 5, reason="receipt", reference="p1", occurred="10:11")
            else:
                outputs += ordered(play, arrival, 5, occurred="10:06")
        for arrival in ("10:07", "10:17"):
            outputs += level(play, "10:32", "wms", 10, occurred=arrival)
        rows = windows_of([*outputs, *play.reach("11:00")])
        return sorted({one.window_end_us: one.available_to_promise for one in rows}.items())

    assert final("order", "receipt") == final("receipt", "order")
    assert [promise for _, promise in final("order", "receipt")] == [10, 15, 15, 10]


def test_inbound_that_did_not_come_turns_into_a_negative_promise() -> None:
    play = script(inbound_horizon=Duration(8 * HOUR_US))
    level(play, "10:00", "wms", 1)
    ordered(play, "10:00", 5)
    reserve(play, "10:01", "created", 3)
    assert found(play.reach("14:02")) == []
    assert found(play.reach("15:00")) == ["negative_atp node=n1 sku=k since 14:02"]


def test_value_at_risk_is_the_difference_times_the_unit_cost_last_said() -> None:
    play = script(currency="EUR")
    level(play, "10:00", "wms", 10, unit_cost="2.50")
    level(play, "10:01", "erp", 4)
    (window,) = windows_of(play.reach("10:06"))
    assert (window.on_hand, window.delta, window.value_at_risk, window.currency) == (
        {"erp": 4, "wms": 10},
        6,
        15.0,
        "EUR",
    )
    level(play, "10:07", "erp", 4, unit_cost="3")
    corrected = level(play, "10:08", "wms", 10, unit_cost="9.99", occurred="10:06")
    assert windows_of(corrected) == []
    (window,) = windows_of(play.reach("10:11"))
    assert window.value_at_risk == 18.0


# --- memory and state ----------------------------------------------------------------------------------------------


def arrived(events: list[Said]) -> list[Arrived]:
    """As a lane would stamp them."""
    out, stamp = [], START_US - HOUR_US
    for one in sorted(events, key=lambda one: (one.arrival_us, one.number)):
        stamp = max(stamp, one.arrival_us)
        out.append(Arrived(stamp, "log", 0, one.number, one.occurred_us, msgspec.convert(one.body(), Event)))
    return out


def _again(one: Arrived, after_us: int) -> Arrived:
    """The same later, with reservations of its own."""
    event = one.event
    if hasattr(event, "reservation_id"):
        event = msgspec.structs.replace(event, reservation_id=f"{event.reservation_id}+")
    return msgspec.structs.replace(
        one,
        arrival_us=one.arrival_us + after_us,
        occurred_us=one.occurred_us + after_us,
        offset=one.offset + 1_000,
        event=event,
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=said(*STOCK_TYPES), scale=st.sampled_from([0.1, 1 / 3]))
def test_forgetting_changes_no_result(events: list[Said], scale: float) -> None:
    """With all events within retention, folding what is older gives the same rows to the last bit.

    But for reservations dated after what was given back of them: by then that may be forgotten, and they count as new.
    """
    windows = WindowSettings(MINUTE, MINUTE, SECOND_US, 26 * MINUTE)
    odd, given_us = [], dict[str, int]()
    said_in_order = arrived(events)
    for one in said_in_order:
        if isinstance(one.event, ReservationConsumed | ReservationReleased | ReservationRejected):
            name = one.event.reservation_id
            given_us[name] = min(one.occurred_us, given_us.get(name, one.occurred_us))
    for one in said_in_order:
        if isinstance(one.event, ReservationCreated):
            first_us = given_us.get(one.event.reservation_id, one.occurred_us)
            if one.occurred_us - first_us > 4 * MINUTE:  # they come up to 25 minutes late, and 29 are remembered
                continue
        changed = {name: getattr(one.event, name) * scale for name in ("on_hand", "delta") if hasattr(one.event, name)}
        odd.append(msgspec.structs.replace(one, event=msgspec.structs.replace(one.event, **changed)))
    ends = [_again(one, 3 * HOUR_US) for one in odd]
    forgetful, mindful = StockReconciler(PLAIN, windows), StockReconciler(PLAIN, windows)
    mindful._fold = lambda _item: None  # type: ignore[method-assign] # forgets nothing
    one = [*forgetful.update([*odd, *ends]), *forgetful.advance(START_US + 5 * HOUR_US)]
    other = [*mindful.update([*odd, *ends]), *mindful.advance(START_US + 5 * HOUR_US)]
    assert one == other


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=said(*STOCK_TYPES), cuts=st.lists(st.integers(0, 3_000), max_size=5))
def test_what_is_forgotten_does_not_depend_on_how_time_was_cut(events: list[Said], cuts: list[int]) -> None:
    windows = WindowSettings(MINUTE, MINUTE, SECOND_US, 2 * MINUTE)
    whole, cut = StockReconciler(PLAIN, windows), StockReconciler(PLAIN, windows)
    log = arrived(events)
    one = [*whole.update(log), *whole.advance(START_US + 2 * HOUR_US)]
    other: list[Any] = []
    for mark in sorted(cuts):
        before = [event for event in log if event.arrival_us < START_US + mark * SECOND_US]
        log = log[len(before) :]
        other += [*cut.update(before), *cut.advance(START_US + mark * SECOND_US)]
        again = StockReconciler(PLAIN, windows)
        again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(cut.snapshot()), type=StockState))
        cut = again
    other += [*cut.update(log), *cut.advance(START_US + 2 * HOUR_US)]
    assert other == one


@pytest.mark.parametrize("cut", range(6))
def test_folding_changes_no_sum_to_the_last_bit(cut: int) -> None:
    folded, whole = Item(), Item()
    for item in (folded, whole):
        item.note("wms", (0, 1, "level", 0.3, 2.0, "1.5"), END_OF_TIME_US)
    for number, delta in enumerate((0.1, 0.2, 0.7, -0.3, 1e-3, 1 / 3), start=1):
        for item in (folded, whole):
            item.note("wms", (number, 0, f"e{number}", delta, None, None), END_OF_TIME_US)
        if number == cut:
            folded.forget(cut)
    for instant in range(max(cut, 1), 8):
        assert folded.quantity("wms", instant) == whole.quantity("wms", instant)
        assert (folded.reserved("wms", instant), folded.unit_cost(instant)) == (2.0, 1.5)
    for item in (folded, whole):
        item.note("wms", (0, 0, "e0", -5.0, None, None), END_OF_TIME_US)  # at the level's time: the level knew
    assert folded.quantity("wms", 8) == whole.quantity("wms", 8)


def test_what_is_folded_still_takes_an_adjustment_that_was_made_after_the_level() -> None:
    item = Item()
    for entry in ((0, 1, "level", 10.0, None, None), (5, 0, "e1", -1.0, None, None), (6, 0, "e2", -1.0, None, None)):
        item.note("wms", entry, END_OF_TIME_US)
    item.forget(7)
    item.note("wms", (3, 0, "late", -2.0, None, None), END_OF_TIME_US)
    assert item.quantity("wms", 7) == 6.0


def test_a_late_adjustment_corrects_the_windows_that_still_can_be() -> None:
    play = script(windows=WindowSettings(5 * MINUTE, 5 * MINUTE, 5 * SECOND_US, 5 * MINUTE))
    level(play, "10:00", "wms", 10)
    level(play, "10:16", "erp", 10)
    assert [one.delta for one in windows_of(play.reach("10:21"))] == [0]
    late = adjust(play, "10:22", "wms", -4, occurred="10:01")
    (told,) = [one for one in late if isinstance(one, LateEvent)]
    assert told.window_start_us == at("10:00")
    assert told.effect.endswith(": on_hand -4 of wms")
    corrected = windows_of(play.reach("11:00"))
    assert [(one.window_end_us, one.on_hand) for one in corrected] == [(at("10:20"), {"erp": 10, "wms": 6})]


def test_memory_of_an_item_is_bounded_by_retention() -> None:
    windows = WindowSettings(MINUTE, MINUTE, SECOND_US, 10 * MINUTE)
    play = script(windows=windows)
    level(play, "09:59", "wms", 1)
    for number in range(600):
        time = f"{10 + number // 60}:{number % 60:02}"
        adjust(play, time, "wms", -1)
        reserve(play, time, "created", reservation_id=f"r{number}")
        reserve(play, time, "consumed", reservation_id=f"r{number}")
    reconciler = play.operator
    assert isinstance(reconciler, StockReconciler)
    item = reconciler._item(item_key("k", "n1"))
    assert len(item.all_entries()["wms"]) < 40
    assert len(item.reservations.holds) < 40
    assert reconciler.sizes()["windows"] < 40
    assert item.quantities(at("23:00")) == {"wms": -599.0}


def test_equal_ids_of_two_sources_of_a_system_raise_nothing() -> None:
    play = script()
    for source, said_reserved in (("wms-1", None), ("wms-2", 1.0), ("wms-3", None)):
        level(play, "10:00", "wms", 5, source=source, event_id="e", reserved=said_reserved, unit_cost=None)
    assert windows_of(play.reach("10:06"))[0].on_hand == {"wms": 5}


def test_state_of_another_version_is_refused_in_words() -> None:
    reconciler = StockReconciler(PLAIN, WINDOWS)
    with pytest.raises(StateError, match="stock state of version 99; this code reads"):
        reconciler.restore(msgspec.structs.replace(reconciler.snapshot(), version=99))


def test_findings_name_what_a_person_needs() -> None:
    play = script()
    level(play, "10:00", "wms", 100)
    level(play, "10:00", "erp", 80)
    (signal,) = [one for one in play.reach("11:00") if isinstance(one, Signal)]
    assert signal.scope == {"sku": "k", "node": "n1"}
    assert signal.observed == "erp 80, wms 100"
    assert (signal.score, signal.evidence) == (0.2, ["e2", "e1"])


def test_a_purchase_order_that_comes_too_late_for_its_windows_is_recorded_once() -> None:
    windows = WindowSettings(5 * MINUTE, 5 * MINUTE, 5 * SECOND_US, 5 * MINUTE)
    play = script(windows=windows, inbound_horizon=Duration(8 * HOUR_US))
    for sku in ("k", "l", "m"):
        level(play, "10:00", "wms", 10, sku=sku)
    level(play, "10:22", "wms", 10, sku="m")
    lines = [{"sku": sku, "qty": 5} for sku in ("l", "k", "none")]
    late = play.send("10:23", "po.created", occurred="09:59", **(ORDERED | {"lines": lines}))
    (told,) = [one for one in late if isinstance(one, LateEvent)]
    assert (told.window_start_us, told.stage) == (at("10:00"), "stock_windows")
    assert told.effect.startswith("k, l at n1, window from ")
    assert told.effect.endswith(": expected by p1")
    of_one = [{"sku": "m", "qty": 5}]
    in_time = play.send("10:24", "po.created", occurred="10:21", **(ORDERED | {"po_id": "p2", "lines": of_one}))
    assert [one for one in in_time if isinstance(one, LateEvent)] == []
