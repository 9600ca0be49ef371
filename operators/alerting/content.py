"""What an incident is to alerting: its labels, and what a receiver is told of it."""

from operators.alerting.state import Told
from schemas.incident_rows import Incident

RESOLVED = "resolved"
#: From the least to the most severe.
SEVERITIES = ("info", "low", "medium", "high", "critical")


def labels_of(incident: Incident) -> dict[str, str]:
    """What routes, silences and inhibitions match: the scope, kind, severity, priority, and the incident's own id."""
    return incident.scope | {
        "incident": incident.incident_id,
        "kind": incident.kind,
        "severity": incident.severity,
        "priority": str(incident.priority),
    }


def told_of(incident: Incident) -> Told:
    """What is worth being told again when it changes; figures that grow all the time are not."""
    return Told(
        incident.kind, incident.cause_signal_id, incident.severity, incident.priority, incident.status == "recovering"
    )


def is_given_up(incident: Incident) -> bool:
    """Whether it turned out to be part of another one, which has all that it had; its summary says of which."""
    return incident.status == RESOLVED and not incident.signals


def is_worse(now: int, before: int) -> bool:
    """Whether a priority has risen: 1 is the most urgent."""
    return now < before


def severity_rank(severity: str) -> int:
    """Its place among `SEVERITIES`; one that is not known comes before all."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1
