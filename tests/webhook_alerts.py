"""Alerts for tests."""

from typing import Any

from schemas.durations import SECOND_US, Instant
from schemas.incident_rows import Alert

NOON_US = int(Instant.parse("2026-03-02T12:00:00Z"))


def alert(sequence: int = 1, group: str = "kind=queue_saturation", receiver: str = "ops", **changes: Any) -> Alert:  # noqa: ANN401 - any field
    """The `sequence`-th alert of a group; its id says which it is."""
    at_us = NOON_US + (sequence - 1) * 60 * SECOND_US
    fields: dict[str, Any] = {
        "alert_id": f"{receiver}:{group}:{sequence}",
        "group_key": group,
        "receiver": receiver,
        "action": "trigger" if sequence == 1 else "update",
        "status": "firing",
        "sequence": sequence,
        "reason": "new group",
        "severity": "high",
        "priority": 1,
        "incident_ids": ["inc-7", "inc-8"],
        "labels": {"kind": "queue_saturation", "node": "store-012", "queue": "picks.eu", "severity": "high"},
        "annotations": {
            "summary": "Picks queue saturated at store-012: 41 orders late <&>",
            "cause": "sig-1: earliest upstream",
            "orders_affected": "41",
            "value_at_risk": "3120.50 EUR",
            "incidents": "inc-7 (open, high, priority 1): …\ninc-8 (open, low, priority 3): …",
        },
        "starts_at_us": NOON_US - 300 * SECOND_US,
        "ends_at_us": None,
        "sent_at_us": at_us,
        "arrival_us": at_us,
        "version": at_us,
    }
    return Alert(**(fields | changes))


def resolved(sequence: int, group: str = "kind=queue_saturation", receiver: str = "ops", **changes: Any) -> Alert:  # noqa: ANN401 - any field
    """The last alert of a group."""
    at_us = NOON_US + (sequence - 1) * 60 * SECOND_US
    return alert(sequence, group, receiver, action="resolve", status="resolved", ends_at_us=at_us, **changes)


def acknowledged(sequence: int, group: str = "kind=queue_saturation", receiver: str = "ops") -> Alert:
    return alert(sequence, group, receiver, action="acknowledge")
