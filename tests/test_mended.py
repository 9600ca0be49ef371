"""What is left of a document with mistakes: everything beside them, and nothing that is said because of them."""

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from dataflows.settings import Settings
from operators.process_map import ProcessMap
from schemas.accepted import as_toml, decode_hook, plain
from schemas.adapters.mapping import Declaration
from schemas.mended import mended, stand_in
from schemas.problems import Problem, declare_document
from schemas.toml_lines import KeyPath

RECEIVER = {"name": "a", "type": "slack"}


def _records(kind: object, seen: set[type]) -> Iterator[type[msgspec.Struct]]:
    bare = plain(kind)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        if bare not in seen:
            seen.add(bare)
            yield bare
            for inner in get_type_hints(bare, include_extras=True).values():
                yield from _records(inner, seen)
        return
    for inner in get_args(bare):
        yield from _records(inner, seen)


@pytest.mark.parametrize(
    "record",
    [record for kind in (Settings, ProcessMap, Declaration) for record in _records(kind, set())],
    ids=lambda record: record.__name__,
)
def test_every_record_that_people_write_has_a_stand_in(record: type[msgspec.Struct]) -> None:
    msgspec.convert(stand_in(record), record, dec_hook=decode_hook)


@pytest.mark.parametrize(
    ("document", "left", "doubtful"),
    [
        ({"engine": {"lanes": 0, "batch": 5}}, {"engine": {"batch": 5}}, {("engine", "lanes")}),
        ({"engine": 5, "tiem": {}}, {}, {("engine",), ("time",)}),
        ({"engine": {"batsch": 5, "batch": 6}}, {"engine": {"batch": 6}}, set()),
        (
            {"delivery": {"receiver": [{"name": "a", "type": "slak"}, 5, {"name": "b", "type": "jsm", "url": 5}]}},
            {"delivery": {"receiver": [{"name": "a", "type": "standard"}, {"name": "?", "type": "standard"}]}},
            {("delivery", "receiver", 0, "type"), ("delivery", "receiver", 1), ("delivery", "receiver", 2, "url")},
        ),
        (
            {"delivery": {"receiver": [{"type": "slack"}]}},
            {"delivery": {"receiver": [{"name": "?", "type": "slack"}]}},
            {("delivery", "receiver", 0, "name")},
        ),
        (
            {"kafka": {"topics": ["a", "b b"], "group": "g"}, "stock": {"safety_stock_by_node": {"n": -1, "m": 2}}},
            {"kafka": {"group": "g"}, "stock": {"safety_stock_by_node": {"m": 2}}},
            {("kafka", "topics"), ("stock", "safety_stock_by_node", "n")},
        ),
        (
            {"detectors": {"node_groups": {"a": ["x", 5], "b": ["y"]}}},
            {"detectors": {"node_groups": {"b": ["y"]}}},
            {("detectors", "node_groups", "a")},
        ),
    ],
)
def test_what_is_left(document: dict[str, Any], left: dict[str, Any], doubtful: set[KeyPath]) -> None:
    receivers = left.get("delivery", {}).get("receiver", [])
    if len(receivers) == 2:
        receivers.append({"name": "b", "type": "jsm"})
    found = mended(document, Settings, declare_document(document, Settings, "f").wrong)
    assert found.value == msgspec.convert(left, Settings, dec_hook=decode_hook)
    assert found.doubtful == doubtful


@pytest.mark.parametrize(
    ("key", "expected", "told"),
    [
        ("alerting.mute[0]", "must be a name", True),
        ("alerting.repeat_interval", "must be at least group_interval: a group is looked at only then", False),
        ("alerting.route[0].repeat_interval", "must be at least group_interval", False),
        ("delivery.keep", "must be at least group_interval", True),
        ("alerting.group_interval", "must be pretty", False),
        ("alerting.group_intervals", "must be pretty", True),
        ("delivery.receiver[1].type", "must be another", False),
        ("delivery.receiver[1].url", "is missing", True),
        ("delivery.receiver[10].url", "is missing", True),
        ("delivery.receiver[0].url", "is missing", True),
        ("alerting.route[0].receiver", "must be one of delivery.receiver: a", False),
        ("alerting.route[0].receiver", "must be one of delivery.receiver[0].headers: a", True),
        ("alerting.route[0].receiver", "must be one of delivery.receivers: a", True),
    ],
)
def test_what_is_said_because_of_a_mistake_is_no_problem_of_its_own(key: str, expected: str, told: bool) -> None:
    document = {
        "alerting": {"group_interval": "soon"},
        "delivery": {"receiver": [RECEIVER, {"name": "b", "type": "slak"}]},
    }
    found = mended(document, Settings, declare_document(document, Settings, "f").wrong)
    assert (
        list(found.unaffected([Problem("f", key, as_toml(1), expected)])) == [Problem("f", key, "1", expected)] * told
    )


def test_without_a_mistake_everything_is_there() -> None:
    document = {"delivery": {"receiver": [RECEIVER]}, "engine": {"lanes": 3}}
    found = mended(document, Settings, declare_document(document, Settings, "f").wrong)
    assert (found.value, found.wrong, found.doubtful) == (
        msgspec.convert(document, Settings, dec_hook=decode_hook),
        frozenset(),
        frozenset(),
    )
