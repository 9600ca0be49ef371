"""The straight way equals the rules in full, and nothing depends on batches, on what rests, or on resuming."""

import random
from collections.abc import Callable, Sequence
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.case_passes import parts_of
from operators.case_record import ENDED, unpacked
from operators.case_state import Case, HandoffState, LoneCase
from operators.findings import Doubt, Output, PassChange
from operators.handoff_changes import PassChanges
from operators.handoffs import HandoffTracker
from operators.process_lint import read_process_map
from operators.process_map import CaseRule, ProcessMap
from schemas.durations import DAY_US, END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US, Duration
from tests.handoff_logs import COMMON, AsRecords, Batch, arrivals, encoded
from tests.harness import START_US, small_map
from tests.shop import CASE_TYPES, Said, said, seeded, shop_map

#: What is done after each batch, over and over.
DOINGS = st.lists(st.sampled_from(["nothing", "rest", "rest twice", "advance", "resume"]), min_size=1, max_size=6)


def short_lived(process: ProcessMap) -> ProcessMap:
    """Cases that are soon over, so that a few minutes see them dropped and begun again."""
    soon = {"retention": Duration(2 * MINUTE_US), "abandon_after": Duration(5 * MINUTE_US)}
    order = msgspec.structs.replace(process.case_rule("order_id"), **soon)
    return msgspec.structs.replace(process, case={"order_id": order, "reservation_id": CaseRule(**soon)})


@cache
def lone_map(retention_us: int, *, begins: bool, repeat: str, deadline: str) -> ProcessMap:
    """A kind of case with one handoff, so that most cases are nothing but one pass."""
    declared = read_process_map(
        f"""
name = "lone"
[case.order_id]
begins_with = [{'{type = "task.queued"}' if begins else ""}]
retention = "{retention_us // SECOND_US}s"
abandon_after = "5m"
[[handoff]]
name = "pick"
case = "order_id"
start = {{type = "task.queued"}}
end = {{type = "task.completed"}}
scope = "node"
repeat = "{repeat}"
{deadline}
""",
        "lone.toml",
    )
    assert declared.value is not None, declared.problems
    return declared.value


def in_full(process: ProcessMap) -> HandoffTracker:
    """A tracker that never takes the straight way, and whose changes are all told with their cause."""
    tracker = HandoffTracker(process, changes=AsRecords(correctable_us=-END_OF_TIME_US))
    replace = msgspec.structs.replace
    for record, steps in tracker._steps.items():
        by_value = {
            value: replace(one, cases=[replace(case, straight=None, lone=None) for case in one.cases])
            for value, one in {**steps.by_value, None: steps.other}.items()
        }
        other = by_value.pop(None)
        tracker._steps[record] = replace(steps, by_value=by_value, other=other)
    return tracker


def resumed(tracker: HandoffTracker) -> HandoffTracker:
    kept = msgspec.msgpack.encode(tracker.snapshot())
    other = HandoffTracker(tracker.process, changes=tracker.changes)
    other.restore(msgspec.msgpack.decode(kept, type=HandoffState))
    assert other.sizes() | {"timers": 0} == tracker.sizes() | {"timers": 0}
    return other


def play(tracker: HandoffTracker, log: Batch, batch: int, doings: Sequence[str]) -> list[Output | Doubt | PassChange]:
    """What is found or in doubt, and the changes for windows, without their causes."""
    out: list[Output | Doubt | PassChange] = []
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
    out += tracker.advance(END_OF_TIME_US)
    out += tracker.changes.doubts
    return [*out, *(msgspec.structs.replace(one, cause=None) for one in tracker.changes.run().changes())]


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


#: Events of which most begin or end the one pass of a case.
PICKS = said("task.queued", "task.completed", "task.queued", "task.completed", "task.started", "order.cancelled")


@COMMON
@given(
    events=PICKS,
    retention=st.sampled_from([30 * SECOND_US, 10 * MINUTE_US, DAY_US]),
    begins=st.booleans(),
    repeat=st.sampled_from(["first", "flag", "flag_start", "flag_end"]),
    deadline=st.sampled_from(["", 'deadline = "20s"', 'deadline = "10m"', 'deadline = "2d"']),
    correctable=st.sampled_from([0, MINUTE_US, DAY_US]),
    stretch=st.sampled_from([1, 20]),
    batch=st.integers(1, 20),
    doings=DOINGS,
)
def test_a_case_of_one_pass_is_found_the_same_of_whatever_it_is_kept_as(
    events: list[Said],
    retention: int,
    begins: bool,
    repeat: str,
    deadline: str,
    correctable: int,
    stretch: int,
    batch: int,
    doings: list[str],
) -> None:
    process = lone_map(retention, begins=begins, repeat=repeat, deadline=deadline)
    log = arrivals(events, stretch)
    plain = encoded(play(in_full(process), log, 1, ["nothing"]))
    tracker = HandoffTracker(process, changes=PassChanges(correctable_us=correctable))
    assert encoded(play(tracker, log, batch, doings)) == plain


@pytest.mark.parametrize("seed", range(20))
def test_dense_logs_of_cases_of_one_pass_are_found_the_same(seed: int) -> None:
    draw = random.Random(seed)
    deadline = draw.choice(["", 'deadline = "20s"', 'deadline = "5m"'])
    process = lone_map(10 * MINUTE_US, begins=bool(seed % 2), repeat="first", deadline=deadline)
    log: list[Said] = []
    for case in range(150):
        moment = draw.randrange(1_500)
        for type_ in draw.choice([("task.queued", "task.completed"), ("task.queued", "task.completed", "task.queued")]):
            delay = draw.choice((0, 0, draw.randrange(40), draw.randrange(900)))
            log.append(Said(len(log), type_, case, moment, delay, draw.randrange(2), 1))
            moment += draw.randrange(draw.choice((30, 400)))
    plain = encoded(play(in_full(process), arrivals(log), 1, ["nothing"]))
    for batch, doing in ((1, "nothing"), (40, "rest"), (200, "resume")):
        assert encoded(play(HandoffTracker(process), arrivals(log), batch, [doing])) == plain


def test_a_case_of_one_pass_is_small_until_there_is_more_to_say_of_it() -> None:
    process = lone_map(DAY_US, begins=False, repeat="first", deadline='deadline = "10m"')
    tracker = HandoffTracker(process)
    log = [Said(number, "task.queued", number, number, 0, 2, 1) for number in range(200)]
    log += [Said(200 + number, "task.completed", number, 300 + 4 * number, 0, 2, 1) for number in range(200)]
    tracker.update(arrivals(log))
    cases = tracker._kinds["order_id"].cases
    records = [cases.at_rest(case_id) for case_id, _ in tracker.cases("order_id")]
    alone = [record for record in records if record and record[0] == ENDED]
    assert len(alone) > 50, "ended within ten minutes"
    assert max(map(len, alone)) < 100
    assert cases.awake > 50, "overdue"
    assert cases.awake + len(alone) == 200
    changed = msgspec.structs.replace(process, handoff=[*small_map().handoff, *process.handoff])
    other = HandoffTracker(changed)
    other.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(tracker.snapshot()), type=HandoffState))
    assert len(other) == len(tracker)
    assert other.sizes()["open_passes"] == tracker.sizes()["open_passes"]


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


def as_of_version_6(state: HandoffState) -> HandoffState:
    """The same as it was kept before: a case of one pass as a `LoneCase`."""
    encode = msgspec.msgpack.encode
    cases = {
        kind: {case_id: encode(_lone_of(unpacked(record))) for case_id, record in kept.items()}
        for kind, kept in state.cases.items()
    }
    return msgspec.structs.replace(state, version=6, cases=cases)


def _lone_of(case: Case) -> Case | LoneCase:
    ((entry, record),) = case.passes.items()
    if record.extras is not None or not isinstance(entry, int) or record.start_us is None:
        return case
    return LoneCase(
        case.due_us,
        case.expiry_us,
        case.last_arrival_us,
        entry,
        record.start_us,
        record.end_us,
        case.ids[record.start_id],
        case.ids[record.end_id],
        case.scopes[record.start_scope],
        case.scopes[record.end_scope],
        record.deadline_us,
        record.version,
        case.began,
    )


@COMMON
@given(events=PICKS, begins=st.booleans(), at=st.integers(0, 40))
def test_state_of_version_6_is_gone_on_with(events: list[Said], begins: bool, at: int) -> None:
    process = lone_map(10 * MINUTE_US, begins=begins, repeat="first", deadline='deadline = "10m"')
    log = arrivals(events)
    plain = encoded(play(in_full(process), log, 1, ["nothing"]))
    tracker = HandoffTracker(process)
    before = tracker.update(log[:at])
    kept = msgspec.msgpack.encode(as_of_version_6(tracker.snapshot()))
    other = HandoffTracker(process, changes=tracker.changes)
    other.restore(msgspec.msgpack.decode(kept, type=HandoffState))
    assert encoded([*before, *play(other, log[at:], 7, ["nothing"])]) == plain


def test_resting_cases_are_small_and_no_longer_objects() -> None:
    tracker = HandoffTracker(small_map())
    made = [Said(number, "order.created", number, number % 600, 0, 2, 1) for number in range(5_000)]
    tracker.update(arrivals(made))
    cases = tracker._kinds["order_id"].cases
    assert cases.awake == 5_000
    tracker.advance(START_US + HOUR_US)
    assert cases.awake == 5_000
    tracker.advance(START_US + HOUR_US + 16 * MINUTE_US)
    assert cases.awake == 0
    assert len(msgspec.msgpack.encode(tracker.snapshot())) < 200 * 5_000


def test_few_cases_are_not_packed() -> None:
    tracker = HandoffTracker(small_map())
    tracker.update(arrivals([Said(number, "order.created", number, number, 0, 2, 1) for number in range(100)]))
    for hours in range(1, 4):
        tracker.advance(START_US + hours * HOUR_US)
    assert tracker._kinds["order_id"].cases.awake == 100


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
