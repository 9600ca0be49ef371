"""The notification itself: one row for one receiver, from a group and how it stands."""

from collections.abc import Iterable, Sequence

from operators.alerting.content import severity_rank
from operators.alerting.decisions import Reason, stable_id
from operators.alerting.state import Group, Tracked
from schemas.durations import rfc3339
from schemas.incident_rows import Alert, Incident

#: Incidents that a notification describes one by one; all are in `incident_ids`.
MAX_LISTED = 20


def make_notice(
    group: Group,
    action: str,
    reason: Reason,
    firing: Sequence[Tracked],
    over: Sequence[Tracked],
    now_us: int,
    by: str = "",
) -> Alert:
    """One notification; the group's `sequence` is that of this one.

    Args:
        group: whom it is for, and since when.
        action: trigger, update, acknowledge or resolve.
        reason: why it is told.
        firing: what is open.
        over: what the receiver was told of and is over.
        now_us: the arrival time.
        by: who acknowledged it, with the comment; empty for all other actions.
    """
    listed = sorted(firing, key=_rank) + sorted(over, key=_rank)
    incidents = [tracked.incident for tracked in listed]
    resolved = action == "resolve"
    about = incidents if resolved else [tracked.incident for tracked in firing]
    return Alert(
        alert_id=stable_id("a", group.key, group.receiver, str(now_us), str(group.sequence)),
        group_key=group.key,
        receiver=group.receiver,
        action=action,
        status="resolved" if resolved else "firing",
        sequence=group.sequence,
        reason=reason.value,
        severity=max((one.severity for one in about), key=severity_rank),
        priority=min(one.priority for one in about),
        incident_ids=[one.incident_id for one in incidents],
        labels=_common(tracked.labels for tracked in listed) | group.labels,
        annotations=_annotations(incidents, [] if resolved else [tracked.incident for tracked in over], about, by),
        starts_at_us=group.starts_us,
        ends_at_us=max((one.closed_at_us or one.arrival_us for one in about), default=now_us) if resolved else None,
        sent_at_us=now_us,
        arrival_us=now_us,
        version=now_us,
    )


def _rank(tracked: Tracked) -> tuple[int, int, str]:
    """The most urgent first, then the oldest."""
    incident = tracked.incident
    return incident.priority, incident.opened_at_us, incident.incident_id


def _common(labels: Iterable[dict[str, str]]) -> dict[str, str]:
    """The labels that all have with the same value."""
    first, *others = labels
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


def _annotations(
    listed: Sequence[Incident], over: Sequence[Incident], about: Sequence[Incident], by: str
) -> dict[str, str]:
    first = listed[0]
    out = {
        "summary": first.summary if len(listed) == 1 else f"{len(listed)} incidents, first: {first.summary}",
        "incidents": "\n".join(map(_line, listed[:MAX_LISTED])),
        "cause": first.candidates[0] if first.candidates else "",
        "orders_affected": str(sum(one.orders_affected for one in about)),
        "customers_affected": str(sum(one.customers_affected for one in about)),
        "promises_at_risk": str(sum(one.promises_at_risk for one in about)),
        "value_at_risk": _money(about),
        "over": ", ".join(one.incident_id for one in over[:MAX_LISTED]),
        "more": f"and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else "",
        "acknowledged_by": by,
    }
    breach_us = min((one.first_breach_at_us for one in about if one.first_breach_at_us is not None), default=None)
    if breach_us is not None:
        out["first_breach_at"] = rfc3339(breach_us)
    return {name: value for name, value in out.items() if value}


def _line(incident: Incident) -> str:
    said = f"{incident.incident_id} ({incident.status}, {incident.severity}, priority {incident.priority})"
    return f"{said}: {incident.summary}"


def _money(incidents: Iterable[Incident]) -> str:
    """`1234.50 EUR, 20.00 USD`: the sum in each currency, the largest first."""
    sums: dict[str, float] = {}
    for incident in incidents:
        for currency, value in incident.values_at_risk.items():
            sums[currency] = sums.get(currency, 0.0) + value
    ordered = sorted(sums.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{value:.2f} {currency}".rstrip() for currency, value in ordered if value > 0)
