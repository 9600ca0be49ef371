"""Acknowledgements: somebody sees to an incident, so it need not be told again."""

from collections.abc import Sequence

from operators.alerting.content import RESOLVED, is_worse
from operators.alerting.decisions import stable_id
from operators.alerting.silences import SELF
from operators.alerting.state import Acknowledgement, Tracked
from schemas.durations import END_OF_TIME_US, to_us
from schemas.events import IncidentAcknowledged
from schemas.incident_rows import Silence


def acknowledgement_of(tracked: Tracked, now_us: int) -> Acknowledgement | None:
    """The one that holds; one whose `until` has passed does not."""
    held = tracked.acknowledgement
    return None if held is None or (held.until_us is not None and held.until_us <= now_us) else held


def acknowledge(tracked: Tracked | None, event: IncidentAcknowledged, now_us: int) -> Sequence[Silence]:
    """Begin one, ending the one before it. Where there is no such incident, it is on record as refused."""
    until_us = None if event.until is None else to_us(event.until)
    made = Acknowledgement(
        stable_id("k", event.incident_id, event.source, event.event_id),
        event.created_by,
        event.comment or "",
        now_us,
        until_us,
        0 if tracked is None else tracked.incident.priority,
        now_us,
    )
    refused = ""
    if tracked is None or tracked.incident.status == RESOLVED:
        refused = "no incident of this id is open"
    elif until_us is not None and until_us <= now_us:
        refused = "its end has passed"
    if refused or tracked is None:
        return [_row(event.incident_id, made, now_us, ended_by=SELF, comment=f"refused: {refused}")]
    out = end_acknowledgement(tracked, event.created_by, "acknowledged anew", now_us)
    tracked.acknowledgement = made
    return [*out, _row(event.incident_id, made, now_us)]


def end_acknowledgement(tracked: Tracked, by: str, why: str, now_us: int) -> Sequence[Silence]:
    """End the one that holds; nothing where none does."""
    held = acknowledgement_of(tracked, now_us)
    tracked.acknowledgement = None
    if held is None:
        return []
    comment = " / ".join(filter(None, (held.comment, why)))
    return [_row(tracked.incident.incident_id, held, now_us, ended_by=by, comment=comment)]


def end_where_worse(tracked: Tracked, now_us: int) -> Sequence[Silence]:
    """End the one that holds when the incident's priority has risen above what was acknowledged."""
    held = acknowledgement_of(tracked, now_us)
    priority = tracked.incident.priority
    if held is None or not is_worse(priority, held.priority):
        return []
    return end_acknowledgement(tracked, SELF, f"priority {held.priority} has become {priority}", now_us)


def _row(
    incident_id: str, held: Acknowledgement, now_us: int, *, ended_by: str = "", comment: str | None = None
) -> Silence:
    until_us = END_OF_TIME_US if held.until_us is None else held.until_us
    return Silence(
        silence_id=held.silence_id,
        incident_id=incident_id,
        matchers=[],
        starts_at_us=held.since_us,
        ends_at_us=now_us if ended_by else until_us,
        created_by=held.created_by,
        comment=held.comment if comment is None else comment,
        expired_by=ended_by,
        arrival_us=now_us,
        version=max(now_us, held.version + 1) if ended_by else held.version,
    )
