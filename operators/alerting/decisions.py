"""Why something was told, or was not."""

from enum import StrEnum
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from operators.alerting.state import Tracked, Verdict
from schemas.incident_rows import Alert, AlertDecision, Silence

AlertRow: TypeAlias = Alert | AlertDecision | Silence


class Decision(StrEnum):
    """What became of an incident's change, for one receiver."""

    NOTIFIED = "notified"
    GROUPED = "grouped"
    WAITING = "waiting"
    SILENCED = "silenced"
    INHIBITED = "inhibited"
    MUTED = "muted"
    ACKNOWLEDGED = "acknowledged"
    DEDUPLICATED = "deduplicated"
    UNROUTED = "unrouted"
    NOT_FIRING_YET = "not_firing_yet"


class Judged(msgspec.Struct, frozen=True):
    """A decision about an incident: which, what decided it (a silence, an incident, a route …), and why in words."""

    decision: Decision
    by: str
    reason: str


class Reason(StrEnum):
    """Why a group is told."""

    FIRST = "first notification"
    ANOTHER = "another incident in the group"
    WORSE = "the priority has risen"
    CHANGED = "what was told has changed"
    SOME_OVER = "some of the group are over"
    ALL_OVER = "all of the group are over"
    MERGED = "it turned out to be part of another incident"
    REPEAT = "still open after repeat_interval"
    SEEN_TO = "somebody sees to it"
    HANDED_OVER = "another receiver is told of it now"


def stable_id(prefix: str, *parts: str) -> str:
    """The same in every run: a hash of what it is about."""
    return prefix + blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest()


def decide(tracked: Tracked, route: str, receiver: str, held: Judged, now_us: int) -> list[AlertDecision]:
    """Remember a decision about an incident on a route; gives its row where it is another one than the last."""
    latest = Verdict(held.decision.value, held.by)
    if tracked.verdicts.get(route) == latest:
        return []
    tracked.verdicts[route] = latest
    incident_id = tracked.incident.incident_id
    return [
        AlertDecision(
            decision_id=stable_id("d", incident_id, route, latest.decision, held.by, str(now_us)),
            incident_id=incident_id,
            receiver=receiver,
            decision=latest.decision,
            by=held.by,
            reason=held.reason,
            decided_at_us=now_us,
            arrival_us=now_us,
            version=now_us,
        )
    ]
