"""PagerDuty Events API v2: trigger, acknowledge and resolve under one `dedup_key` a group.

Source: the public OpenAPI of the Events API v2 (PagerDuty/api-schema, reference/events-v2). `links` and `images` stand
at the top level, not in `payload`; an event is at most 512 KB; `summary` 1,024 characters, `dedup_key` 255. An update
is a trigger under the same key, which PagerDuty adds to the open alert.
"""

from typing import Any

import msgspec

from schemas.durations import rfc3339
from schemas.incident_rows import Alert
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.request import Request, group_id, json_headers
from sinks.webhooks.sizes import cut, fitted

LARGEST_EVENT = 512 * 1_000  # the docs say KB; the smaller reading is safe under both
_LONGEST_SUMMARY = 1_024
_SEVERITIES = {"critical": "critical", "high": "error", "medium": "warning", "low": "info", "info": "info"}
_ACTIONS = {"trigger": "trigger", "update": "trigger", "acknowledge": "acknowledge", "resolve": "resolve"}


class PagerDuty(msgspec.Struct, frozen=True):
    """One alert of PagerDuty a group; the routing key is a secret and stands in the body only."""

    parts: Parts
    resend_us: int = 0

    def request(self, alert: Alert, now_us: int, standing: Alert | None) -> Request:
        """See `Receiver`."""
        del now_us, standing
        event: dict[str, Any] = {
            "routing_key": self.parts.revealed_key(),
            "event_action": _ACTIONS.get(alert.action, "trigger"),
            "dedup_key": group_id(alert),
        }
        details: dict[str, Any] = {}
        if event["event_action"] == "trigger":
            details = {
                "reason": alert.reason,
                "priority": alert.priority,
                "status": alert.status,
                "incident_ids": list(alert.incident_ids),
                "labels": dict(alert.labels),
                **alert.annotations,
            }
            event |= {"client": "Andon", "payload": self._payload(alert, details)}
            link = self.parts.link_of(alert)
            if link:
                event |= {"client_url": link, "links": [{"href": link, "text": "The incident in Andon"}]}
            if image := self.parts.image.fill_url(alert):
                shown = {"src": image, "alt": "The incident in Andon"}
                event["images"] = [shown | {"href": link} if link else shown]
        return Request(fitted(event, details, LARGEST_EVENT), json_headers(alert))

    def _payload(self, alert: Alert, details: dict[str, Any]) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "summary": cut(self.parts.summary.fill(alert) or "Andon incident", _LONGEST_SUMMARY),
            "source": alert.labels.get("node") or alert.labels.get("source") or "andon",
            "severity": _SEVERITIES.get(alert.severity, "info"),
            "timestamp": rfc3339(alert.starts_at_us),
            "custom_details": details,
        }
        named = {"component": alert.labels.get("node"), "group": alert.labels.get("region")}
        named["class"] = alert.labels.get("kind")
        return payload | {name: value for name, value in named.items() if value}
