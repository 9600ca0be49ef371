"""Timed scripts for alerting: at this second this comes, and exactly that is told, and nothing else over the whole run.

Seconds count from `BEGIN_US`, a Monday at midnight UTC.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec

from operators.alerting.alerting import Alerting
from operators.alerting.settings import AlertSettings
from operators.alerting.state import AlertingState
from schemas.durations import SECOND_US, Instant, from_us
from schemas.events import (
    CONTROL_TOPIC,
    Arrived,
    Event,
    IncidentAcknowledged,
    IncidentUnacknowledged,
    SilenceCreated,
    SilenceExpired,
)
from schemas.incident_rows import Alert, AlertDecision, Incident, Silence
from tests.declared import declare

BEGIN_US = int(Instant.parse("2026-03-02"))
#: Short times, so that scripts are easy to read.
SHORT = 'receiver = "pager"\ngroup_wait = "3s"\ngroup_interval = "10s"\nrepeat_interval = "60s"\n'
R = TypeVar("R", Alert, AlertDecision, Silence)


def us(second: float) -> int:
    return BEGIN_US + round(second * SECOND_US)


def second(instant_us: int) -> float:
    return (instant_us - BEGIN_US) / SECOND_US


def settings_of(text: str) -> AlertSettings:
    """Settings as TOML, what is under `[alerting]`."""
    declared = declare(text, AlertSettings, "alerting.toml")
    assert declared.value is not None, declared.problems
    return declared.value


def incident(
    at_s: float, incident_id: str, status: str = "open", *, kind: str = "oversell", priority: int = 3, **fields: object
) -> Incident:
    """A version of an incident; what is neither named nor of the row is an entry of its scope."""
    own: dict[str, Any] = {name: fields.pop(name) for name in Incident.__struct_fields__ if name in fields}
    return Incident(
        **{
            "incident_id": incident_id,
            "status": status,
            "kind": kind,
            "cause_signal_id": f"s-{incident_id}",
            "candidates": [f"s-{incident_id}: it came first"],
            "scope": fields,
            "severity": "medium",
            "priority": priority,
            "score": 1.0,
            "opened_at_us": us(at_s) - 5 * SECOND_US,
            "found_at_us": us(at_s),
            "closed_at_us": us(at_s) if status == "resolved" else None,
            "signals": 1,
            "orders_affected": 2,
            "customers_affected": 2,
            "units_affected": 3.0,
            "promises_at_risk": 1,
            "first_breach_at_us": None,
            "breach_error_s": None,
            "value_at_risk": 10.0,
            "margin_at_risk": None,
            "refunds_exposed": 0.0,
            "currency": "EUR",
            "values_at_risk": {"EUR": 10.0},
            "summary": f"{incident_id} is {status}",
            "arrival_us": us(at_s),
            "version": us(at_s),
        }
        | own
    )


class Expected(NamedTuple):
    """What is to be told: from and to (both included), to whom, what, about which incidents."""

    earliest_s: float
    latest_s: float
    receiver: str
    action: str
    incidents: tuple[str, ...]

    def fits(self, alert: Alert) -> bool:
        return (
            self.earliest_s <= second(alert.sent_at_us) <= self.latest_s
            and (alert.receiver, alert.action) == (self.receiver, self.action)
            and sorted(alert.incident_ids) == sorted(self.incidents)
        )


class Script:
    """What comes when, and what is to be told. `run` plays it and holds the one against the other."""

    def __init__(self, settings: str = SHORT) -> None:
        self.settings = settings_of(settings)
        self.items: list[Incident | Arrived] = []
        self.expected: list[Expected] = []
        self.rows: list[Alert | AlertDecision | Silence] = []
        self.operator = Alerting(self.settings)

    def push(self, at_s: float, incident_id: str, status: str = "open", **fields: object) -> None:
        """A version of an incident comes."""
        self.items.append(incident(at_s, incident_id, status, **fields))

    def silence(self, at_s: float, silence_id: str, *matchers: str, for_s: float = 1e6, after_s: float = 0) -> None:
        begins = from_us(us(at_s + after_s))
        ends = begins + timedelta(seconds=for_s)
        self.control(
            at_s,
            SilenceCreated,
            silence_id=silence_id,
            matchers=list(matchers),
            starts_at=begins if after_s else None,
            ends_at=ends,
            created_by="kim",
            comment="known",
        )

    def expire(self, at_s: float, silence_id: str) -> None:
        self.control(at_s, SilenceExpired, silence_id=silence_id, created_by="lee")

    def ack(self, at_s: float, incident_id: str, until_s: float | None = None) -> None:
        until = None if until_s is None else from_us(us(until_s))
        self.control(
            at_s, IncidentAcknowledged, incident_id=incident_id, created_by="kim", until=until, comment="on it"
        )

    def unack(self, at_s: float, incident_id: str) -> None:
        self.control(at_s, IncidentUnacknowledged, incident_id=incident_id, created_by="lee")

    def control(self, at_s: float, kind: type[Any], **fields: object) -> None:
        offset = len(self.items)
        event: Event = kind(
            event_id=f"e{offset}", source="cli", system="andon", occurred_at=from_us(us(at_s)), **fields
        )
        self.items.append(Arrived(us(at_s), CONTROL_TOPIC, 0, offset, us(at_s), event))

    def expect(self, earliest_s: float, latest_s: float, action: str, *incidents: str, receiver: str = "pager") -> None:
        self.expected.append(Expected(earliest_s, latest_s, receiver, action, incidents))

    def run(self, until_s: float, tick_s: float = 0.5) -> list[Alert]:
        """Play everything, the clock ticking; all that is told was expected, and all that was expected is told."""
        waiting = sorted(self.items, key=lambda item: item.arrival_us)
        at_s = 0.0
        while at_s < until_s:
            at_s += tick_s
            due = [item for item in waiting if item.arrival_us < us(at_s)]
            del waiting[: len(due)]
            self.take(due)
            self.rows += self.operator.advance(us(at_s))
        assert not waiting
        open_ = list(self.expected)
        for alert in self.of(Alert):
            found = next((one for one in open_ if one.fits(alert)), None)
            assert found is not None, f"not expected: {told([alert])}; still expected: {open_}"
            open_.remove(found)
        assert not open_, f"never told: {open_}; told: {told(self.of(Alert))}"
        return self.of(Alert)

    def take(self, items: Sequence[Incident | Arrived]) -> None:
        changes = [item for item in items if isinstance(item, Incident)]
        self.rows += self.operator.update(changes, [item for item in items if isinstance(item, Arrived)])

    def of(self, kind: type[R]) -> list[R]:
        return [row for row in self.rows if isinstance(row, kind)]

    def decisions(self, incident_id: str) -> list[str]:
        """`3 notified` and so on, of one incident."""
        mine = [row for row in self.of(AlertDecision) if row.incident_id == incident_id]
        return [f"{second(row.decided_at_us):g} {row.decision}" for row in mine]


def told(alerts: Iterable[Alert]) -> list[str]:
    """`3 pager trigger i1 i2`."""
    return [f"{second(one.sent_at_us):g} {one.receiver} {one.action} {' '.join(one.incident_ids)}" for one in alerts]


def again(operator: Alerting, settings: AlertSettings) -> Alerting:
    """The operator after a restart: its snapshot, encoded and read back."""
    kept = msgspec.msgpack.encode(operator.snapshot())
    fresh = Alerting(settings)
    fresh.restore(msgspec.msgpack.decode(kept, type=AlertingState))
    return fresh
