"""Whatever the order in which the events of a case arrive: in the end the same is said of it."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.handoffs import HandoffTracker
from schemas.rows import HandoffPass, Signal
from tests.scripts import CARRIER, Script, clock, process_map
from tests.test_handoffs import APPROVAL, ChangesTold

#: Passes by line, by two fields and by shipment; carried deadlines, requirements, an optional start, what is given up.
MAP = f"""
[case.order_id]
begins_with = [{{type = "order.created"}}]
cancelled_by = [{{type = "order.cancelled"}}]
retention = "2d"

[[handoff]]
name = "allocation"
case = "order_id"
per = ["line_id"]
start = {{type = "order.approved"}}
end = {{type = "order.allocated"}}
deadline = "20m"
sequence_grace = "10m"
scope = "node"

[[handoff]]
name = "reservation"
case = "order_id"
per = ["line_id"]
start = {{type = "order.approved"}}
start_optional = true
end = {{type = "reservation.created"}}
requires = ["allocation", "approval"]
sequence_grace = "10m"

[[handoff]]
name = "hold"
case = "order_id"
per = ["reservation_id", "node"]
start = {{type = "reservation.created"}}
end = {{type = "reservation.consumed"}}
abandoned_by = [{{type = "reservation.released"}}, {{type = "reservation.rejected", where = {{reason = "x"}}}}]
deadline_at = {{field = "expires_at", plus = "1m"}}
scope = "node"

{CARRIER}scope = "carrier"

[[handoff]]
name = "promise"
case = "order_id"
start = {{type = "order.created"}}
end = {{type = "shipment.delivered"}}
deadline_at = {{field = "promised_at"}}
scope = "channel"
requires = ["carrier"]
"""
_OWN_LINE = ("order.approved", "order.cancelled", "order.allocated", "reservation.created")
_TYPES = (
    *("order.created", "order.promise_changed", "order.approved", "order.cancelled", "order.allocated"),
    *("reservation.created", "reservation.consumed", "reservation.released", "reservation.rejected"),
    *("shipment.dispatched", "shipment.delivered"),
)
#: What was said of a case in the end: its passes, and the findings that still hold, in words.
_End = tuple[dict[tuple[str, str], tuple[object, ...]], set[str]]


def _event(random: Random) -> dict[str, Any]:
    """An event of one hour, with ids that have separators in them, and quantities that are none."""
    type_ = random.choice(_TYPES)

    def may(name: str, value: Callable[[], object]) -> dict[str, object]:
        return {name: value()} if random.random() < 0.6 else {}

    def later() -> str:
        return f"{random.randint(10, 12)}:{random.randint(0, 59):02}"

    fields: dict[str, Any] = {"type_": type_, "occurred": f"10:{random.randint(0, 59):02}", "order_id": "o1"}
    fields |= may("channel", lambda: random.choice("ab"))
    if type_ in _OWN_LINE:
        fields |= may("line_id", lambda: random.choice(["1", "2/"]))
    if type_ == "order.created":
        fields |= {"lines": []} | may("promised_at", later)
    elif type_ == "order.promise_changed":
        fields["promised_at"] = later()
    elif type_ == "order.allocated":
        fields["node"] = random.choice("nm")
    elif type_.startswith("reservation"):
        fields |= {"reservation_id": random.choice(["r%2F", "r/2"]), "sku": "ü", "node": random.choice("nm")}
        fields["qty"] = random.choice([0, -1, 2])
        if type_ == "reservation.created":
            fields |= may("expires_at", later)
        else:
            fields |= may("reason", lambda: random.choice("xy"))
    elif type_.startswith("shipment"):
        fields["shipment_id"] = random.choice("st")
        fields |= may("carrier", lambda: random.choice("cd")) | may("expected_at", later)
    return fields


def _said(events: Sequence[tuple[int, dict[str, Any]]], step_min: int) -> _End:
    """What is left standing when events arrive one after the other, from 11:00 on, `step_min` apart."""
    play = Script(ChangesTold(HandoffTracker(process_map(MAP + APPROVAL))))
    passes: dict[tuple[str, str], HandoffPass] = {}
    signals: dict[str, Signal] = {}

    def take(outputs: Sequence[object]) -> None:
        for one in outputs:
            if isinstance(one, HandoffPass):
                assert (before := passes.get((one.handoff, one.pass_key))) is None or before.version < one.version
                passes[one.handoff, one.pass_key] = one
            elif isinstance(one, Signal):
                assert (said := signals.get(one.signal_id)) is None or said.version < one.version
                signals[one.signal_id] = one

    for place, (number, fields) in enumerate(events):
        minutes = 11 * 60 + place * step_min
        take(play.send(f"{minutes // 60}:{minutes % 60:02}", event_id=f"e{number}", **fields))
    take(play.reach("1d 10:00"))
    for one in signals.values():
        if one.observed.endswith(" late") and not one.observed.startswith("reported "):
            stands = {row.status for row in passes.values() if row.handoff == one.handoff}
            assert stands & {"late", "out_of_sequence"}, one
    rows = {
        key: (one.status, one.scope, one.started_at_us, one.ended_at_us, one.deadline_at_us)
        for key, one in passes.items()
    }
    held = {
        f"{one.kind} {clock(one.opened_at_us)} {one.scope} {one.explanation}"
        for one in signals.values()
        if one.closed_at_us is None
    }
    return rows, held


@settings(max_examples=150, deadline=None)
@given(random=st.randoms(use_true_random=False), size=st.integers(3, 14))
def test_the_order_of_arrival_changes_nothing_of_what_is_said_in_the_end(random: Random, size: int) -> None:
    events = list(enumerate(_event(random) for _ in range(size)))
    by_time = sorted(events, key=lambda one: (one[1]["occurred"], one[0]))
    first = _said(by_time, 0)
    for step_min in (0, 7):
        shuffled = events.copy()
        random.shuffle(shuffled)
        assert _said(shuffled, step_min) == first
