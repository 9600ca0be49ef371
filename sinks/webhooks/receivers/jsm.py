"""Jira Service Management operations, integration events API: create, note, acknowledge and close by alias.

Source: Atlassian's reference "Integration events" (`/jsm/ops/integration/v2/alerts`, `Authorization: GenieKey …`) and
the limits of the alerts API: message 130 characters, alias 512, description 15,000, entity 512, source 100,
note 25,000, tags 20 of 50, details 8,000 in all. A second create under an open alias only counts it, so an update is
a note.
"""

from typing import Any
from urllib.parse import quote

import msgspec

from schemas.incident_rows import Alert
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.request import Request, group_id, json_headers
from sinks.webhooks.sizes import cut, fitted

_SOURCE = "andon"
_MESSAGE, _DESCRIPTION, _NOTE, _DETAILS, _TAG, _ENTITY = 130, 15_000, 25_000, 7_000, 50, 512
_PRIORITIES = {"critical": "P1", "high": "P2", "medium": "P3", "low": "P4", "info": "P5"}
_ENDINGS = {"update": "notes", "acknowledge": "acknowledge", "resolve": "close"}


class JsmOperations(msgspec.Struct, frozen=True):
    """One alert of JSM a group. The service answers 202 and works afterwards."""

    parts: Parts
    resend_us: int = 0

    def request(self, alert: Alert, now_us: int, standing: Alert | None) -> Request:
        """See `Receiver`."""
        del now_us, standing
        headers = json_headers(alert, {"Authorization": f"GenieKey {self.parts.revealed_key()}"})
        summary = self.parts.summary.fill(alert)
        if alert.action in _ENDINGS:
            path = f"/{quote(group_id(alert), safe='')}/{_ENDINGS[alert.action]}?identifierType=alias"
            note = {"source": _SOURCE, "user": _SOURCE, "note": cut(f"{summary} ({alert.reason})", _NOTE)}
            return Request(msgspec.json.encode(note), headers, path)
        return Request(msgspec.json.encode(self._created(alert, summary)), headers)

    def _created(self, alert: Alert, summary: str) -> dict[str, Any]:
        details: dict[str, Any] = {**alert.labels, **alert.annotations, "incident_ids": ", ".join(alert.incident_ids)}
        fitted(details, details, _DETAILS)
        link = self.parts.link_of(alert)
        lines = (summary, alert.reason, link)
        created: dict[str, Any] = {
            "message": cut(summary or "Andon incident", _MESSAGE),
            "alias": group_id(alert),
            "description": cut("\n".join(line for line in lines if line), _DESCRIPTION),
            "tags": [cut(tag, _TAG) for tag in ("andon", alert.severity, alert.labels.get("kind", "")) if tag],
            "details": details,
            "source": _SOURCE,
            "priority": _PRIORITIES.get(alert.severity, "P3"),
        }
        if entity := alert.labels.get("node"):
            created["entity"] = cut(entity, _ENTITY)
        return created
