"""CloudEvents 1.0 over HTTP, structured (`application/cloudevents+json`) or binary (attributes as `ce-` headers).

Spec: github.com/cloudevents/spec, HTTP protocol binding and JSON event format 1.0.2; extensions `sequence` and
`partitionkey` as documented there. `id` is the alert's key, `source` the setting, `type` says the action.
"""

from typing import Any
from urllib.parse import quote

import msgspec

from schemas.durations import rfc3339
from schemas.incident_rows import Alert
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.request import JSON_TYPE, Request, alert_document, group_id, idempotency_key, json_headers
from sinks.webhooks.sizes import LARGEST_BODY, fitted

TYPE_PREFIX = "io.andon.alert"
_STRUCTURED = "application/cloudevents+json; charset=utf-8"
#: What a header value keeps as it is: visible ASCII but for `"` and `%` (HTTP binding, 3.1.3.2).
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class CloudEvent(msgspec.Struct, frozen=True):
    """One event an alert; the alert is its data."""

    parts: Parts
    resend_us: int = 0

    def request(self, alert: Alert, now_us: int, standing: Alert | None) -> Request:
        """See `Receiver`."""
        del standing
        attributes = self._attributes(alert)
        data = alert_document(alert)
        data["summary"] = self.parts.summary.fill(alert)
        if link := self.parts.link_of(alert):
            data["link"] = link
        data["details"] = {name: data.pop(name) for name in ("incident_ids", "labels", "annotations")}
        document: dict[str, Any] = data if self.parts.binary else {**attributes, "data": data}
        body = fitted(document, data["details"], LARGEST_BODY)
        signed = self.parts.signed(idempotency_key(alert), now_us, body)
        if not self.parts.binary:
            return Request(body, json_headers(alert, signed) | {"Content-Type": _STRUCTURED})
        content_type = attributes.pop("datacontenttype")
        headers = {f"ce-{name}": quote(value, safe=_PLAIN) for name, value in attributes.items()}
        return Request(body, json_headers(alert, signed) | headers | {"Content-Type": content_type})

    def _attributes(self, alert: Alert) -> dict[str, str]:
        return {
            "specversion": "1.0",
            "id": idempotency_key(alert),
            "source": self.parts.source,
            "type": f"{TYPE_PREFIX}.{alert.action}",
            "subject": alert.incident_ids[0] if alert.incident_ids else group_id(alert),
            "time": rfc3339(alert.sent_at_us),
            "datacontenttype": JSON_TYPE,
            "sequence": f"{alert.sequence:010}",
            "partitionkey": group_id(alert),
        }
