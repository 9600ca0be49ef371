"""What was found of a case and turns out otherwise is said anew; what an event is about is what it names."""

import pytest

from dataflows.process_maps import load_process_map
from operators.detectors.case_findings import CaseFindings
from operators.detectors.events import Collected
from operators.detectors.order_book import OrderBook
from operators.handoffs import HandoffTracker
from operators.promise_path import promise_path
from schemas.durations import DAY_US
from tests.scripts import CARRIER, Script, at, clock, found, rows
from tests.test_handoffs import APPROVAL, PROMISE, created, script, signals

#: Lines that are allocated, then reserved; a line has its own.
LINES = """
[[handoff]]
name = "allocated"
case = "order_id"
per = ["line_id"]
start = {type = "order.approved"}
start_optional = true
end = {type = "order.allocated"}

[[handoff]]
name = "reserved"
case = "order_id"
per = ["line_id"]
start = {type = "order.approved"}
start_optional = true
end = {type = "reservation.created"}
requires = ["allocated"]
sequence_grace = "10m"
"""


def approved(play: Script, arrival: str, occurred: str) -> list[str]:
    """What is said of order o1 when it is approved, and in which words."""
    outputs = play.send(arrival, "order.approved", order_id="o1", occurred=occurred)
    return [*found(outputs), *rows(outputs), *(one.observed for one in signals(outputs))]


def test_an_end_that_was_late_and_turns_out_to_have_been_in_time_takes_the_finding_back() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    approved(play, "10:31", "10:30")
    assert approved(play, "10:40", "10:10") == [
        "overdue approval o1 since 10:15 until 10:40",
        "approval o1 done",
        "reported 25 min late",
    ]
    assert approved(play, "10:50", "10:05") == ["approval o1 done"]  # taken back once


def test_what_was_given_up_late_and_ended_in_time_takes_the_finding_back() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    play.send("10:40", "order.cancelled", order_id="o1", occurred="10:30")
    assert approved(play, "10:45", "10:10")[:2] == ["overdue approval o1 since 10:15 until 10:45", "approval o1 done"]
    other = script(APPROVAL)
    created(other, "10:00")
    other.send("10:40", "order.cancelled", order_id="o1", occurred="10:30")
    assert found(other.send("10:45", "order.cancelled", order_id="o1", occurred="10:05")) == [
        "overdue approval o1 since 10:15 until 10:45"
    ]


def test_a_promise_that_was_moved_before_its_late_end_takes_the_finding_back() -> None:
    play = script(PROMISE)
    created(play, "10:00", promised_at="11:00")
    play.send("11:31", "shipment.delivered", order_id="o1", shipment_id="s1", occurred="11:30")
    moved = play.send("11:40", "order.promise_changed", order_id="o1", promised_at="12:00", occurred="10:30")
    assert found(moved) == ["overdue promise o1 since 11:01 until 11:40"]
    assert rows(moved) == ["promise o1 done"]
    assert signals(moved)[0].observed == "given more time"


def test_an_end_that_brings_more_time_with_it_is_not_reported_late_by_less_than_nothing() -> None:
    play = script(CARRIER)
    sent = {"order_id": "o1", "shipment_id": "s1"}
    play.send("10:00", "shipment.dispatched", expected_at="11:00", **sent)
    ended = play.send("11:31", "shipment.delivered", expected_at="12:00", **sent)
    (said,) = [one for one in signals(ended) if one.closed_at_us is not None]
    assert (clock(said.opened_at_us), said.observed) == ("11:00", "given more time")
    assert "-" not in said.explanation.replace("2026-03-02", "")


def test_a_finding_is_about_the_scope_that_its_pass_turns_out_to_have() -> None:
    play = script(PROMISE + 'scope = "channel"\n')
    created(play, "10:00", promised_at="11:00", channel="app")
    assert [one.scope for one in signals(play.reach("11:05"))] == [{"channel": "app"}]
    moved = created(play, "11:06", occurred="09:59", channel="web", promised_at="11:00")
    assert [(clock(one.opened_at_us), one.closed_at_us, one.scope) for one in signals(moved)] == [
        ("11:01", None, {"channel": "web"})
    ]


def test_a_line_requires_what_its_own_line_requires() -> None:
    play = script(LINES)
    created(play, "10:00")
    reserved = {"order_id": "o1", "reservation_id": "r1", "sku": "k", "node": "n1", "qty": 1}
    play.send("10:01", "order.allocated", order_id="o1", node="n1", line_id="1")
    assert found(play.send("10:02", "reservation.created", line_id="1", **reserved)) == []
    play.send("10:03", "reservation.created", line_id="2", **reserved)
    behind = play.send("10:04", "order.allocated", order_id="o1", node="n1", line_id="2")
    assert found(behind) == ["out_of_sequence reserved o1 since 10:03"]
    assert "(2)" in signals(behind)[0].explanation
    play.send("10:05", "reservation.created", line_id="3", **reserved)
    assert found(play.reach("11:00")) == ["missing_step reserved o1 since 10:05"]


def test_what_only_one_of_the_two_tells_apart_is_required_of_the_case() -> None:
    play = script(LINES.replace('per = ["line_id"]', "", 1))
    created(play, "10:00")
    play.send("10:01", "order.allocated", order_id="o1", node="n1", line_id="1")
    reserved = {"order_id": "o1", "reservation_id": "r1", "sku": "k", "node": "n1", "qty": 1}
    play.send("10:03", "reservation.created", line_id="2", **reserved)
    assert found(play.reach("11:00")) == []


@pytest.mark.parametrize(
    ("own", "case_id", "words"),
    [({}, "", "Task t9 at node n1: "), ({"order_id": "o1"}, "o1", "Order o1 at node n1: ")],
)
def test_an_event_that_names_no_order_is_no_finding_about_one(own: dict[str, str], case_id: str, words: str) -> None:
    """A putaway that is rejected is counted at its node; no order is touched by it."""
    process = load_process_map("default")
    outputs = Script(HandoffTracker(process)).send(
        "10:00", "task.rejected", task_id="t9", task_type="putaway", node="n1", **own
    )
    (signal,) = signals(outputs)
    assert (signal.case_id, signal.evidence, signal.explanation.startswith(words)) == (case_id, ["e1"], True)
    collected = Collected()
    CaseFindings(OrderBook(DAY_US, promise_path(process)), process).found(signal, collected)
    (tally,) = collected.tallies
    assert (tally.metric, tally.scope, tally.bad) == ("task_rejected", (("node", "n1"),), 1.0)
    assert (tally.impact.order_id if tally.impact else "") == case_id


def test_an_exception_without_a_case_is_about_the_most_telling_id_that_the_event_has() -> None:
    rule = '[[exception]]\nname = "refused"\nevent = {type = "task.rejected"}\n'
    of_tasks = """
[[handoff]]
name = "work"
case = "task_id"
start = {type = "task.queued"}
end = {type = "task.rejected"}
"""
    task = {"task_id": "t9", "task_type": "pick", "node": "n1"}
    for own, case_id in (({"order_id": "o1"}, "o1"), ({}, "t9")):
        outputs = script(rule, of_tasks).send("10:00", "task.rejected", **task, **own)
        assert [one.case_id for one in signals(outputs)] == [case_id]
    lone = script('[[exception]]\nname = "priced"\nevent = {type = "price.changed"}\n')
    (signal,) = signals(lone.send("10:00", "price.changed", sku="k", price="1", currency="EUR"))
    assert (signal.case_id, signal.explanation, signal.found_at_us) == ("e1", "Event e1: priced.", at("10:00"))


@pytest.mark.parametrize("arrivals", [("10:01", "10:02"), ("10:02", "10:01")])
def test_a_required_step_that_is_the_start_of_each_pass_is_judged_once(arrivals: tuple[str, str]) -> None:
    """A carrier's delivery requires the dispatch that it begins with, parcel by parcel."""
    dispatch = """
[[handoff]]
name = "dispatch"
case = "order_id"
start = {type = "order.created"}
end = {type = "shipment.dispatched"}
"""
    play = script(dispatch, CARRIER + 'requires = ["dispatch"]\n')
    created(play, "10:00")
    parcel = {"order_id": "o1", "shipment_id": "s1"}
    times = dict(zip(("shipment.dispatched", "shipment.delivered"), arrivals, strict=True))
    said = [
        one for name in sorted(times, key=times.__getitem__) for one in found(play.send(times[name], name, **parcel))
    ]
    assert said == (["out_of_sequence carrier o1 since 10:01"] if arrivals[0] > arrivals[1] else [])
    play.send("10:05", "shipment.delivered", order_id="o1", shipment_id="s2")
    assert found(play.reach("12:00")) == ["missing_step carrier o1 since 10:05"]


def test_handoffs_that_end_alike_are_required_once() -> None:
    """Two ways to the same allocation, both required: that it lacks is one finding, counted once."""
    both = LINES + LINES.replace('"allocated"', '"again"').partition('\n[[handoff]]\nname = "reserved"')[0]
    play = script(both.replace('requires = ["allocated"]', 'requires = ["allocated", "again", "again"]'))
    created(play, "10:00")
    reserved = {"order_id": "o1", "reservation_id": "r1", "sku": "k", "node": "n1", "qty": 1}
    play.send("10:03", "reservation.created", line_id="2", **reserved)
    assert found(play.reach("11:00")) == ["missing_step reserved o1 since 10:03"]


def test_a_finding_tells_the_times_that_its_pass_turns_out_to_have() -> None:
    play = script(APPROVAL)
    approved(play, "10:01", "10:01")
    assert [one.observed for one in signals(created(play, "10:30"))] == ["order.approved 29 min earlier"]
    assert [one.observed for one in signals(created(play, "10:31", occurred="10:10"))] == [
        "order.approved 9 min earlier"
    ]


def test_of_a_required_start_that_is_optional_the_pass_tells_its_order_and_the_requirement_its_absence() -> None:
    """Both told the order, under one id and in different words."""
    per_line, start = 'per = ["line_id"]\nstart = {type = "order.approved"}', 'start = {type = "order.allocated"}'
    own = LINES.rpartition("[[handoff]]")
    play = script(own[0].replace('per = ["line_id"]\n', ""), own[1], own[2].replace(per_line, start))
    created(play, "10:00")
    reserved = {"order_id": "o1", "reservation_id": "r1", "sku": "k", "node": "n1", "qty": 1}
    play.send("10:01", "reservation.created", **reserved)
    assert found(play.reach("10:12")) == ["missing_step reserved o1 since 10:01"]
    assert found(play.send("10:13", "order.allocated", order_id="o1", node="n1")) == [
        "out_of_sequence reserved o1 since 10:01",
        "missing_step reserved o1 since 10:01 until 10:13",
    ]


def test_a_late_end_is_taken_back_also_by_what_arrives_in_the_very_moment_in_which_it_happened() -> None:
    play = script(APPROVAL)
    created(play, "10:00")
    approved(play, "10:30", "10:30")
    assert approved(play, "10:30", "10:10")[1:] == ["approval o1 done", "reported 15 min late"]
