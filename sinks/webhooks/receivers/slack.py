"""Slack's incoming webhooks with Block Kit: a header, what happened, its facts, a button.

Source: Slack's block reference: at most 50 blocks, header text 150 characters, section text 3,000, ten fields of 2,000
each; `&`, `<` and `>` are escaped. Slack knows no idempotency key: what is sent again after a crash shows twice.
"""

from typing import Any

import msgspec

from schemas.durations import people_time
from schemas.incident_rows import Alert
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.request import Request, json_headers
from sinks.webhooks.sizes import cut
from sinks.webhooks.template import value_of

_HEADER, _SECTION, _FIELD, _FIELDS = 150, 3_000, 2_000, 10
_WORDS = {"trigger": "New", "update": "Changed", "acknowledge": "Acknowledged", "resolve": "Resolved"}
_FACTS = {
    "kind": "Kind",
    "cause": "Probable cause",
    "scope": "Where",
    "orders_affected": "Orders",
    "promises_at_risk": "Promises at risk",
    "first_breach_at": "First breach",
}


class Slack(msgspec.Struct, frozen=True):
    """One message an alert. Its URL is a secret."""

    parts: Parts
    resend_us: int = 0

    def request(self, alert: Alert, now_us: int, standing: Alert | None) -> Request:
        """See `Receiver`."""
        del now_us, standing
        summary = self.parts.summary.fill(alert)
        title = f"{_WORDS.get(alert.action, alert.action)}: {summary}"
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": cut(title, _HEADER), "emoji": False}},
            {"type": "section", "text": {"type": "mrkdwn", "text": _escaped(summary, _SECTION) or "-"}},
            {"type": "section", "fields": self._facts(alert)},
        ]
        if link := self.parts.link_of(alert):
            label = {"type": "plain_text", "text": "Open the incident"}
            blocks.append({"type": "actions", "elements": [{"type": "button", "text": label, "url": link}]})
        if image := self.parts.image.fill_url(alert):
            blocks.append({"type": "image", "image_url": image, "alt_text": cut(summary, _FIELD) or "incident"})
        foot = f"{', '.join(alert.incident_ids[:3])} · {alert.reason} · {people_time(alert.sent_at_us)}"
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(foot, _FIELD)}]})
        body = {"text": _escaped(title, _SECTION), "blocks": blocks}
        return Request(msgspec.json.encode(body), json_headers(alert))

    def _facts(self, alert: Alert) -> list[dict[str, str]]:
        listed = [("Severity", f"{alert.severity} (priority {alert.priority})")]
        money = f"{value_of(alert, 'value_at_risk')} {value_of(alert, 'currency')}".strip()
        listed += [("At risk", money)] if money else []
        listed += [(words, value_of(alert, name)) for name, words in _FACTS.items() if value_of(alert, name)]
        return [
            {"type": "mrkdwn", "text": f"*{words}*\n{_escaped(value, _FIELD - 50)}"}
            for words, value in listed[:_FIELDS]
        ]


def _escaped(text: str, longest: int) -> str:
    """Text that Slack shows as it is; cut first, so that no entity is cut in two."""
    shown = text
    while len(escaped := shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) > longest:
        shown = cut(shown, max(len(shown) - (len(escaped) - longest), 1)) if len(shown) > 2 else ""
    return escaped
