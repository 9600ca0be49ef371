"""What arrives too late for its windows changes none that is closed, is recorded once, and still counts elsewhere."""

from collections import Counter

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.process_map import ProcessMap
from operators.windows import WindowSettings
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US, rfc3339
from schemas.events import Event, InventoryLevel
from schemas.rows import HandoffWindow, LateEvent, StockWindow
from tests import oracles
from tests.harness import START_US, PurePipeline
from tests.shop import CASE_TYPES, STOCK_TYPES, Said, log_of, said, shop_map, shop_settings
from tests.test_oracles import decoded, passes_said, windows_said

COMMON = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
CLOSE_US = START_US + 2 * HOUR_US
RETENTION_US = 5 * MINUTE_US
SHAPES = st.sampled_from([(60, 60), (30, 90)])

Counted = Counter[tuple[str, str, str, int, int]]


def missed(windows: WindowSettings, instant: int, arrival: int) -> int | None:
    """The start of the last window that holds `instant` and can no longer be corrected at `arrival`."""
    first = (instant // windows.slide_us + 1) * windows.slide_us
    closed = [
        end
        for end in range(first, first + windows.size_us, windows.slide_us)
        if arrival > end + max(windows.retention_us, windows.grace_us)
    ]
    return closed[-1] - windows.size_us if closed else None


def missed_by_reservation(windows: WindowSettings, events: list[Said], reservation: Said) -> int | None:
    """The start of the last window with stock of its item in which it would have counted, had it come in time."""
    ends = {
        first + step
        for one in events
        if one.type.startswith("inventory") and item_of(one) == item_of(reservation)
        if (one.arrival_us, one.number) < (reservation.arrival_us, reservation.number)
        for first in [(one.occurred_us // windows.slide_us + 1) * windows.slide_us]
        for step in range(0, windows.size_us, windows.slide_us)
    }
    kept_us = max(windows.retention_us, windows.grace_us)
    closed = [end for end in ends if reservation.occurred_us < end < reservation.arrival_us - kept_us]
    return max(closed) - windows.size_us if closed else None


def item_of(one: Said) -> tuple[object, object]:
    body = one.body()
    return body["sku"], body["node"]


def counted(events: list[Event], process: ProcessMap) -> dict[oracles.PassKey, Counted]:
    """What each pass counts for: (handoff, scope, what, when, latency)."""
    out = {}
    for key, one in oracles.handoff_passes(events, process, CLOSE_US).items():
        if one.start is None or one.status == "out_of_sequence":
            continue
        mine = Counter([(key[0], one.scope, "started", one.start, 0)])
        if one.deadline is not None and (one.over is None or one.over > one.deadline):
            mine[(key[0], one.scope, "overdue", one.deadline, 0)] += 1
        if one.end is not None:
            mine[(key[0], one.scope, "completed", one.end, one.end - one.start)] += 1
        out[key] = mine
    return out


def missed_backlog(
    windows: WindowSettings, was: oracles.OnePass | None, now: oracles.OnePass | None, arrival: int
) -> tuple[int, str] | None:
    """The first window that can no longer be corrected, and at whose end a pass is open no more, or is after all."""
    if was is None or now is None or was.start is None or was.start != now.start or was.scope != now.scope:
        return None
    if "out_of_sequence" in (was.status, now.status) or was.over == now.over:
        return None
    over = [CLOSE_US if one.over is None else one.over for one in (was, now)]
    first = (min(over) // windows.slide_us + 1) * windows.slide_us
    kept_us = max(windows.retention_us, windows.grace_us)
    closed = [end for end in range(first, max(over) + 1, windows.slide_us) if arrival > end + kept_us]
    if not closed:
        return None
    until = f", as in all that end until {rfc3339(closed[-1])}" if len(closed) > 1 else ""
    return closed[0] - windows.size_us, f"backlog {'-1' if over[1] < over[0] else '+1'}{until}"


def late_by_oracle(events: list[Said], process: ProcessMap, windows: WindowSettings) -> dict[tuple[str, str], str]:
    """event id, stage → effect: what each event changed of what was known before it, where the windows were closed."""
    out: dict[tuple[str, str], str] = {}
    known: list[Event] = []
    before: dict[oracles.PassKey, Counted] = {}
    passes: dict[oracles.PassKey, oracles.OnePass] = {}
    for one in sorted(events, key=lambda one: (one.arrival_us, one.number)):
        known += decoded([one])
        after, came = counted(known, process), oracles.handoff_passes(known, process, CLOSE_US)
        changes: dict[str, list[tuple[int, str]]] = {}
        for key in {*before, *after}:
            was, now = before.get(key, Counter()), after.get(key, Counter())
            is_said = False
            for sign, entries in (("-1", was - now), ("+1", now - was)):
                for handoff, scope, what, instant, _ in entries:
                    start = missed(windows, instant, one.arrival_us)
                    if start is not None:
                        stage = f"handoff_windows/{handoff}/{scope}"
                        changes.setdefault(stage, []).append((start, f"{what} {sign}"))
                        is_said = True
            backlog = missed_backlog(windows, passes.get(key), came.get(key), one.arrival_us)
            if backlog is not None and not is_said:
                changes.setdefault(f"handoff_windows/{key[0]}/{came[key].scope}", []).append(backlog)
        for stage, misses in changes.items():
            words = "; ".join(f"window from {rfc3339(start)}: {what}" for start, what in sorted(misses))
            out[(f"e{one.number}", stage)] = words
        before, passes = after, came
    return out


@COMMON
@given(events=said(*CASE_TYPES, max_size=40), shape=SHAPES, groups=st.integers(1, 3))
def test_late_events_change_no_closed_window_and_are_recorded_once(
    events: list[Said], shape: tuple[int, int], groups: int
) -> None:
    chosen = shop_settings(
        slide_s=shape[0],
        size_s=shape[1],
        retention_us=RETENTION_US,
        close_at_us=CLOSE_US,
        groups=groups,
        scored=False,
    )
    windows = chosen.handoff_windows
    rows = PurePipeline(log_of(events), chosen, 9).run()
    for row in rows:
        if isinstance(row, HandoffWindow):
            assert row.arrival_us <= row.window_end_us + RETENTION_US + windows.slide_us + windows.grace_us
    late = [row for row in rows if isinstance(row, LateEvent)]
    places = Counter((row.topic, row.partition, row.offset, row.stage) for row in late)
    assert set(places.values()) <= {1}
    assert {(row.event_id, row.stage): row.effect for row in late} == late_by_oracle(events, shop_map(), windows)
    for row in late:
        assert row.effect.startswith(f"window from {rfc3339(row.window_start_us)}: ")
    passes = oracles.handoff_passes(decoded(events), chosen.process, CLOSE_US)
    # Windows that could be corrected until all had arrived know all of it.
    since = max((one.arrival_us for one in events), default=START_US) - RETENTION_US
    expected = oracles.handoff_windows(passes, chosen.process, windows, CLOSE_US)
    assert {key: row for key, row in windows_said(rows).items() if key[2] >= since} == {
        key: row for key, row in expected.items() if key[2] >= since
    }
    assert passes_said(rows) == {
        key: (one.start, one.end, one.deadline, one.scope, one.status) for key, one in passes.items()
    }


@COMMON
@given(events=said(*STOCK_TYPES), shape=SHAPES, batch=st.integers(1, 20))
def test_late_stock_is_recorded_once_and_still_counts(events: list[Said], shape: tuple[int, int], batch: int) -> None:
    chosen = shop_settings(
        slide_s=shape[0],
        size_s=shape[1],
        retention_us=RETENTION_US,
        close_at_us=CLOSE_US,
        groups=2,
        scored=False,
    )
    windows = chosen.stock_windows
    rows = PurePipeline(log_of(events), chosen, batch).run()
    recorded = [row for row in rows if isinstance(row, LateEvent) and row.stage == "stock_windows"]
    late = {row.event_id: row.window_start_us for row in recorded}
    expected = {
        f"e{one.number}": missed(windows, one.occurred_us, one.arrival_us)
        if one.type.startswith("inventory")
        else missed_by_reservation(windows, events, one)
        for one in events
    }
    assert late == {event_id: start for event_id, start in expected.items() if start is not None}
    assert len(recorded) == len(late)
    final: dict[tuple[str, str, int], StockWindow] = {}
    for row in rows:
        if isinstance(row, StockWindow):
            assert row.arrival_us <= row.window_end_us + RETENTION_US + windows.slide_us + windows.grace_us
            final[(row.sku, row.node, row.window_end_us)] = row
    # Windows that could be corrected until all had arrived know what the latest event said; but what is older than
    # retention is folded: a level can come too late to be placed, and the end of a reservation may be forgotten.
    last = max((one.arrival_us for one in events), default=START_US)
    facts = decoded(events)
    oracle = oracles.stock_windows(facts, chosen.stock, windows, CLOSE_US)
    folded = {
        (event.sku, event.node)
        for one, event in zip(events, facts, strict=True)
        if isinstance(event, InventoryLevel) and one.delay_s * SECOND_US > RETENTION_US
    }
    reserved = {(event.sku, event.node) for event in facts if hasattr(event, "reservation_id")}
    for key, row in final.items():
        if key[2] >= last - RETENTION_US and key[:2] not in folded:
            on_hand, delta, promise, at_risk = oracle[key]
            assert (row.on_hand, row.delta, row.value_at_risk) == (on_hand, delta, at_risk)
            assert key[:2] in reserved or row.available_to_promise == promise


def test_what_is_three_weeks_late_says_what_it_would_have_changed() -> None:
    one = msgspec.structs.replace(
        Said(1, "inventory.level", 0, 0, 0, 3, 1), occurred_s=-20 * 86_400, delay_s=20 * 86_400
    )
    chosen = shop_settings(retention_us=RETENTION_US, close_at_us=CLOSE_US)
    rows = PurePipeline(log_of([Said(0, "inventory.level", 0, 0, 0, 3, 1), one]), chosen, 10).run()
    (late,) = [row for row in rows if isinstance(row, LateEvent)]
    assert late.event_id == "e1"
    assert late.effect.endswith("on_hand 3.25 of ecom")


def test_one_event_that_moves_several_passes_of_a_series_is_recorded_once() -> None:
    chosen = shop_settings(retention_us=RETENTION_US, close_at_us=CLOSE_US)
    tasks = [Said(number, "task.queued", 0, 0, 0, number, 0) for number in range(2)]  # t/0/0 and t/0/1
    cancel = Said(2, "order.cancelled", 0, 60, 1_500, 0, 0)  # both had been overdue since 4 min
    rows = PurePipeline(log_of([*tasks, cancel]), chosen, 10).run()
    (late,) = [row for row in rows if isinstance(row, LateEvent)]
    overdue = f"window from {rfc3339(START_US + 4 * MINUTE_US)}: overdue -1"
    assert (late.event_id, late.stage, late.effect) == ("e2", "handoff_windows/pick/n/0", f"{overdue}; {overdue}")


def test_a_late_cancellation_that_changes_only_backlog_is_recorded() -> None:
    """The window in which the pass was overdue can still be corrected; those in which it waited can not."""
    chosen = shop_settings(retention_us=RETENTION_US, close_at_us=CLOSE_US)
    task = Said(0, "task.queued", 0, 0, 0, 0, 0)  # overdue from 4 min on
    cancel = Said(
        1, "order.cancelled", 0, 60, 400, 0, 0
    )  # after 1 min, said at 7 min 40 s: windows until 2 min are closed
    rows = PurePipeline(log_of([task, cancel]), chosen, 10).run()
    (late,) = [row for row in rows if isinstance(row, LateEvent)]
    first = START_US + MINUTE_US
    assert (late.event_id, late.stage, late.window_start_us) == ("e1", "handoff_windows/pick/n/0", first)
    assert late.effect == f"window from {rfc3339(first)}: backlog -1"


def test_what_is_late_for_one_of_its_windows_still_counts_in_the_others() -> None:
    chosen = shop_settings(slide_s=30, size_s=90, retention_us=RETENTION_US, close_at_us=CLOSE_US)
    task = Said(0, "task.queued", 0, 10, 331, 0, 0)  # its windows end at 30, 60 and 90 s, and are kept for 5 min
    rows = PurePipeline(log_of([task]), chosen, 10).run()
    (late,) = [row for row in rows if isinstance(row, LateEvent)]
    assert late.window_start_us == START_US - 60 * SECOND_US  # the one that ends at 30 s
    assert late.effect == f"window from {rfc3339(late.window_start_us)}: started +1"
    begun = {row.window_end_us - START_US for row in rows if isinstance(row, HandoffWindow) and row.started}
    assert begun == {60 * SECOND_US, 90 * SECOND_US}
