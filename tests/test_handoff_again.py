"""What is said again of a case, as timed scripts: at the same time, with another time, after it was cancelled."""

from collections.abc import Sequence
from typing import Any

import pytest

from operators.handoffs import HandoffTracker
from schemas.rows import Signal
from tests.scripts import CARRIER, Script, found, process_map, rows

ORDER = '[case.order_id]\nbegins_with = [{type = "order.created"}]\ncancelled_by = [{type = "order.cancelled"}]\n'
PROMISE = """
[[handoff]]
name = "promise"
case = "order_id"
start = {type = "order.created"}
end = {type = "shipment.delivered"}
deadline_at = {field = "promised_at"}
"""
FORBIDDEN = """
[[forbidden]]
name = "allocated_after_cancel"
case = "order_id"
event = {type = "order.allocated"}
after = {type = "order.cancelled"}
scope = "node"
"""


def script(*parts: str) -> Script:
    return Script(HandoffTracker(process_map("".join((ORDER, *parts)))))


def evidence(outputs: Sequence[Any]) -> list[list[str]]:
    return [one.evidence for one in outputs if isinstance(one, Signal)]


@pytest.mark.parametrize("scope", ["", 'scope = "channel"', 'scope = "carrier"'])
@pytest.mark.parametrize("ids", [("e5", "e7"), ("e7", "e5"), ("e7", "e5", "e6"), ("e6", "e7", "e5")])
def test_of_two_ends_at_the_same_time_the_one_with_the_lesser_id_is_named(ids: Sequence[str], scope: str) -> None:
    play = script(PROMISE + scope)
    play.send("10:00", "order.created", order_id="o1", event_id="e1", lines=[], promised_at="15:00", channel="shop")
    delivered = {"order_id": "o1", "shipment_id": "s1", "occurred": "12:00", "carrier": "dhl"}
    said = [play.send("12:00", "shipment.delivered", event_id=event_id, **delivered) for event_id in ids]
    assert [rows(one) for one in said] == [["promise o1 done"], *[[]] * (len(ids) - 1)]
    moved = play.send("13:00", "order.promise_changed", order_id="o1", promised_at="11:00")
    assert found(moved) == ["overdue promise o1 since 11:00 until 12:00"]
    assert evidence(moved) == [["e1", "e5"]]


def test_a_shipment_of_which_another_time_is_said_is_due_then_and_the_others_are_not() -> None:
    play = script(CARRIER)
    for shipment in ("s1", "s2"):
        play.send("10:00", "shipment.dispatched", order_id="o1", shipment_id=shipment, expected_at="12:00")
    moved = play.send("11:00", "shipment.exception", order_id="o1", shipment_id="s1", expected_at="13:00")
    assert rows(moved) == ["carrier o1 s1 open"]
    assert found(play.reach("12:59")) == ["overdue carrier o1 since 12:00"]
    assert found(play.reach("13:01")) == ["overdue carrier o1 since 13:00"]


def test_what_happened_last_is_held_against_what_it_must_not_follow() -> None:
    play = script(FORBIDDEN)
    for node, arrival in (("n1", "09:50"), ("n2", "10:05")):
        play.send(arrival, "order.allocated", order_id="o1", node=node, event_id=node)
    play.send("10:06", "order.allocated", order_id="o1", node="n3", occurred="09:55")
    assert play.send("10:10", "order.cancelled", order_id="o1", occurred="10:00", event_id="c1") == []
    assert isinstance(play.operator, HandoffTracker)
    late = [doubt.signal for doubt in play.operator.changes.doubts]  # ten minutes under way: a clock may be behind
    assert found(late) == ["impossible_state allocated_after_cancel o1 since 10:05"]
    assert evidence(late) == [["c1", "n2"]]
    assert [one.scope for one in late if isinstance(one, Signal)] == [{"node": "n2"}]
