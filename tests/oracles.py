"""What the operators must come to in the end, computed from the set of events alone, in plain Python.

Written from DESIGN.md and docs/process-map.md: no state, no time, no order of arrival; quadratic, and meant to be.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple

from operators.process_map import Handoff, Pattern, ProcessMap
from operators.stock import StockSettings
from operators.windows import WindowSettings
from schemas.durations import MINUTE_US, SECOND_US, to_us
from schemas.events import (
    Event,
    InventoryAdjusted,
    InventoryLevel,
    ReservationConsumed,
    ReservationCreated,
    ReservationRejected,
    ReservationReleased,
    type_name,
)

#: A window with nothing but backlog has a row when its end is a multiple of this many slides.
IDLE_SLIDES = 12


class OnePass(NamedTuple):
    """A pass through a handoff, as it stands when all has arrived."""

    start: int | None
    end: int | None
    over: int | None
    deadline: int | None
    scope: str
    status: str


class Found(NamedTuple):
    """A finding about a case. `closed` is None while it stands."""

    kind: str
    handoff: str
    case: str
    opened: int
    closed: int | None


PassKey = tuple[str, str, str]
WindowKey = tuple[str, str, int]


def _at(event: Event) -> int:
    return to_us(event.occurred_at)


def _text(event: Event, name: str) -> str:
    value = getattr(event, name, None)
    return "" if value is None else str(value)


def _fits(event: Event, pattern: Pattern) -> bool:
    if type_name(event) != pattern.type:
        return False
    wanted = {name: [one] if isinstance(one, str) else one for name, one in pattern.where.items()}
    return all(_text(event, name) in values for name, values in wanted.items())


def _first(events: Iterable[Event]) -> Event | None:
    return min(events, key=lambda event: (_at(event), event.event_id), default=None)


def _key_text(values: Sequence[str]) -> str:
    """One value as it is; several with slashes between them, and none within."""
    if len(values) == 1:
        return values[0]
    return "/".join(value.replace("%", "%25").replace("/", "%2F") for value in values)


def handoff_passes(events: Sequence[Event], process: ProcessMap, clock: int) -> dict[PassKey, OnePass]:
    """Every pass of every handoff, at arrival time `clock` (all events have arrived long before)."""
    out: dict[PassKey, OnePass] = {}
    for handoff in process.handoff:
        starts = _by_pass(events, handoff, handoff.start, handoff.start_case or handoff.case)
        ends = _by_pass(events, handoff, handoff.end, handoff.end_case or handoff.case)
        for case, values in {*starts, *ends}:
            start, end = _first(starts.get((case, values), [])), _first(ends.get((case, values), []))
            if start is None and handoff.start_optional:
                continue
            out[(handoff.name, case, _key_text(values))] = _one_pass(
                events, process, handoff, case, values, start, end, clock
            )
    return out


def _by_pass(
    events: Sequence[Event], handoff: Handoff, pattern: Pattern, case_field: str
) -> dict[tuple[str, tuple[str, ...]], list[Event]]:
    out: dict[tuple[str, tuple[str, ...]], list[Event]] = {}
    for event in events:
        case = _text(event, case_field)
        if case and _fits(event, pattern):
            out.setdefault((case, tuple(_text(event, name) for name in handoff.per)), []).append(event)
    return out


def _one_pass(
    events: Sequence[Event],
    process: ProcessMap,
    handoff: Handoff,
    case: str,
    values: tuple[str, ...],
    start_event: Event | None,
    end_event: Event | None,
    clock: int,
) -> OnePass:
    start = None if start_event is None else _at(start_event)
    end = None if end_event is None else _at(end_event)
    given_up = _given_up(events, process, handoff, case, values)
    deadline = None if start is None else _deadline(events, handoff, case, values, start)
    over = end
    if end is None and start is not None and given_up is not None:
        over = max(start, given_up)
    scope = ""
    if handoff.scope:
        scope = (start_event is not None and _text(start_event, handoff.scope)) or (
            _text(end_event, handoff.scope) if end_event is not None else ""
        )
    if end is not None:
        if start is not None and end < start:
            status = "out_of_sequence"
        else:
            status = "late" if deadline is not None and end > deadline else "done"
    elif given_up is not None:
        status = "cancelled"
    else:
        status = "overdue" if deadline is not None and deadline < clock else "open"
    return OnePass(start, end, over, deadline, scope, status)


def _given_up(
    events: Sequence[Event], process: ProcessMap, handoff: Handoff, case: str, values: tuple[str, ...]
) -> int | None:
    """When the case, or the line that the pass is about, was cancelled, or the pass abandoned."""
    times = []
    rule = process.case_rule(handoff.case)
    for event in events:
        if _text(event, handoff.case) == case and any(_fits(event, one) for one in rule.cancelled_by):
            line = _text(event, "line_id")
            if not line or ("line_id" in handoff.per and values[handoff.per.index("line_id")] == line):
                times.append(_at(event))
        abandons = _text(event, handoff.end_case or handoff.case) == case and any(
            _fits(event, one) for one in handoff.abandoned_by
        )
        if abandons and tuple(_text(event, name) for name in handoff.per) == values:
            times.append(_at(event))
    return min(times, default=None)


def _deadline(events: Sequence[Event], handoff: Handoff, case: str, values: tuple[str, ...], start: int) -> int | None:
    if handoff.deadline is not None:
        return start + handoff.deadline
    if handoff.deadline_at is None:
        return None
    of_pass: list[tuple[int, str, datetime]] = []
    of_case: list[tuple[int, str, datetime]] = []
    for event in events:
        moment = getattr(event, handoff.deadline_at.field, None)
        if moment is None or _text(event, handoff.case) != case:
            continue
        named = tuple(_text(event, name) for name in handoff.per)
        if handoff.per and all(named):
            if named == values:
                of_pass.append((_at(event), event.event_id, moment))
        else:
            of_case.append((_at(event), event.event_id, moment))
    said = max(of_pass or of_case, default=None)
    return None if said is None else to_us(said[2]) + handoff.deadline_at.plus


def nearest_rank(q: float, ordered: Sequence[float]) -> float:
    return ordered[math.ceil(round(q * len(ordered), 9)) - 1]


def handoff_windows(
    passes: dict[PassKey, OnePass], process: ProcessMap, windows: WindowSettings, clock: int
) -> dict[WindowKey, tuple[object, ...]]:
    """handoff, scope, window end → what the row says, of all windows due before arrival time `clock`."""
    out: dict[WindowKey, tuple[object, ...]] = {}
    for handoff in process.handoff:
        mine = [
            one
            for (name, _, _), one in passes.items()
            if name == handoff.name and one.start is not None and one.status != "out_of_sequence"
        ]
        for scope in {one.scope for one in mine}:
            of_scope = [one for one in mine if one.scope == scope]
            times = [t for one in of_scope for t in (one.start, one.over, one.deadline) if t is not None]
            first = min(times) // windows.slide_us * windows.slide_us
            end = first + windows.slide_us
            while end + windows.grace_us < clock:
                row = _window_row(of_scope, handoff, windows, end)
                if row is not None:
                    out[(handoff.name, scope, end)] = row
                end += windows.slide_us
    return out


def _window_row(
    passes: Sequence[OnePass], handoff: Handoff, windows: WindowSettings, end: int
) -> tuple[object, ...] | None:
    begin = end - windows.size_us
    started = [one for one in passes if one.start is not None and begin <= one.start < end]
    completed = [one for one in passes if one.end is not None and begin <= one.end < end]
    overdue = [
        one
        for one in passes
        if one.deadline is not None and begin <= one.deadline < end and (one.over is None or one.over > one.deadline)
    ]
    waiting = [
        one.start
        for one in passes
        if one.start is not None and one.start < end and (one.over is None or one.over >= end)
    ]
    if not (started or completed or overdue) and not (waiting and end % (IDLE_SLIDES * windows.slide_us) == 0):
        return None
    latencies = sorted(
        (one.end - one.start) / SECOND_US for one in completed if one.end is not None and one.start is not None
    )
    over_target = [one for one in latencies if handoff.target is not None and one > handoff.target.seconds]
    quantiles = [nearest_rank(q, latencies) for q in (0.5, 0.95, 0.99, 1.0)] if latencies else [None] * 4
    return (
        begin,
        len(started),
        len(completed),
        len(over_target),
        len(overdue),
        len(waiting),
        (end - min(waiting)) / SECOND_US if waiting else None,
        *quantiles,
    )


def case_findings(
    events: Sequence[Event], process: ProcessMap, passes: dict[PassKey, OnePass]
) -> tuple["Counter[Found]", "Counter[Found]"]:
    """The findings that stand at the end of time, and the overdue ones that are over (their end came late)."""
    standing: Counter[Found] = Counter()
    over: Counter[Found] = Counter()
    by_name = {handoff.name: handoff for handoff in process.handoff}
    for (name, case, _), one in passes.items():
        began = _began(events, process, by_name[name], case)
        if one.start is None and one.end is not None and began:
            standing[Found("missing_step", name, case, one.end, None)] += 1
        if one.status == "out_of_sequence" and one.end is not None:
            standing[Found("out_of_sequence", name, case, one.end, None)] += 1
        if one.status == "overdue" and one.deadline is not None:
            standing[Found("overdue", name, case, one.deadline, None)] += 1
        elif None not in (one.start, one.deadline, one.over) and one.deadline < one.over >= one.start:
            over[Found("overdue", name, case, one.deadline, one.over)] += 1
    for handoff in process.handoff:
        for name in handoff.requires:
            standing.update(_requirement(events, process, handoff, by_name[name]))
    return standing, over


def _began(events: Sequence[Event], process: ProcessMap, handoff: Handoff, case: str) -> bool:
    rule = process.case_rule(handoff.case)
    return any(
        _text(event, handoff.case) == case and any(_fits(event, one) for one in rule.begins_with) for event in events
    )


def _requirement(events: Sequence[Event], process: ProcessMap, handoff: Handoff, required: Handoff) -> Iterable[Found]:
    """The required handoff's end must have come before this one's; which is judged once for a case."""
    if not handoff.per and not handoff.start_optional and handoff.start == required.end:
        return  # already judged as its start
    field = handoff.end_case or handoff.case
    for case in {_text(event, field) for event in events if _fits(event, handoff.end)} - {""}:
        end = _first(event for event in events if _fits(event, handoff.end) and _text(event, field) == case)
        before = _first(
            event
            for event in events
            if _fits(event, required.end) and _text(event, required.end_case or required.case) == case
        )
        assert end is not None
        if before is None:
            if _began(events, process, handoff, case):
                yield Found("missing_step", handoff.name, case, _at(end), None)
        elif _at(end) < _at(before):
            yield Found("out_of_sequence", handoff.name, case, _at(end), None)


def duplicates(events: Sequence[Event], process: ProcessMap) -> "Counter[tuple[str, str]]":
    """handoff, case → how many events repeat a step that may not be repeated."""
    out: Counter[tuple[str, str]] = Counter()
    for handoff in process.handoff:
        sides = ((handoff.start, handoff.start_case, "flag_start"), (handoff.end, handoff.end_case, "flag_end"))
        for pattern, case_field, flag in sides:
            if handoff.repeat in ("flag", flag):
                for (case, _), same in _by_pass(events, handoff, pattern, case_field or handoff.case).items():
                    out[(handoff.name, case)] += len(same) - 1
    return +out


def forbidden(events: Sequence[Event], process: ProcessMap) -> set[tuple[str, str]]:
    """rule, case of every impossible state."""
    return {
        (rule.name, _text(after, rule.after_case or rule.case))
        for rule in process.forbidden
        for after in events
        for event in events
        if _fits(after, rule.after)
        and _fits(event, rule.event)
        and _text(after, rule.after_case or rule.case) == _text(event, rule.event_case or rule.case) != ""
        and _at(event) > _at(after)
    }


def is_oddly_dated(events: Iterable[Event], case: str) -> bool:
    """Whether one of a case's events is dated a second after it came, or came a minute after it happened."""
    for event in events:
        assert event.recorded_at is not None
        delay_us = to_us(event.recorded_at) - _at(event)
        if not -SECOND_US <= delay_us <= MINUTE_US and case in [_text(event, name) for name in event.__struct_fields__]:
            return True
    return False


# --- stock ---------------------------------------------------------------------------------------------------


def stock_windows(
    events: Sequence[Event], settings: StockSettings, windows: WindowSettings, clock: int
) -> dict[tuple[str, str, int], tuple[object, ...]]:
    """sku, node, window end → what the row says, of all windows due before arrival time `clock`."""
    out: dict[tuple[str, str, int], tuple[object, ...]] = {}
    stock = [event for event in events if isinstance(event, InventoryLevel | InventoryAdjusted)]
    for sku, node in {(event.sku, event.node) for event in stock}:
        mine = [event for event in stock if (event.sku, event.node) == (sku, node)]
        holds = [
            event
            for event in events
            if isinstance(event, ReservationCreated | ReservationConsumed | ReservationReleased | ReservationRejected)
            and (event.sku, event.node) == (sku, node)
        ]
        ends = {
            (_at(event) // windows.slide_us + 1) * windows.slide_us + step
            for event in mine
            for step in range(0, windows.size_us, windows.slide_us)
        }
        for end in ends:
            if end + windows.grace_us < clock:
                out[(sku, node, end)] = _stock_row(mine, holds, settings, node, end - 1)
    return out


def stock_quantity(events: Sequence[Any], system: str, instant: int) -> float | None:
    """The last level of `system`, and the adjustments that happened after it."""
    levels = [e for e in events if isinstance(e, InventoryLevel) and e.system == system and _at(e) <= instant]
    if not levels:
        return None
    level = max(levels, key=lambda event: (_at(event), event.event_id))
    return level.on_hand + sum(
        event.delta
        for event in events
        if isinstance(event, InventoryAdjusted) and event.system == system and _at(level) < _at(event) <= instant
    )


def reserved(events: Sequence[Any], holds: Sequence[Any], system: str, instant: int) -> float:
    """What `system`'s last level says is reserved, and what was reserved or given back since.

    Where it says nothing, the reservations that hold.
    """
    levels = [e for e in events if isinstance(e, InventoryLevel) and e.system == system and _at(e) <= instant]
    level = max(levels, key=lambda event: (_at(event), event.event_id), default=None)
    if level is None or level.reserved is None:
        return held(holds, instant)
    since = round((Fraction(held(holds, instant)) - Fraction(held(holds, _at(level)))) * 1_000_000)
    return max(0, round(level.reserved * 1_000_000) + since) / 1_000_000 if since else max(0.0, level.reserved)


def held(holds: Sequence[Any], instant: int) -> float:
    """The sum of the reservations that hold."""
    total = 0.0
    for name in {event.reservation_id for event in holds}:
        mine = [event for event in holds if event.reservation_id == name]
        created = [event for event in mine if isinstance(event, ReservationCreated)]
        if not created:
            continue
        first = min(created, key=lambda event: (_at(event), event.qty))
        if _at(first) > instant or (first.expires_at is not None and to_us(first.expires_at) <= instant):
            continue
        ends = [event.qty for event in mine if not isinstance(event, ReservationCreated) and _at(event) <= instant]
        total += max(first.qty - sum(max(0.0, qty) for qty in ends), 0.0) if ends else first.qty
    return total


def _stock_row(
    events: Sequence[Any], holds: Sequence[Any], settings: StockSettings, node: str, instant: int
) -> tuple[object, ...]:
    systems = sorted({event.system for event in events})
    known = {system: stock_quantity(events, system, instant) for system in systems}
    on_hand = {system: quantity for system, quantity in known.items() if quantity is not None}
    delta = max(on_hand.values()) - min(on_hand.values()) if on_hand else 0.0
    promise = None
    for system in settings.book:
        if system in on_hand:
            safety = settings.safety_stock_by_node.get(node, settings.safety_stock)
            promise = on_hand[system] - reserved(events, holds, system, instant) - safety
            break
    costs = [e for e in events if isinstance(e, InventoryLevel) and e.unit_cost is not None and _at(e) <= instant]
    cost = max(costs, key=lambda event: (_at(event), event.event_id), default=None)
    at_risk = None if cost is None else round(delta * float(cost.unit_cost or 0), 6)
    return on_hand, delta, promise, at_risk
