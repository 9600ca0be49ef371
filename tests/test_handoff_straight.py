"""The straight way equals the rules in full, and nothing depends on batches, on what rests, or on resuming."""

import random
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.case_passes import parts_of
from operators.case_state import HandoffState
from operators.findings import Output, PassChange
from operators.handoff_windows import HandoffWindows, HandoffWindowsState
from operators.handoffs import HandoffTracker
from operators.process_map import CaseRule, ProcessMap
from operators.windows import WindowSettings
from schemas.durations import DAY_US, END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US, Duration
from schemas.events import Arrived, Event
from schemas.rows import HandoffWindow, LateEvent
from tests.harness import START_US, small_map
from tests.shop import CASE_TYPES, Said, said, seeded, shop_map

COMMON = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
#: What is done after each batch, over and over.
DOINGS = st.lists(st.sampled_from(["nothing", "rest", "rest twice", "advance", "resume"]), min_size=1, max_size=6)
Batch = list[Arrived]


def arrivals(events: list[Said], stretch: int = 1) -> Batch:
    """Events in the order of a log; `stretch` times further apart, so that cases end and are dropped in between."""
    in_order = sorted(events, key=lambda one: (one.arrival_us, one.number))
    return [
        Arrived(
            START_US + (one.arrival_us - START_US) * stretch,
            "log",
            0,
            place,
            one.occurred_us,
            msgspec.convert(one.body(), Event),
        )
        for place, one in enumerate(in_order)
    ]


def short_lived(process: ProcessMap) -> ProcessMap:
    """Cases that are soon over, so that a few minutes see them dropped and begun again."""
    soon = {"retention": Duration(2 * MINUTE_US), "abandon_after": Duration(5 * MINUTE_US)}
    order = msgspec.structs.replace(process.case_rule("order_id"), **soon)
    return msgspec.structs.replace(process, case={"order_id": order, "reservation_id": CaseRule(**soon)})


def in_full(process: ProcessMap) -> HandoffTracker:
    """A tracker that never takes the straight way."""
    tracker = HandoffTracker(process)
    replace = msgspec.structs.replace
    for record, steps in tracker._steps.items():
        by_value = {
            value: replace(one, cases=[replace(case, straight=None) for case in one.cases])
            for value, one in {**steps.by_value, None: steps.other}.items()
        }
        other = by_value.pop(None)
        tracker._steps[record] = replace(steps, by_value=by_value, other=other)
    return tracker


def resumed(tracker: HandoffTracker) -> HandoffTracker:
    kept = msgspec.msgpack.encode(tracker.snapshot())
    other = HandoffTracker(tracker.process)
    other.restore(msgspec.msgpack.decode(kept, type=HandoffState))
    assert other.sizes() | {"timers": 0} == tracker.sizes() | {"timers": 0}
    return other


def play(tracker: HandoffTracker, log: Batch, batch: int, doings: Sequence[str]) -> list[Output]:
    out: list[Output] = []
    for number, start in enumerate(range(0, len(log), batch)):
        part = log[start : start + batch]
        out += tracker.update(part)
        doing = doings[number % len(doings)]
        if doing.startswith("rest"):
            for _ in doing.split():
                tracker.rest()
        elif doing == "advance":
            out += tracker.advance(part[-1].arrival_us)
        elif doing == "resume":
            tracker = resumed(tracker)
    return out + tracker.advance(END_OF_TIME_US)


def encoded(outputs: Sequence[object]) -> list[bytes]:
    return sorted(type(one).__name__.encode() + msgspec.msgpack.encode(one) for one in outputs)


@COMMON
@given(
    events=said(*CASE_TYPES),
    is_short=st.booleans(),
    stretch=st.sampled_from([1, 20]),
    batch=st.integers(1, 20),
    doings=DOINGS,
)
def test_rows_do_not_depend_on_the_way_on_batches_on_rest_or_on_resuming(
    events: list[Said], is_short: bool, stretch: int, batch: int, doings: list[str]
) -> None:
    process = short_lived(shop_map()) if is_short else shop_map()
    log = arrivals(events, stretch)
    plain = encoded(play(in_full(process), log, 1, ["nothing"]))
    assert encoded(play(HandoffTracker(process), log, 1, ["nothing"])) == plain
    assert encoded(play(HandoffTracker(process), log, batch, doings)) == plain


def test_the_straight_way_is_taken_for_most_and_the_rules_for_the_rest() -> None:
    tracker = HandoffTracker(shop_map())
    taken = {True: 0, False: 0}

    def counting(go: Callable[..., bool]) -> Callable[..., bool]:
        def counted(*arguments: object) -> bool:
            done = go(*arguments)
            taken[done] += 1
            return done

        return counted

    for steps in tracker._steps.values():
        for one in (*steps.by_value.values(), steps.other):
            for case in one.cases:
                if case.straight is not None:
                    case.straight[:] = [(counting(go), step) for go, step in case.straight]
    tracker.update(arrivals(seeded(CASE_TYPES, 3, 200, 500)))
    assert taken[True] > 10
    assert taken[False] > 10


# --- state -----------------------------------------------------------------------------------------------------


def test_resting_cases_are_small_and_no_longer_objects() -> None:
    tracker = HandoffTracker(small_map())
    made = [Said(number, "order.created", number, number % 600, 0, 2, 1) for number in range(1_000)]
    tracker.update(arrivals(made))
    cases = tracker._kinds["order_id"].cases
    assert cases.awake == 1_000
    tracker.advance(START_US + HOUR_US)
    assert cases.awake == 1_000
    tracker.advance(START_US + HOUR_US + 16 * MINUTE_US)
    assert cases.awake == 0
    assert len(msgspec.msgpack.encode(tracker.snapshot())) < 200 * 1_000


def test_what_is_corrected_again_and_again_leaves_no_ids_behind() -> None:
    tracker = HandoffTracker(small_map())
    log = [Said(number, "order.created", 0, 1_000 - number, 2 * number, 2, number) for number in range(500)]
    tracker.update(arrivals(log))
    ((_, case),) = tracker.cases("order_id")
    assert len(case.ids) <= 64
    assert case.ids[case.passes[0].start_id] == "e499"


def test_a_changed_process_map_is_resumed_by_name() -> None:
    process = small_map()
    tracker = HandoffTracker(process)
    types = ("order.created", "order.approved", "order.allocated", "task.queued", "order.promise_changed")
    log = arrivals(seeded(types, 5, 200, 300))
    tracker.update(log)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(tracker.snapshot()), type=HandoffState)
    approval, allocation, *others = process.handoff
    allocation = msgspec.structs.replace(allocation, requires=[])
    changed = msgspec.structs.replace(process, handoff=[*reversed(others), allocation])
    other = HandoffTracker(changed)
    other.restore(kept)
    was = _passes(tracker)
    assert any(name == approval.name for _, name, _ in was)
    named = {name for _, name, _ in was} - {approval.name}
    now = _passes(other)
    assert {key: one for key, one in was.items() if key[1] in named} == now
    assert other.sizes()["open_passes"] == sum(record.is_open for record in _visible(other))
    assert other.sizes()["open_passes"] > 0


def _passes(tracker: HandoffTracker) -> dict[tuple[str, str, str], object]:
    """case, handoff (its requirements told apart), pass key → times, ids and scopes."""
    names = tracker._names.handoffs
    out: dict[tuple[str, str, str], object] = {}
    for case_id, case in tracker.cases("order_id"):
        for key, record in case.passes.items():
            entry, pass_key = parts_of(key)
            ids = (case.ids[record.start_id], case.ids[record.end_id], case.scopes[record.start_scope])
            times = (record.start_us, record.end_us, record.deadline_us, record.version)
            name = names[entry].split("|")[0] if entry < tracker._rules.visible else names[entry]
            out[(case_id, name, pass_key)] = (times, ids)
    return out


def _visible(tracker: HandoffTracker) -> list[object]:
    return [
        record
        for _, case in tracker.cases("order_id")
        for key, record in case.passes.items()
        if parts_of(key)[0] < tracker._rules.visible
    ]


# --- windows ---------------------------------------------------------------------------------------------------


def changes_of(log: Batch, process: ProcessMap) -> list[PassChange]:
    found = play(HandoffTracker(process), log, 5, ["advance"])
    return [one for one in found if isinstance(one, PassChange)]


def written(
    windows: HandoffWindows, changes: list[PassChange], times: Sequence[int], settings_: WindowSettings, *, resume: bool
) -> list[HandoffWindow | LateEvent]:
    out: list[HandoffWindow | LateEvent] = []
    windows.update(changes)
    for time in (*times, START_US + 3 * HOUR_US):
        out += windows.advance(time)
        if resume:
            kept = msgspec.msgpack.encode(windows.snapshot())
            windows = HandoffWindows(shop_map().handoff, settings_)
            windows.restore(msgspec.msgpack.decode(kept, type=HandoffWindowsState))
    return out + windows.advance(END_OF_TIME_US)


@COMMON
@given(
    events=said(*CASE_TYPES),
    shape=st.sampled_from([(60, 60), (30, 30), (30, 90)]),
    retention=st.sampled_from([5 * MINUTE_US, DAY_US]),
    steps=st.lists(st.integers(1, 600), max_size=12),
    resume=st.booleans(),
)
def test_windows_do_not_depend_on_the_way_on_batches_or_on_resuming(
    events: list[Said], shape: tuple[int, int], retention: int, steps: list[int], resume: bool
) -> None:
    chosen = WindowSettings(shape[1] * SECOND_US, shape[0] * SECOND_US, 5 * SECOND_US, retention)
    changes = changes_of(arrivals(events), shop_map())
    plain = HandoffWindows(shop_map().handoff, chosen)
    plain._is_tumbling = False
    times = [START_US + sum(steps[: number + 1]) * SECOND_US for number in range(len(steps))]
    one = written(plain, changes, [], chosen, resume=False)
    other = written(HandoffWindows(shop_map().handoff, chosen), changes, times, chosen, resume=resume)
    assert encoded(other) == encoded(one)


@pytest.mark.parametrize("seed", range(2))
def test_busy_windows_do_not_depend_on_the_way(seed: int) -> None:
    chosen = WindowSettings(MINUTE_US, MINUTE_US, 5 * SECOND_US, DAY_US)
    shuffled = random.Random(seed)
    log = [
        Said(number, shuffled.choice(CASE_TYPES), shuffled.randrange(300), shuffled.randrange(1_200), 0, value, value)
        for number, value in enumerate(shuffled.choices(range(10), k=4_000))
    ]
    changes = changes_of(arrivals(log), shop_map())
    plain = HandoffWindows(shop_map().handoff, chosen)
    plain._is_tumbling = False
    straight = HandoffWindows(shop_map().handoff, chosen)
    times = [START_US + number * 7 * SECOND_US for number in range(200)]
    rows = written(straight, changes, times, chosen, resume=False)
    assert encoded(rows) == encoded(written(plain, changes, [], chosen, resume=False))
    assert len(rows) > 200
