"""The record of one attempt to deliver, and what an alert says of its group."""

from schemas.incident_rows import Alert, AlertDelivery


def delivery_of(
    alert: Alert,
    attempt: int,
    outcome: str,
    detail: str,
    attempted_at_us: int,
    *,
    http_status: int | None = None,
    latency_ms: float = 0.0,
) -> AlertDelivery:
    """The row of one attempt; attempt 0 is a decision without one."""
    return AlertDelivery(
        alert_id=alert.alert_id,
        receiver=alert.receiver,
        attempt=attempt,
        outcome=outcome,
        http_status=http_status,
        detail=detail,
        latency_ms=latency_ms,
        attempted_at_us=attempted_at_us,
        arrival_us=alert.arrival_us,
        version=1,
    )


def is_over(alert: Alert) -> bool:
    """Whether the alert says that nothing of its group is open any more."""
    return alert.action == "resolve" or alert.status == "resolved"
