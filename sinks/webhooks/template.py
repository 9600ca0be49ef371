"""Texts with named fields, `{kind}: {value_at_risk} {currency} at risk`: no code, no attributes, no formats.

Besides the fields listed here, `{labels.NAME}` and `{annotations.NAME}` take any one of them. What an alert does not
have is empty. Values lose their control characters and are cut at 1,024 characters, in URLs at 256.
"""

import re
from collections.abc import Callable
from urllib.parse import quote

from schemas.durations import rfc3339
from schemas.incident_rows import Alert
from schemas.problems import did_you_mean

#: Fields of the alert itself.
_OWN: dict[str, Callable[[Alert], str]] = {
    "alert_id": lambda alert: alert.alert_id,
    "action": lambda alert: alert.action,
    "status": lambda alert: alert.status,
    "severity": lambda alert: alert.severity,
    "priority": lambda alert: str(alert.priority),
    "reason": lambda alert: alert.reason,
    "group_key": lambda alert: alert.group_key,
    "receiver": lambda alert: alert.receiver,
    "sequence": lambda alert: str(alert.sequence),
    "incident_id": lambda alert: alert.incident_ids[0] if alert.incident_ids else "",
    "incidents": lambda alert: str(len(alert.incident_ids)),
    "starts_at": lambda alert: rfc3339(alert.starts_at_us),
    "ends_at": lambda alert: "" if alert.ends_at_us is None else rfc3339(alert.ends_at_us),
    "sent_at": lambda alert: rfc3339(alert.sent_at_us),
}
#: Facts that alerts carry as annotations or labels, annotations first.
_FACTS = (
    *("kind", "cause", "value_at_risk", "margin_at_risk", "refunds_exposed", "currency", "orders_affected"),
    *("customers_affected", "units_affected", "promises_at_risk", "first_breach_at", "scope", "node", "region"),
    *("channel", "sku", "queue", "interface", "supplier", "carrier", "source"),
)
_SUMMARY = "summary"
FIELDS = (_SUMMARY, *_OWN, *_FACTS)

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ANY_OF = re.compile(r"(labels|annotations)\.[\w.-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONGEST, _LONGEST_IN_URL = 1_024, 256
Parts = tuple[tuple[str, bool], ...]


class Template:
    """A text with named fields, parsed once.

    Raises:
        ValueError: it names what there is not, or its braces don't match.
    """

    def __init__(self, text: str) -> None:
        self._parts = _parsed(text)

    def fill(self, alert: Alert) -> str:
        """The text for an alert."""
        return "".join(value_of(alert, part) if field else part for part, field in self._parts)

    def fill_url(self, alert: Alert) -> str:
        """The same where the text is a URL: values are percent-encoded, so that none can leave its place."""
        return "".join(
            quote(value_of(alert, part)[:_LONGEST_IN_URL], safe="") if field else part for part, field in self._parts
        )


def value_of(alert: Alert, name: str) -> str:
    """What stands in the place of `{name}`."""
    kind, _, rest = name.partition(".")
    if name == _SUMMARY:
        value = summary_of(alert)
    elif name in _OWN:
        value = _OWN[name](alert)
    elif rest:
        value = (alert.labels if kind == "labels" else alert.annotations).get(rest, "")
    else:
        value = alert.annotations.get(name) or alert.labels.get(name, "")
    return _CONTROL.sub(" ", value)[:_LONGEST]


def summary_of(alert: Alert) -> str:
    """What happened in one line: the alert's own words or, without any, its kind, severity and size."""
    words = alert.annotations.get("summary", "").strip()
    if words:
        return words
    kind = alert.annotations.get("kind") or alert.labels.get("kind") or "incident"
    count = len(alert.incident_ids)
    return f"{kind.replace('_', ' ')} ({alert.severity}), {count} incident{'' if count == 1 else 's'}"


def _parsed(text: str) -> Parts:
    parts: list[tuple[str, bool]] = []
    at = 0
    for found in _PART.finditer(text):
        parts.append((text[at : found.start()], False))
        at = found.end()
        if found[0] in ("{{", "}}"):
            parts.append((found[0][0], False))
        elif found[1] is None:
            raise ValueError(f"has a single {found[0]!r}; write it twice to mean itself")
        else:
            parts.append((_known(found[1]), True))
    parts.append((text[at:], False))
    return tuple(part for part in parts if part[0])


def _known(name: str) -> str:
    if name in FIELDS or _ANY_OF.fullmatch(name):
        return name
    listed = ", ".join(FIELDS)
    hint = did_you_mean(name, FIELDS) or f"; there are {listed}, labels.NAME and annotations.NAME"
    raise ValueError(f"names {{{name}}}, which no alert has{hint}")
