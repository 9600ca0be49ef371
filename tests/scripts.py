"""Timed scripts: at this time this arrives, and exactly that is found, and nothing else.

Times are written `10:15` or `10:15:00.000001`, of 2 March 2026, or `3d 10:15` for three days later.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import msgspec

from operators.process_lint import read_process_map
from operators.process_map import ProcessMap
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Instant, rfc3339
from schemas.events import Arrived, Event
from schemas.rows import HandoffPass, Signal

DAY = Instant.parse("2026-03-02")
#: A handoff of each shipment, due when the carrier says.
CARRIER = """
[[handoff]]
name = "carrier"
case = "order_id"
per = ["shipment_id"]
start = {type = "shipment.dispatched"}
end = {type = "shipment.delivered"}
deadline_at = {field = "expected_at"}
"""


def at(text: str) -> int:
    """Microseconds of a time of day."""
    days, _, clock = text.rpartition("d ")
    hours, minutes, *rest = clock.split(":")
    seconds = round(float(rest[0]) * SECOND_US) if rest else 0
    return DAY + int(days or 0) * DAY_US + int(hours) * HOUR_US + int(minutes) * MINUTE_US + seconds


def clock(instant_us: int) -> str:
    """The reverse of `at`, as short as it can be."""
    days, rest = divmod(instant_us - DAY, DAY_US)
    minutes, rest = divmod(rest, MINUTE_US)
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    if rest:
        text += f":{rest / SECOND_US:09.6f}".rstrip("0").rstrip(".")
    return f"{days}d {text}" if days else text


class Operator(Protocol):
    """What a script can drive."""

    def update(self, events: Sequence[Arrived], /) -> Sequence[Any]: ...
    def advance(self, watermark: int, /) -> Sequence[Any]: ...


class Script:
    """Sends events to an operator in the order in which they arrive."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.sent = 0

    def send(self, arrival: str, type_: str, *, occurred: str | None = None, **fields: object) -> Sequence[Any]:
        """An event arrives; what is found up to and with it."""
        return self.operator.update([self.arrived(arrival, type_, occurred=occurred, **fields)])

    def arrived(self, arrival: str, type_: str, *, occurred: str | None = None, **fields: object) -> Arrived:
        self.sent += 1
        happened = at(occurred or arrival)
        event_id = str(fields.pop("event_id", f"e{self.sent}"))
        base = {"type": type_, "event_id": event_id, "source": "oms-1", "system": "oms"}
        times = {
            name: rfc3339(at(str(value)))
            if name in ("promised_at", "expected_at", "expires_at", "dispatch_by")
            else value
            for name, value in fields.items()
        }
        event = msgspec.convert(base | {"occurred_at": rfc3339(happened)} | times, Event)
        return Arrived(at(arrival), "orders", 0, self.sent, happened, event)

    def reach(self, time: str) -> Sequence[Any]:
        """Arrival time comes to `time` (what is due before it happens)."""
        return self.operator.advance(at(time))


def found(outputs: Sequence[Any]) -> list[str]:
    """The signals, one short line each: kind, handoff, case or scope, since when, until when."""
    out = []
    for one in outputs:
        if isinstance(one, Signal):
            about = one.case_id or " ".join(f"{name}={value}" for name, value in sorted(one.scope.items()))
            until = "" if one.closed_at_us is None else f" until {clock(one.closed_at_us)}"
            words = [one.kind, one.handoff, about, f"since {clock(one.opened_at_us)}{until}"]
            out.append(" ".join(word for word in words if word))
    return out


def rows(outputs: Sequence[Any]) -> list[str]:
    """The pass rows, one short line each: handoff, case, pass, status."""
    return [
        " ".join(word for word in (one.handoff, one.case_id, one.pass_key, one.status) if word)
        for one in outputs
        if isinstance(one, HandoffPass)
    ]


@cache
def process_map(text: str) -> ProcessMap:
    declared = read_process_map('name = "script"\n' + text, "script.toml")
    assert declared.value is not None, declared.problems
    return declared.value
