"""Handoffs as timed scripts: at this arrival exactly this is found, and nothing else."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from dataflows.process_maps import load_process_map
from operators.case_state import HandoffState
from operators.findings import Output, PassChange
from operators.handoffs import HandoffTracker
from schemas.errors import StateError
from schemas.events import Arrived
from schemas.rows import Signal
from tests.scripts import CARRIER, Script, at, clock, found, process_map, rows

ORDER = """
[case.order_id]
begins_with = [{type = "order.created"}]
cancelled_by = [{type = "order.cancelled"}]
retention = "2h"
abandon_after = "6h"
"""
APPROVAL = """
[[handoff]]
name = "approval"
case = "order_id"
start = {type = "order.created"}
end = {type = "order.approved"}
deadline = "15m"
scope = "channel"
"""
ALLOCATION = """
[[handoff]]
name = "allocation"
case = "order_id"
start = {type = "order.approved"}
end = {type = "order.allocated"}
sequence_grace = "10m"
"""
PROMISE = """
[[handoff]]
name = "promise"
case = "order_id"
start = {type = "order.created"}
end = {type = "shipment.delivered"}
deadline_at = {field = "promised_at", plus = "1m"}
"""
LINES = """
[[handoff]]
name = "lines"
case = "order_id"
per = ["line_id"]
start = {type = "order.approved"}
end = {type = "order.allocated"}
deadline = "1h"
"""
PICK = """
[[handoff]]
name = "pick"
case = "order_id"
per = ["task_id"]
start = {type = "task.queued", where = {task_type = "pick"}}
end = {type = "task.completed", where = {task_type = "pick"}}
abandoned_by = [{type = "task.rejected"}]
deadline = "30m"
"""


class ChangesTold:
    """A tracker whose changes for windows, and what a clock may be at fault for, come with what it finds."""

    def __init__(self, tracker: HandoffTracker) -> None:
        self.tracker = tracker

    def __len__(self) -> int:
        return len(self.tracker)

    def update(self, events: Sequence[Arrived]) -> list[Output | PassChange]:
        return self._told(self.tracker.update(events))

    def advance(self, watermark: int) -> list[Output | PassChange]:
        return self._told(self.tracker.advance(watermark))

    def _told(self, outputs: Sequence[Output]) -> list[Output | PassChange]:
        changes, doubts = self.tracker.changes, self.tracker.changes.doubts
        changes.doubts = []
        return [*outputs, *(doubt.signal for doubt in doubts), *changes.run().changes()]


def script(*parts: str) -> Script:
    return Script(ChangesTold(HandoffTracker(process_map("".join((ORDER, *parts))))))


def created(play: Script, arrival: str, order: str = "o1", **fields: object) -> list[Any]:
    return list(play.send(arrival, "order.created", order_id=order, lines=[], **fields))


def allocated(play: Script, arrival: str, **fields: object) -> list[Any]:
    return list(play.send(arrival, "order.allocated", order_id="o1", node="n1", **fields))


def pick(play: Script, arrival: str, what: str, **fields: object) -> list[Any]:
    fields = {"task_id": "t1", "task_type": "pick", "node": "n1", "order_id": "o1"} | fields
    return list(play.send(arrival, f"task.{what}", **fields))


def signals(outputs: Sequence[Any]) -> list[Signal]:
    return [one for one in outputs if isinstance(one, Signal)]


# --- deadlines -------------------------------------------------------------------------------------------------


def test_a_deadline_fires_when_arrival_time_has_passed_it_and_not_before() -> None:
    play = script(APPROVAL)
    assert rows(created(play, "10:00")) == ["approval o1 open"]
    assert list(play.reach("10:15")) == []
    fired = play.reach("10:15:00.000001")
    assert found(fired) == ["overdue approval o1 since 10:15"]
    assert rows(fired) == ["approval o1 overdue"]
    assert clock(signals(fired)[0].found_at_us) == "10:15"
    assert list(play.reach("3d 10:00"))[-1].arrival_us > at("16:00")  # nothing more until the case is abandoned


def test_a_deadline_fires_before_any_event_that_arrived_later() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    outputs = play.send("10:15:00.000001", "order.approved", order_id="o1", occurred="10:14")
    assert found(outputs) == [
        "overdue approval o1 since 10:15",
        "overdue approval o1 since 10:15 until 10:15:00.000001",
    ]
    assert rows(outputs) == ["approval o1 overdue", "approval o1 done"]
    other = script(APPROVAL)
    created(other, "10:00")
    assert found(created(other, "10:16", "o2")) == ["overdue approval o1 since 10:15"]


@pytest.mark.parametrize(("ended", "status"), [("10:15", "done"), ("10:15:00.000001", "late")])
def test_an_end_exactly_at_the_deadline_is_in_time(ended: str, status: str) -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    outputs = play.send("10:15", "order.approved", order_id="o1", occurred=ended)
    assert rows(outputs) == [f"approval o1 {status}"]
    assert len(found(outputs)) == (status == "late")
    assert found(play.reach("23:00")) == []


def test_an_end_in_time_that_arrives_late_closes_the_finding_and_says_so() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    play.reach("10:20")
    outputs = play.send("10:30", "order.approved", order_id="o1", occurred="10:10")
    assert found(outputs) == ["overdue approval o1 since 10:15 until 10:30"]
    assert "in time" in signals(outputs)[0].explanation
    assert "reported" in signals(outputs)[0].observed


def test_a_late_end_closes_the_finding_when_it_happened() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    play.reach("10:20")
    outputs = play.send("10:40", "order.approved", order_id="o1", occurred="10:35")
    assert found(outputs) == ["overdue approval o1 since 10:15 until 10:35"]
    assert rows(outputs) == ["approval o1 late"]
    assert signals(outputs)[0].observed == "20 min late"


def test_an_earlier_start_that_arrives_late_moves_the_deadline_without_a_word_in_between() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    play.reach("10:20")
    outputs = created(play, "10:21", occurred="09:50")
    assert found(outputs) == ["overdue approval o1 since 10:05"]
    assert found(play.reach("12:00")) == []


def test_a_promise_moved_later_closes_and_fires_again_then() -> None:
    play = script(PROMISE)
    created(play, "10:00", promised_at="11:00")
    assert found(play.reach("11:01")) == []
    assert found(play.reach("11:01:00.000001")) == ["overdue promise o1 since 11:01"]
    moved = play.send("11:30", "order.promise_changed", order_id="o1", promised_at="12:00")
    assert found(moved) == ["overdue promise o1 since 11:01 until 11:30"]
    assert "now due" in signals(moved)[0].explanation
    assert rows(moved) == ["promise o1 open"]
    assert found(play.reach("12:01")) == []
    assert found(play.reach("12:30")) == ["overdue promise o1 since 12:01"]


def test_a_promise_moved_earlier_fires_then() -> None:
    play = script(PROMISE)
    created(play, "10:00", promised_at="15:00")
    moved = play.send("10:30", "order.promise_changed", order_id="o1", promised_at="11:00")
    assert (found(moved), rows(moved)) == ([], ["promise o1 open"])
    assert found(play.reach("11:02")) == ["overdue promise o1 since 11:01"]
    past = script(PROMISE)
    created(past, "10:00", promised_at="15:00")
    past.send("10:30", "order.promise_changed", order_id="o1", promised_at="09:00")
    assert found(past.reach("10:30")) == []
    assert found(past.reach("10:31")) == ["overdue promise o1 since 09:01"]


def test_the_promise_said_last_counts_in_whichever_order_it_arrives() -> None:
    play = script(PROMISE)
    created(play, "10:00", promised_at="11:00")
    play.send("10:30", "order.promise_changed", order_id="o1", promised_at="14:00", occurred="10:20")
    play.send("10:31", "order.promise_changed", order_id="o1", promised_at="12:00", occurred="10:10")
    assert found(play.reach("14:01")) == []
    assert found(play.reach("14:02")) == ["overdue promise o1 since 14:01"]


@pytest.mark.parametrize("first", [0, 1])
def test_two_sources_that_give_the_same_id_at_the_same_time_end_up_the_same_in_either_order(first: int) -> None:
    ids = {"occurred": "10:00", "order_id": "o1", "event_id": "7"}
    sources = [{"source": f"oms-{place}", "channel": f"c{place}"} for place in (1, 2)]
    starts, ends = script(PROMISE.replace("deadline_at", 'scope = "channel"\ndeadline_at')), script(APPROVAL)
    for arrival, place in (("10:01", first), ("10:02", 1 - first)):
        starts.send(arrival, "order.created", lines=[], promised_at=f"1{place + 1}:00", **ids, **sources[place])
        ends.send(arrival, "order.approved", **ids, **sources[place])
    overdue = signals(starts.reach("15:00"))
    assert [(one.scope, clock(one.opened_at_us)) for one in overdue] == [({"channel": "c1"}, "12:01")]
    (done,) = created(ends, "10:03", occurred="09:55")[:1]
    assert (done.status, done.scope) == ("done", "c1")


def test_each_shipment_has_its_own_expected_time() -> None:
    play = script(CARRIER, CARRIER.replace('"carrier"', '"whole"').replace('per = ["shipment_id"]', ""))
    sent = {"order_id": "o1"}
    play.send("10:00", "shipment.dispatched", shipment_id="s1", expected_at="12:00", **sent)
    play.send("10:05", "shipment.dispatched", shipment_id="s2", expected_at="14:00", **sent)
    play.send("10:10", "shipment.dispatched", shipment_id="s3", **sent)
    assert found(play.reach("12:01")) == ["overdue carrier o1 since 12:00"]
    at_last = found(play.reach("15:00"))
    assert at_last == ["overdue carrier o1 since 14:00", "overdue whole o1 since 14:00"]  # s3: never said


# --- cancelled and given up ------------------------------------------------------------------------------------


def test_a_cancelled_case_becomes_overdue_no_more() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    assert rows(play.send("10:10", "order.cancelled", order_id="o1")) == ["approval o1 cancelled"]
    assert found(play.reach("23:00")) == []


def test_what_was_overdue_when_the_case_was_cancelled_says_when_it_was_given_up() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    play.reach("10:20")
    outputs = play.send("10:40", "order.cancelled", order_id="o1", occurred="10:30")
    assert found(outputs) == ["overdue approval o1 since 10:15 until 10:30"]
    assert signals(outputs)[0].observed == "given up"
    in_time = script(APPROVAL)
    created(in_time, "10:00")
    in_time.reach("10:20")
    outputs = in_time.send("10:40", "order.cancelled", order_id="o1", occurred="10:10")
    assert found(outputs) == ["overdue approval o1 since 10:15 until 10:40"]


def test_a_cancelled_line_takes_only_its_own_passes() -> None:
    play = script(APPROVAL, LINES)
    created(play, "10:00")
    for line in ("l1", "l2"):
        play.send("10:01", "order.approved", order_id="o1", line_id=line)
    assert rows(play.send("10:05", "order.cancelled", order_id="o1", line_id="l1")) == ["lines o1 l1 cancelled"]
    assert rows(play.send("10:06", "order.approved", order_id="o1", line_id="l1", occurred="10:00")) == [
        "approval o1 done",  # an earlier end
        "lines o1 l1 cancelled",
    ]
    assert found(play.reach("12:00")) == ["overdue lines o1 since 11:01"]


def test_a_line_is_found_by_its_id_even_with_slashes_in_it() -> None:
    play = script(LINES.replace('["line_id"]', '["node", "line_id"]').replace("order.approved", "reservation.created"))
    line = {"order_id": "o1", "reservation_id": "r1", "sku": "k", "qty": 1, "node": "a/b%2F"}
    play.send("10:00", "reservation.created", line_id="x/l1", **line)
    play.send("10:00", "reservation.created", line_id="l1", **line)
    outputs = play.send("10:05", "order.cancelled", order_id="o1", line_id="l1")
    assert rows(outputs) == ["lines o1 a%2Fb%252F/l1 cancelled"]


def test_a_task_that_is_rejected_is_given_up() -> None:
    play = script(PICK)
    pick(play, "10:00", "queued")
    pick(play, "10:00", "queued", task_id="t2")
    assert rows(pick(play, "10:10", "rejected")) == ["pick o1 t1 cancelled"]
    assert found(play.reach("11:00")) == ["overdue pick o1 since 10:30"]
    assert rows(pick(play, "11:01", "completed", occurred="10:05")) == ["pick o1 t1 done"]


# --- sequence --------------------------------------------------------------------------------------------------


def test_a_missing_step_is_found_after_the_grace_and_closed_when_the_start_comes() -> None:
    play = script(ALLOCATION)
    created(play, "10:00")
    assert found(allocated(play, "10:05")) == []
    assert found(play.reach("10:15")) == []
    fired = play.reach("10:15:00.000001")
    assert found(fired) == ["missing_step allocation o1 since 10:05"]
    outputs = play.send("10:20", "order.approved", order_id="o1", occurred="10:02")
    assert found(outputs) == ["missing_step allocation o1 since 10:05 until 10:20"]
    assert rows(outputs) == ["allocation o1 done"]


def test_a_start_within_the_grace_is_not_missing() -> None:
    play = script(ALLOCATION)
    created(play, "10:00")
    allocated(play, "10:05")
    assert found(play.send("10:15", "order.approved", order_id="o1", occurred="10:02")) == []
    assert found(play.reach("23:00")) == []


def test_a_start_after_its_end_is_out_of_sequence_and_has_no_part_in_windows() -> None:
    play = script(ALLOCATION)
    created(play, "10:00")
    allocated(play, "10:05")
    outputs = play.send("10:08", "order.approved", order_id="o1", occurred="10:07")
    assert found(outputs) == ["out_of_sequence allocation o1 since 10:05"]
    assert rows(outputs) == ["allocation o1 out_of_sequence"]
    assert not [one for one in outputs if isinstance(one, PassChange)]
    turned = play.send("10:30", "order.approved", order_id="o1", occurred="10:01")
    assert found(turned) == ["out_of_sequence allocation o1 since 10:05 until 10:30"]
    assert [one.new.start_us for one in turned if isinstance(one, PassChange)] == [at("10:01")]


def test_an_earlier_end_moves_a_missing_step() -> None:
    play = script(ALLOCATION)
    created(play, "10:00")
    allocated(play, "10:05")
    play.reach("10:30")
    assert found(allocated(play, "10:31", occurred="10:03")) == ["missing_step allocation o1 since 10:03"]


def test_nothing_is_missing_from_a_case_whose_beginning_was_not_seen() -> None:
    play = script(ALLOCATION)
    outputs = allocated(play, "10:05")
    assert found(outputs) == []
    assert not [one for one in outputs if isinstance(one, PassChange)]
    assert found(play.reach("11:00")) == []
    assert found(created(play, "11:01", occurred="10:00")) == []  # the beginning comes to light: the grace begins
    assert found(play.reach("11:11")) == []
    assert found(play.reach("11:12")) == ["missing_step allocation o1 since 10:05"]


def test_a_required_step_must_be_over_before_this_one_ends() -> None:
    invoice = """
[[handoff]]
name = "invoice"
case = "order_id"
start = {type = "shipment.dispatched"}
end = {type = "posting.recorded", where = {posting_type = "invoice"}}
end_case = "reference"
start_optional = true
requires = ["approval"]
sequence_grace = "10m"
"""
    posting = {"posting_id": "p1", "posting_type": "invoice", "reference": "o1"}
    play = script(APPROVAL, invoice)
    created(play, "10:00")
    assert found(play.send("10:05", "posting.recorded", **posting)) == []
    assert found(play.reach("10:15:00.000001")) == [
        "overdue approval o1 since 10:15",
        "missing_step invoice o1 since 10:05",
    ]
    assert found(play.send("10:20", "order.approved", order_id="o1", occurred="10:10")) == [
        "overdue approval o1 since 10:15 until 10:20",
        "out_of_sequence invoice o1 since 10:05",
        "missing_step invoice o1 since 10:05 until 10:20",
    ]
    other = script(APPROVAL, invoice)
    created(other, "10:00")
    other.send("10:05", "posting.recorded", **(posting | {"posting_type": "payment"}))
    assert found(other.send("10:06", "order.approved", order_id="o1")) == []
    assert found(other.send("10:07", "posting.recorded", **posting)) == []


def test_a_required_step_that_is_the_start_is_judged_once() -> None:
    play = script(APPROVAL, ALLOCATION + 'requires = ["approval"]\n')
    created(play, "10:00")
    allocated(play, "10:01")
    assert found(play.send("10:02", "order.approved", order_id="o1")) == ["out_of_sequence allocation o1 since 10:01"]


def test_an_end_without_an_optional_start_is_nothing_at_all() -> None:
    play = script(ALLOCATION + "start_optional = true\n")
    created(play, "10:00")
    assert allocated(play, "10:05") == []
    assert found(play.reach("12:00")) == []
    assert rows(play.send("12:01", "order.approved", order_id="o1", occurred="10:01")) == ["allocation o1 done"]


# --- repeats and what must not be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repeat", "start", "end"), [("first", 0, 0), ("flag", 1, 1), ("flag_start", 1, 0), ("flag_end", 0, 1)]
)
def test_a_repeat_is_ignored_or_found(repeat: str, start: int, end: int) -> None:
    play = script(APPROVAL + f'repeat = "{repeat}"\n')
    created(play, "10:00")
    again = created(play, "10:01")
    assert found(again) == ["duplicate approval o1 since 10:01 until 10:01"] * start
    assert rows(again) == ["approval o1 #oms-1/e2 duplicate"] * start
    play.send("10:02", "order.approved", order_id="o1")
    twice = play.send("10:03", "order.approved", order_id="o1")
    assert found(twice) == ["duplicate approval o1 since 10:03 until 10:03"] * end
    assert found(play.reach("23:00")) == []


@pytest.mark.parametrize("first", ["order.allocated", "order.cancelled"])
def test_an_impossible_state_is_found_once_in_whichever_order_it_arrives(first: str) -> None:
    rule = """
[[forbidden]]
name = "allocated_after_cancel"
case = "order_id"
event = {type = "order.allocated"}
after = {type = "order.cancelled"}
scope = "node"
"""
    play = script(rule)
    events = {"order.cancelled": ("10:10", {}), "order.allocated": ("10:10:30", {"node": "n1"})}
    second = next(name for name in events if name != first)
    for arrival, name in (("10:10:40", first), ("10:11", second)):
        occurred, fields = events[name]
        outputs = play.send(arrival, name, order_id="o1", occurred=occurred, **fields)
    assert found(outputs) == ["impossible_state allocated_after_cancel o1 since 10:10:30"]
    assert signals(outputs)[0].scope == {"node": "n1"}
    assert found(allocated(play, "10:12")) == []
    before = script(rule)
    allocated(before, "10:00")
    assert found(before.send("10:01", "order.cancelled", order_id="o1", occurred="10:00")) == []


@pytest.mark.parametrize("own", [{}, {"order_id": "o1"}])
def test_an_invoice_after_a_cancellation_is_found_by_the_order_in_its_reference(own: dict[str, str]) -> None:
    play = Script(HandoffTracker(load_process_map("default")))
    created(play, "10:00")
    play.send("10:01", "order.cancelled", order_id="o1")
    posted = play.send("10:05", "posting.recorded", posting_id="p1", posting_type="invoice", reference="o1", **own)
    assert found(posted) == ["impossible_state invoiced_after_cancelled o1 since 10:05"]


def test_an_exception_is_a_finding_by_itself() -> None:
    play = script('[[exception]]\nname = "refused"\nevent = {type = "posting.failed"}\nscope = "interface"\n')
    outputs = play.send(
        "10:05",
        "posting.failed",
        occurred="10:01",
        posting_type="invoice",
        reference="o1",
        interface="sap",
        error_code="E7",
    )
    assert found(outputs) == ["refused o1 since 10:01 until 10:01"]
    assert signals(outputs)[0].scope == {"interface": "sap"}
    assert "E7" in signals(outputs)[0].explanation


# --- memory and state ------------------------------------------------------------------------------------------


def test_closed_cases_are_forgotten_after_retention() -> None:
    play = script(APPROVAL)
    assert isinstance(play.operator, ChangesTold)
    tracker = play.operator.tracker
    for number in range(500):
        created(play, "10:00", f"o{number}")
        play.send("10:00", "order.approved", order_id=f"o{number}", occurred="10:00")
    play.reach("12:00")
    assert len(tracker) == 500
    assert list(play.reach("12:00:00.000001")) == []
    assert len(tracker) == 0
    play.reach("12:16")
    assert tracker.sizes() == {"cases": 0, "open_passes": 0, "timers": 0}


def test_an_event_prolongs_what_is_remembered() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    play.send("11:00", "order.approved", order_id="o1", occurred="10:01")
    play.reach("12:59")
    assert len(play.operator) == 1  # type: ignore[arg-type] # a tracker
    play.reach("13:01")
    assert len(play.operator) == 0  # type: ignore[arg-type] # a tracker


def test_a_case_that_never_ends_is_abandoned_and_leaves_the_backlog() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    assert found(play.reach("16:00")) == ["overdue approval o1 since 10:15"]
    assert len(play.operator) == 1  # type: ignore[arg-type] # a tracker
    outputs = play.reach("17:00")  # six hours after its deadline
    assert (found(outputs), rows(outputs)) == ([], [])
    (change,) = [one for one in outputs if isinstance(one, PassChange)]
    assert change.new is not None
    assert (clock(change.new.end_us or 0), change.new.completed) == ("16:15", False)
    assert len(play.operator) == 0  # type: ignore[arg-type] # a tracker


def test_a_case_is_not_forgotten_while_a_missing_step_waits_for_its_grace() -> None:
    play = script(ALLOCATION.replace("10m", "5h"))
    created(play, "10:00")
    allocated(play, "10:05")
    assert found(play.reach("16:00")) == ["missing_step allocation o1 since 10:05"]
    assert len(play.operator) == 0  # type: ignore[arg-type] # a tracker


def test_state_of_another_version_is_refused_in_words() -> None:
    tracker = HandoffTracker(process_map(ORDER + APPROVAL))
    with pytest.raises(StateError, match="handoff state of version 99; this code reads"):
        tracker.restore(HandoffState(99, [], [], [], 0, {}))


def test_a_snapshot_goes_on_where_it_was_taken() -> None:
    play = script(APPROVAL, ALLOCATION, PROMISE)
    created(play, "10:00", promised_at="10:20")
    created(play, "10:01", "o2")
    allocated(play, "10:02")
    assert isinstance(play.operator, ChangesTold)
    tracker = play.operator.tracker
    kept = msgspec.msgpack.encode(tracker.snapshot())
    other = HandoffTracker(tracker.process)
    other.restore(msgspec.msgpack.decode(kept, type=HandoffState))
    assert sorted(map(msgspec.msgpack.encode, other.advance(at("12:00")))) == sorted(
        map(msgspec.msgpack.encode, tracker.advance(at("12:00")))
    )
    assert other.snapshot() == tracker.snapshot()
