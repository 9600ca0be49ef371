"""The contract as documents for others: JSON Schema (2020-12) and AsyncAPI 3, generated from the types.

What is checked in under `schemas/generated/` is exactly what `documents()` gives; a test fails when they
drift. Where a JSON Schema says less than the contract (bytes of an id, the range of UTC), docs/contract.md
says so.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.errors import AndonError
from schemas.events import EVENT_TYPES, TOPICS, Event, EventBase, type_name

JSON_SCHEMA_FILE: Final = "events.schema.json"
ASYNCAPI_FILE: Final = "asyncapi.json"
CHECKED_IN: Final = Path(__file__).parent / "generated"
#: Raised by a minor step with each new optional field or type, by a major one with a new `version` of events.
CONTRACT_VERSION: Final = "1.2.0"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SUMMARY = (
    "The events that Andon reads: one JSON object a message, UTF-8. Times are RFC 3339 with offset, money is "
    "a decimal string with an ISO 4217 currency, quantities are numbers, ids are strings of at most 128 "
    "bytes of UTF-8. Unknown fields are allowed and ignored."
)
_KAFKA_BINDING = "0.5.0"
#: What each topic is about, and the fields that make its message key: the order of a key's messages is kept.
_TOPICS: dict[str, tuple[str, str]] = {
    "inventory": ("Stock as each system believes it.", "sku and node"),
    "reservations": ("Stock promised to orders.", "order_id"),
    "orders": ("Orders from their creation to their allocation.", "order_id"),
    "fulfillment": (
        "Tasks in the nodes, shipments and returns.",
        "order_id, or task_id of a task without one",
    ),
    "erp": ("What the ERP booked or refused.", "reference"),
    "supply": ("Purchase orders and what follows them.", "po_id"),
    "commerce": ("Promotions, prices and sales over the counter.", "sku, or promotion_id of a promotion"),
    "integration": ("Calls and queues of the middleware.", "interface, or queue of a queue's depth"),
    "controls": (
        "Silences and acknowledgements: what people tell Andon about its alerts.",
        "silence_id, or incident_id of an acknowledgement",
    ),
}


def documents() -> dict[str, str]:
    """File name to text of each generated document; the same types give the same bytes."""
    return {JSON_SCHEMA_FILE: _text(json_schema()), ASYNCAPI_FILE: _text(asyncapi())}


def json_schema() -> dict[str, Any]:
    """One JSON Schema: the root is any event, `$defs` has each record and one for each topic."""
    defs = _schemas("#/$defs/{name}")
    for topic, records in TOPICS.items():
        defs[_topic_union(topic)] = {
            "title": _topic_union(topic),
            "description": f"Any event of the topic `{topic}`. {_said_of(topic)[0]}",
            "oneOf": [{"$ref": f"#/$defs/{record.__name__}"} for record in records],
        }
    return {
        "$schema": _DIALECT,
        "$id": "urn:andon:contract:1:events",
        "title": "Event",
        "description": _SUMMARY,
        "oneOf": [{"$ref": f"#/$defs/{_topic_union(topic)}"} for topic in TOPICS],
        "$defs": defs,
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: topics as channels, types as messages, and Andon receives them."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:andon:contract:1",
        "info": {
            "title": "Andon",
            "version": CONTRACT_VERSION,
            "description": _SUMMARY,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic: _channel(topic) for topic in TOPICS},
        "operations": {f"receive{topic.capitalize()}": _operation(topic) for topic in TOPICS},
        "components": {
            "messages": {
                record.__name__: _message(topic, record) for topic, records in TOPICS.items() for record in records
            },
            "schemas": _schemas("#/components/schemas/{name}"),
        },
    }


def drifted(directory: Path) -> list[str]:
    """The names of documents in `directory` that are missing or not what the types give now."""
    return [name for name, text in documents().items() if not _holds(directory / name, text)]


def _said_of(topic: str) -> tuple[str, str]:
    """What a topic is about, and the fields of its key.

    Raises:
        AndonError: nobody has said it yet.
    """
    if topic not in _TOPICS:
        words = "say there what it is about and which fields make its key"
        raise AndonError(f"topic {topic!r} of schemas/events.py is not among _TOPICS of schemas/export.py: {words}")
    return _TOPICS[topic]


def _topic_union(topic: str) -> str:
    return f"{topic.capitalize()}Topic"


def _channel(topic: str) -> dict[str, Any]:
    names = [record.__name__ for record in TOPICS[topic]]
    return {
        "address": topic,
        "title": topic,
        "description": _said_of(topic)[0],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": _KAFKA_BINDING}},
    }


def _operation(topic: str) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{topic}"},
        "summary": f"Andon reads the topic {topic}.",
        "messages": [{"$ref": f"#/channels/{topic}/messages/{record.__name__}"} for record in TOPICS[topic]],
    }


def _message(topic: str, record: type[EventBase]) -> dict[str, Any]:
    name = type_name(record)
    key = {"type": "string", "description": f"Best keyed by {_said_of(topic)[1]}; Andon itself reads any key."}
    return {
        "name": name,
        "title": name,
        "summary": _first_line(record),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{record.__name__}"},
        "bindings": {"kafka": {"key": key, "bindingVersion": _KAFKA_BINDING}},
    }


def _schemas(ref_template: str) -> dict[str, Any]:
    """The schema of each record under its name, events first, in the order of the contract."""
    _, components = msgspec.json.schema_components((Event,), ref_template=ref_template)
    events = [record.__name__ for record in EVENT_TYPES.values()]
    return {name: components[name] for name in (*events, *sorted(set(components) - set(events)))}


def _first_line(record: type[EventBase]) -> str:
    return (record.__doc__ or "").strip().split("\n", 1)[0]


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
