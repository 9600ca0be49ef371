"""The body that Alertmanager sends to webhooks, version 4: what Grafana IRM and most tools take.

Source: Alertmanager's documentation, "webhook_config", and its notify/webhook. One alert for each incident of the
group; an alert that fires has the zero time as its end.
"""

import hashlib
from typing import Any

import msgspec

from schemas.durations import rfc3339
from schemas.incident_rows import Alert
from sinks.webhooks.attempts import is_over
from sinks.webhooks.receivers.alertmanager import labels_of
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.request import Request, group_id, idempotency_key, json_headers
from sinks.webhooks.sizes import LARGEST_BODY, cut, fitted

NO_END = "0001-01-01T00:00:00Z"
#: Incidents told one by one; what there are more is counted in `truncatedAlerts`.
MOST_ALERTS = 100
_SUMMARY = 1_024


class AlertmanagerWebhook(msgspec.Struct, frozen=True):
    """Signed as Standard Webhooks does it where the receiver has secrets."""

    parts: Parts
    resend_us: int = 0

    def request(self, alert: Alert, now_us: int, standing: Alert | None) -> Request:
        """See `Receiver`."""
        del standing
        status = "resolved" if is_over(alert) else "firing"
        labels = labels_of(alert)
        annotations: dict[str, Any] = {
            **alert.annotations,
            "summary": self.parts.summary.fill(alert),
            "reason": alert.reason,
            "action": alert.action,
        }
        incidents = list(alert.incident_ids) or [group_id(alert)]
        over = set(alert.annotations.get("over", "").split(", "))
        told = [
            self._alert(alert, one, "resolved" if one in over else status, labels) for one in incidents[:MOST_ALERTS]
        ]
        while len(told) > 1 and len(msgspec.json.encode(told)) > LARGEST_BODY // 2:
            del told[len(told) // 2 :]
        document = {
            "version": "4",
            "groupKey": alert.group_key,
            "truncatedAlerts": len(incidents) - len(told),
            "status": status,
            "receiver": alert.receiver,
            "groupLabels": {name: labels[name] for name in ("alertname", "andon_group")},
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "externalURL": self.parts.link_of(alert),
            "alerts": told,
        }
        body = fitted(document, annotations, LARGEST_BODY)
        return Request(body, json_headers(alert, self.parts.signed(idempotency_key(alert), now_us, body)))

    def _alert(self, alert: Alert, incident_id: str, status: str, labels: dict[str, str]) -> dict[str, Any]:
        own = labels | {"incident_id": incident_id}
        ended_us = alert.sent_at_us if alert.ends_at_us is None else alert.ends_at_us
        return {
            "status": status,
            "labels": own,
            "annotations": {"summary": cut(self.parts.summary.fill(alert), _SUMMARY)},
            "startsAt": rfc3339(alert.starts_at_us),
            "endsAt": rfc3339(ended_us) if status == "resolved" else NO_END,
            "generatorURL": self.parts.link_of(alert),
            "fingerprint": _fingerprint(group_id(alert), incident_id),
        }


def _fingerprint(group: str, incident_id: str) -> str:
    """16 hex digits that stay with one incident of a group, whatever its labels become."""
    return hashlib.blake2b(f"{group}/{incident_id}".encode(), digest_size=8).hexdigest()
