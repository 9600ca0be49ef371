"""Prometheus Alertmanager's API v2, `POST /api/v2/alerts`: one alert a group, said again before its `endsAt`.

Source: prometheus/alertmanager, api/v2/openapi.yaml (`postableAlerts`). An alert is known there by its labels: where a
group's labels change, the one under the old labels is ended in the same request. What still holds is said again every
third of `resolve_after`; when Andon falls silent, Alertmanager resolves it after that time by itself.
"""

import re
from typing import Any

import msgspec

from schemas.durations import rfc3339
from schemas.incident_rows import Alert
from sinks.webhooks.attempts import is_over
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.request import Request, group_id, json_headers
from sinks.webhooks.sizes import LARGEST_BODY, cut, fitted

PATH = "/api/v2/alerts"
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")
_PER_LIFE = 3
#: Labels can't be cut to fit, since alerts are known by them: so many, of so many characters.
_LABELS, _LONGEST_LABEL = 64, 512


class Alertmanager(msgspec.Struct, frozen=True):
    """The receiver's `url` is Alertmanager's own, with its path prefix if it has one."""

    parts: Parts

    @property
    def resend_us(self) -> int:
        """A third of the time that an alert lives there."""
        return self.parts.resolve_after_us // _PER_LIFE

    def request(self, alert: Alert, now_us: int, standing: Alert | None) -> Request:
        """See `Receiver`."""
        resolved = is_over(alert)
        ends_us = now_us if resolved else now_us + self.parts.resolve_after_us
        told = [self._alert(alert, ends_us)]
        if standing is not None and labels_of(standing) != labels_of(alert):
            begun_us = min(standing.starts_at_us, now_us)
            told.append({"labels": labels_of(standing), "startsAt": rfc3339(begun_us), "endsAt": rfc3339(now_us)})
        return Request(fitted(told, told[0]["annotations"], LARGEST_BODY), json_headers(alert), PATH)

    def _alert(self, alert: Alert, ends_us: int) -> dict[str, Any]:
        posted: dict[str, Any] = {
            "labels": labels_of(alert),
            "annotations": {
                **_named(alert.annotations),
                "summary": self.parts.summary.fill(alert),
                "incident_ids": ",".join(alert.incident_ids),
                "reason": alert.reason,
            },
            "startsAt": rfc3339(min(alert.starts_at_us, ends_us)),
            "endsAt": rfc3339(ends_us),
        }
        if link := self.parts.link_of(alert):
            posted["generatorURL"] = link
        return posted


def labels_of(alert: Alert) -> dict[str, str]:
    """The labels that Alertmanager knows the alert by."""
    kept = sorted(_named(alert.labels).items())[:_LABELS]
    labels = {name[:_LONGEST_LABEL]: cut(value, _LONGEST_LABEL) for name, value in kept} | {"severity": alert.severity}
    name = alert.labels.get("alertname") or alert.labels.get("kind") or "andon_incident"
    labels |= {"alertname": cut(name, _LONGEST_LABEL), "andon_group": group_id(alert)}
    return {name: value for name, value in labels.items() if value}


def _named(pairs: dict[str, str]) -> dict[str, str]:
    """Names as every version of Alertmanager takes them: letters, digits and `_`, no digit first."""
    clean = {_NOT_IN_NAMES.sub("_", name): value for name, value in pairs.items() if name}
    return {f"_{name}" if name[0].isdigit() else name: value for name, value in clean.items()}
