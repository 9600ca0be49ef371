"""JSON Schemas of what receivers take, written by hand from their public specifications.

- CLOUDEVENT: CloudEvents 1.0.2, JSON event format and spec.md (attribute names: lower-case letters and digits).
- PAGERDUTY: PagerDuty/api-schema, reference/events-v2/openapiv3.json, and the developer docs' limits.
- POSTABLE_ALERTS: prometheus/alertmanager, api/v2/openapi.yaml (`postableAlerts`).
- ALERTMANAGER_WEBHOOK: Alertmanager's documentation of `webhook_config`, version 4.
- SLACK: Slack's block reference.
- JSM_CREATE, JSM_NOTE: Atlassian's "Integration events" reference, with the alerts API's limits.
- STANDARD: Standard Webhooks 1.0, "payload structure".
"""

from typing import Any

_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
_TEXT = {"type": "string", "minLength": 1}
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}


def _record(required: dict[str, Any], optional: dict[str, Any] | None = None, *, more: bool = False) -> dict[str, Any]:
    return {
        "type": "object",
        "required": sorted(required),
        "properties": required | (optional or {}),
        "additionalProperties": more,
    }


CLOUDEVENT = _record(
    {"specversion": {"const": "1.0"}, "id": _TEXT, "source": _TEXT, "type": _TEXT},
    {
        "datacontenttype": _TEXT,
        "dataschema": _TEXT,
        "subject": _TEXT,
        "time": _TIME,
        "data": {},
        "data_base64": {"type": "string"},
    },
) | {
    "additionalProperties": False,
    "patternProperties": {"^[a-z0-9]{1,20}$": {"type": ["string", "boolean", "integer", "object"]}},
}

_PAGERDUTY_TRIGGER = _record(
    {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"const": "trigger"},
        "payload": _record(
            {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1_024},
                "source": _TEXT,
                "severity": {"enum": ["critical", "error", "warning", "info"]},
            },
            {
                "timestamp": _TIME,
                "component": _TEXT,
                "group": _TEXT,
                "class": _TEXT,
                "custom_details": {"type": "object"},
            },
        ),
    },
    {
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": _TEXT,
        "client_url": _TEXT,
        "links": {"type": "array", "items": _record({"href": _TEXT}, {"text": _TEXT})},
        "images": {"type": "array", "items": _record({"src": _TEXT}, {"href": _TEXT, "alt": _TEXT})},
    },
)
_PAGERDUTY_OTHER = _record(
    {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
    }
)
PAGERDUTY = {"oneOf": [_PAGERDUTY_TRIGGER, _PAGERDUTY_OTHER]}

POSTABLE_ALERTS = {
    "type": "array",
    "items": _record(
        {"labels": _LABELS | {"propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}, "minProperties": 1}},
        {"annotations": _LABELS, "startsAt": _TIME, "endsAt": _TIME, "generatorURL": {"type": "string"}},
    ),
}

ALERTMANAGER_WEBHOOK = _record(
    {
        "version": {"const": "4"},
        "groupKey": _TEXT,
        "truncatedAlerts": {"type": "integer", "minimum": 0},
        "status": {"enum": ["firing", "resolved"]},
        "receiver": _TEXT,
        "groupLabels": _LABELS,
        "commonLabels": _LABELS,
        "commonAnnotations": _LABELS,
        "externalURL": {"type": "string"},
        "alerts": {
            "type": "array",
            "minItems": 1,
            "items": _record(
                {
                    "status": {"enum": ["firing", "resolved"]},
                    "labels": _LABELS,
                    "annotations": _LABELS,
                    "startsAt": _TIME,
                    "endsAt": _TIME,
                    "generatorURL": {"type": "string"},
                    "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                }
            ),
        },
    }
)


def _plain(longest: int) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1, "maxLength": longest}
    return _record({"type": {"const": "plain_text"}, "text": text}, {"emoji": {"type": "boolean"}})


def _marked(longest: int) -> dict[str, Any]:
    return _record({"type": {"const": "mrkdwn"}, "text": {"type": "string", "minLength": 1, "maxLength": longest}})


_BLOCKS = [
    _record({"type": {"const": "header"}, "text": _plain(150)}),
    _record({"type": {"const": "section"}, "text": _marked(3_000)}),
    _record(
        {
            "type": {"const": "section"},
            "fields": {"type": "array", "minItems": 1, "maxItems": 10, "items": _marked(2_000)},
        }
    ),
    _record(
        {
            "type": {"const": "actions"},
            "elements": {
                "type": "array",
                "maxItems": 25,
                "items": _record(
                    {"type": {"const": "button"}, "text": _plain(75), "url": {"type": "string", "maxLength": 3_000}}
                ),
            },
        }
    ),
    _record(
        {
            "type": {"const": "image"},
            "image_url": {"type": "string", "maxLength": 3_000},
            "alt_text": {"type": "string", "minLength": 1, "maxLength": 2_000},
        }
    ),
    _record({"type": {"const": "context"}, "elements": {"type": "array", "maxItems": 10, "items": _marked(3_000)}}),
]
SLACK = _record(
    {
        "text": {"type": "string", "minLength": 1, "maxLength": 40_000},
        "blocks": {"type": "array", "maxItems": 50, "items": {"oneOf": _BLOCKS}},
    }
)

JSM_CREATE = _record(
    {"message": {"type": "string", "minLength": 1, "maxLength": 130}},
    {
        "alias": {"type": "string", "maxLength": 512},
        "description": {"type": "string", "maxLength": 15_000},
        "tags": {"type": "array", "maxItems": 20, "items": {"type": "string", "minLength": 1, "maxLength": 50}},
        "details": _LABELS,
        "entity": {"type": "string", "maxLength": 512},
        "source": {"type": "string", "maxLength": 100},
        "priority": {"enum": ["P1", "P2", "P3", "P4", "P5"]},
    },
)
JSM_NOTE = _record(
    {"note": {"type": "string", "minLength": 1, "maxLength": 25_000}},
    {"user": {"type": "string", "maxLength": 100}, "source": {"type": "string", "maxLength": 100}},
)

STANDARD = _record({"type": {"type": "string", "pattern": r"^[\w.]+$"}, "timestamp": _TIME, "data": {"type": "object"}})
