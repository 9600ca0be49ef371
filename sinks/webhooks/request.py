"""What is sent: a request, pure; and what a receiver is: a function from an alert to one."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from schemas.durations import rfc3339
from schemas.incident_rows import Alert
from sinks.webhooks.template import summary_of

_VISIBLE = re.compile(r"[\x21-\x7e]{1,200}")
JSON_TYPE = "application/json"


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. `path` is put behind the receiver's URL; empty for the URL itself."""

    body: bytes
    headers: dict[str, str]
    path: str = ""
    method: str = "POST"


class Receiver(Protocol):
    """How one kind of receiver is told."""

    @property
    def resend_us(self) -> int:
        """How often what still holds has to be said again, 0 for never."""
        ...

    def request(self, alert: Alert, now_us: int, standing: Alert | None) -> Request:
        """The request that tells of `alert`, sent at `now_us`.

        `standing` is what the receiver was told last of the group and still holds, if anything (kept for those that
        have `resend_us`). The same alert gives the same idempotency key each time.

        Raises:
            ValueError: it can't be said within the receiver's limits.
        """
        ...


def idempotency_key(alert: Alert) -> str:
    """The alert's key as a header takes it: its id, or a hash of that where it has other than visible ASCII."""
    return alert.alert_id if _VISIBLE.fullmatch(alert.alert_id) else f"alert-{_hash(alert.alert_id)}"


def group_id(alert: Alert) -> str:
    """What receivers know the group by: short, the same from trigger to resolve."""
    return f"andon-{_hash(alert.receiver, alert.group_key)}"


def json_headers(alert: Alert, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers that every request has."""
    return {"Content-Type": JSON_TYPE, "Idempotency-Key": idempotency_key(alert), **(extra or {})}


def alert_document(alert: Alert) -> dict[str, Any]:
    """The alert as JSON has it: its fields, times as RFC 3339, and its summary."""
    return {
        "alert_id": alert.alert_id,
        "group_key": alert.group_key,
        "receiver": alert.receiver,
        "action": alert.action,
        "status": alert.status,
        "sequence": alert.sequence,
        "severity": alert.severity,
        "priority": alert.priority,
        "summary": summary_of(alert),
        "reason": alert.reason,
        "incident_ids": list(alert.incident_ids),
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": rfc3339(alert.starts_at_us),
        "ends_at": None if alert.ends_at_us is None else rfc3339(alert.ends_at_us),
        "sent_at": rfc3339(alert.sent_at_us),
    }


def _hash(*texts: str) -> str:
    digest = hashlib.blake2b(digest_size=16, person=b"andon-group")
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
