"""Picking backlogs: missing labour is one; a peak, a batch, a closed store and a log that was held back are none."""

import msgspec
import pytest

from operators.detectors.picking import Picks, warehouse_judges
from operators.detectors.policy import Override
from operators.detectors.settings import DetectorSettings
from schemas.durations import DAY_US, MINUTE_US
from schemas.events import Arrived
from tests.detector_days import Day, at, named, run, with_book

ENDS = at(17)


def parts(settings: DetectorSettings = DetectorSettings()):  # noqa: ANN201, B008 - as `Parts`; frozen
    return with_book(
        lambda book: [Picks(book, settings.warehouse.remembered)],
        lambda: warehouse_judges(settings.policy("warehouse.backlog")),
    )


def picked_day(pickers: dict[int, int], queued: dict[int, int], *, node: str = "dc-1", started: bool = True) -> Day:
    """A node at which, by the hour, so many picks a minute can be done, and so many are queued (a minute)."""
    day, waiting, number = Day(), [], 0
    for minute in range(7 * 60, 16 * 60):
        now = at(minute / 60)
        for _ in range(queued.get(minute // 60, 2)):
            day.order(f"o{number}", now)
            task = {"task_id": f"t{number}", "task_type": "pick", "node": node, "order_id": f"o{number}"}
            day.tell("task.queued", now, **task, sku="sku-1")
            waiting.append(task)
            number += 1
        for task in waiting[: pickers.get(minute // 60, 6)]:
            if started:
                day.tell("task.started", now + 20_000_000, **task)
            day.tell("task.completed", now + MINUTE_US // 2, **task)
        del waiting[: pickers.get(minute // 60, 6)]
    return day


@pytest.mark.parametrize("started", [True, False])
def test_missing_labour_is_found_and_names_who_waited_and_closes(started: bool) -> None:
    day = picked_day({10: 0, 11: 0} if not started else {10: 1, 11: 1}, {}, started=started)
    found = run(day.events, parts(), ENDS)
    signals = [finding.signal for finding in found]
    assert {(signal.kind, tuple(signal.scope.items())) for signal in signals} == {
        ("picking_backlog", (("node", "dc-1"),))
    }
    assert at(10) < signals[0].found_at_us <= at(10.2 if started else 11.1)  # slow at once; stopped, it may be closed
    assert signals[0].opened_at_us >= at(10)
    assert signals[-1].closed_at_us is not None
    begun, done = {}, {}
    for one in day.events:
        if one.event.__struct_config__.tag == "task.queued":
            begun[one.event.order_id] = one.arrival_us
        elif one.event.__struct_config__.tag == "task.completed":
            done[one.event.order_id] = one.arrival_us
    waited = {order for order, since in begun.items() if done.get(order, ENDS) - since > 31 * MINUTE_US}
    assert len(named(found)) == len(set(named(found)))
    assert set(named(found)) >= waited
    assert len(waited) >= 0.9 * len(set(named(found)))
    assert found[0].impacts == [] or found[0].impacts[0].value == 20.0
    assert signals[0].evidence


def test_a_node_that_stops_is_found_at_once_when_it_is_known_to_work_at_this_time() -> None:
    yesterday, today = picked_day({}, {}), picked_day({10: 0, 11: 0}, {})
    later = [
        Arrived(one.arrival_us + DAY_US, one.topic, one.partition, one.offset, one.occurred_us + DAY_US, one.event)
        for one in today.events
    ]
    assert [f for f in run([*yesterday.events, *later], parts(), DAY_US + at(9.9)) if not f.signal.closed_at_us] == []
    found = run([*renamed(yesterday.events), *later], parts(), DAY_US + at(10.5))
    assert DAY_US + at(10) < found[0].signal.found_at_us <= DAY_US + at(10.2)


def test_a_node_that_closes_on_its_first_evening_is_none() -> None:
    day = picked_day(dict.fromkeys(range(14, 17), 0), {14: 1, 15: 1})
    assert run(day.events, parts(), at(14.45)) == []


def test_what_was_as_slow_at_this_time_of_the_day_before_is_none() -> None:
    first = picked_day({10: 1}, {})
    again = [
        Arrived(one.arrival_us + DAY_US, one.topic, one.partition, one.offset, one.occurred_us + DAY_US, one.event)
        for one in first.events
    ]
    found = run([*renamed(first.events), *again], parts(), DAY_US + at(10.4))
    assert {finding.signal.found_at_us // DAY_US for finding in found} == {at(0) // DAY_US}


def renamed(events: list[Arrived]) -> list[Arrived]:
    """The same events about other orders and tasks."""
    out = []
    for one in events:
        names = {"order_id": f"y{one.event.order_id}"}
        if hasattr(one.event, "task_id"):
            names["task_id"] = f"y{one.event.task_id}"
        event = msgspec.structs.replace(one.event, **names)
        out.append(Arrived(one.arrival_us, one.topic, one.partition, one.offset, one.occurred_us, event))
    return out


def test_a_restart_changes_nothing_and_neither_do_smaller_batches() -> None:
    events = picked_day({10: 1, 11: 1}, {}).events
    found = run(events, parts(), ENDS)
    assert found
    assert run(events, parts(), ENDS, step_us=MINUTE_US) == found
    assert run(events, parts(), ENDS, step_us=7 * MINUTE_US, keep=True) == found


def test_a_peak_that_is_worked_off_and_a_nights_batch_are_none() -> None:
    assert run(picked_day({}, {12: 5, 13: 5}).events, parts(), ENDS) == []
    # twice as much as can be done: it waits, while more is done than ever
    assert run(picked_day({}, {12: 12, 13: 0, 14: 0}).events, parts(), ENDS) == []


def test_a_log_that_is_held_back_for_ten_minutes_is_none() -> None:
    day = picked_day({}, {})
    held = []
    for one in day.events:
        late = at(12) <= one.arrival_us < at(12) + 10 * MINUTE_US
        arrival_us = at(12) + 10 * MINUTE_US if late else one.arrival_us
        held.append(Arrived(arrival_us, one.topic, one.partition, one.offset, one.occurred_us, one.event))
    assert run(held, parts(), ENDS) == []


def test_thresholds_of_a_group_of_nodes() -> None:
    override = Override(node_group="slow", set={"warehouse.backlog.least": 100_000})
    settings = DetectorSettings(node_groups={"slow": ["dc-*"]}, override=[override])
    assert run(picked_day({10: 1}, {}).events, parts(settings), ENDS) == []


@pytest.mark.parametrize("by_line", [False, True])
def test_nobody_waits_for_picks_of_orders_that_were_cancelled(*, by_line: bool) -> None:
    """From ten to twelve nine in ten orders are cancelled before anybody picks them, and no task says so."""
    day = Day()
    for number in range(9 * 60 * 2):
        now, order = at(7) + number * MINUTE_US // 2, f"o{number}"
        day.order(order, now)
        task = {"task_id": f"t{number}", "task_type": "pick", "node": "dc-1", "order_id": order, "sku": "sku-1"}
        day.tell("task.queued", now, **task)
        if at(10) <= now < at(12) and number % 10:
            day.tell("order.cancelled", now + 30_000_000, order_id=order, **({"line_id": "1"} if by_line else {}))
        else:
            day.tell("task.started", now + MINUTE_US // 2, **task)
            day.tell("task.completed", now + MINUTE_US, **task)
    assert run(day.events, parts(), ENDS) == []


def test_cancelled_picks_are_not_in_the_backlog_that_is_found() -> None:
    """While hands are missing every other order is cancelled before it is picked."""
    day = picked_day({10: 1, 11: 1}, {})
    done = {one.event.order_id for one in day.events if one.event.__struct_config__.tag == "task.started"}
    some = [one for one in day.events if one.event.__struct_config__.tag == "task.queued"]
    gone = {one.event.order_id: one.arrival_us for one in some if at(10) <= one.arrival_us < at(12)}
    gone = {order: since for order, since in gone.items() if int(order[1:]) % 2}
    kept = [
        one
        for one in day.events
        if not (one.event.__struct_config__.tag in {"task.started", "task.completed"} and one.event.order_id in gone)
    ]
    day.events = kept
    numbered = max(one.offset for one in kept)
    for order, since in gone.items():
        day.tell("order.cancelled", since + MINUTE_US // 4, order_id=order)
        numbered += 1
        day.events[-1] = msgspec.structs.replace(day.events[-1], offset=numbered)
    assert done
    found = run(day.events, parts(), ENDS)
    assert found
    assert not set(named(found)) & set(gone)
    assert found[-1].signal.closed_at_us is not None
    assert run(day.events, parts(), ENDS, step_us=7 * MINUTE_US, keep=True) == found
