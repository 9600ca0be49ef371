"""Standard Webhooks 1.0: a signed JSON body of `type`, `timestamp` and `data`."""

import msgspec

from schemas.durations import rfc3339
from schemas.incident_rows import Alert
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.request import Request, alert_document, idempotency_key, json_headers
from sinks.webhooks.sizes import LARGEST_BODY, fitted


class StandardWebhook(msgspec.Struct, frozen=True):
    """`webhook-id` is the alert's key: the receiver drops what it has had under it before."""

    parts: Parts
    resend_us: int = 0

    def request(self, alert: Alert, now_us: int, standing: Alert | None) -> Request:
        """See `Receiver`. The signature's timestamp is that of the attempt."""
        del standing
        data = alert_document(alert)
        data["summary"] = self.parts.summary.fill(alert)
        if link := self.parts.link_of(alert):
            data["link"] = link
        data["details"] = {name: data.pop(name) for name in ("incident_ids", "labels", "annotations")}
        document = {"type": f"alert.{alert.action}", "timestamp": rfc3339(alert.sent_at_us), "data": data}
        body = fitted(document, data["details"], LARGEST_BODY)
        key = idempotency_key(alert)
        return Request(body, json_headers(alert, self.parts.signed(key, now_us, body)))
