"""The generated documents: not drifted, valid by other people's validators, saying what the decoder does."""

import copy
import json
import re
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings

import schemas.events
from dataflows.cli.schema import schema as schema_command
from schemas.errors import AndonError
from schemas.events import EVENT_TYPES, TOPICS, Event, type_name
from schemas.export import CHECKED_IN, asyncapi, documents, drifted, json_schema
from tests.bad_messages import SCHEMA, Bad
from tests.strategies import events

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # asyncapi3 names fields `schema`, which pydantic warns of at import
    from asyncapi3.models.asyncapi import AsyncAPI3

_FORMATS = jsonschema.FormatChecker(formats=())
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(_RFC3339.fullmatch(value) and datetime.fromisoformat(value))


_SCHEMA = json_schema()
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA, format_checker=_FORMATS)


def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**_SCHEMA, "oneOf": [{"$ref": f"#/$defs/{name}"}]}, format_checker=_FORMATS)


def test_the_checked_in_documents_are_what_the_types_give() -> None:
    assert drifted(CHECKED_IN) == [], "run `andon schema export` and look at the diff"
    assert sorted(path.name for path in CHECKED_IN.iterdir()) == sorted(documents())


def test_each_record_is_in_the_module_of_its_topic_and_all_that_is_public_is_listed() -> None:
    for topic, records in TOPICS.items():
        assert {record.__module__ for record in records} == {f"schemas.topics.{topic}"}
    public = {name for name in vars(schemas.events) if not name.startswith("_")}
    assert public - {"Any", "TypeAlias", "msgspec"} == set(schemas.events.__all__)


def test_a_topic_that_nobody_has_described_is_named_with_the_place_where_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOPICS, "loyalty", TOPICS["controls"])
    result = CliRunner().invoke(schema_command, ["export", "--out", str(tmp_path)])
    assert isinstance(result.exception, AndonError)
    words = "topic 'loyalty' of schemas/events.py is not among _TOPICS of schemas/export.py: say there what it is about"
    assert str(result.exception).startswith(words)


def test_drift_is_noticed(tmp_path: Path) -> None:
    assert drifted(tmp_path) == list(documents())
    for name, text in documents().items():
        (tmp_path / name).write_text(text.replace("order_id", "orderId"), encoding="utf-8")
    assert drifted(tmp_path) == list(documents())


def test_the_json_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(_SCHEMA)
    assert _SCHEMA["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    _check_references(_SCHEMA)


def test_the_asyncapi_document_is_one() -> None:
    AsyncAPI3.model_validate(asyncapi())
    _check_references(asyncapi())
    for payload in asyncapi()["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(payload)  # AsyncAPI's own dialect is a superset of draft 7


_BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no info": lambda document: document.pop("info"),
    "an action of AsyncAPI 2": lambda document: document["operations"]["receiveOrders"].update(action="subscribe"),
    "a channel that is no reference": lambda document: document["operations"]["receiveOrders"].update(channel="orders"),
    "an unknown key": lambda document: document["channels"]["orders"].update(subscribe={}),
    "version 2": lambda document: document.update(asyncapi="2.6.0"),
    "a wrong binding": lambda document: document["channels"]["orders"]["bindings"]["kafka"].update(partitions="x"),
}


@pytest.mark.parametrize("name", _BREAKS)
def test_the_asyncapi_validator_can_say_no(name: str) -> None:
    document = copy.deepcopy(asyncapi())
    _BREAKS[name](document)
    with pytest.raises(ValueError, match="validation error"):
        AsyncAPI3.model_validate(document)


def test_every_topic_and_type_is_in_the_asyncapi_document() -> None:
    document = asyncapi()
    assert (
        list(document["channels"]) == [channel["address"] for channel in document["channels"].values()] == list(TOPICS)
    )
    said = {
        message["name"]: topic
        for topic, channel in document["channels"].items()
        for message in (_resolve(document, one["$ref"]) for one in channel["messages"].values())
    }
    assert said == {type_name(record): topic for topic, records in TOPICS.items() for record in records}
    assert len(document["operations"]) == len(TOPICS)
    assert all(message["summary"] for message in document["components"]["messages"].values())


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_what_is_encoded_is_valid(name: str) -> None:
    validator = _validator(EVENT_TYPES[name].__name__)

    @settings(max_examples=20, deadline=None)
    @given(events(name))
    def check(event: Event) -> None:
        validator.validate(json.loads(msgspec.json.encode(event)))

    check()


@settings(max_examples=40, deadline=None)
@given(events())
def test_an_event_is_valid_in_its_topic_only(event: Event) -> None:
    document = json.loads(msgspec.json.encode(event))
    _VALIDATOR.validate(document)
    fitting = [topic for topic in TOPICS if _validator(f"{topic.capitalize()}Topic").is_valid(document)]
    assert [type_name(record) for record in TOPICS[fitting[0]]].count(type_name(event)) == len(fitting) == 1


def test_every_pattern_means_the_same_in_python_and_in_ecma_262() -> None:
    """The decoder has no rule of its own for patterns: Python's `$` and `\\d` are laxer than ECMA 262's."""
    patterns = set(re.findall(r'"pattern": ("[^\n]*"),?\n', json.dumps(json_schema(), indent=1)))
    assert len(patterns) == 2
    for pattern in map(json.loads, patterns):
        assert re.fullmatch(r"\^[^$]*\$\(\?!\\n\)", pattern), pattern
        assert not re.search(r"\\[dwsbDWSB]", pattern), pattern


@pytest.mark.parametrize("bad", SCHEMA, ids=lambda bad: bad.name)
def test_what_the_decoder_refuses_the_schema_refuses(bad: Bad) -> None:
    """Where JSON Schema can't say it, the table gives the reason; then it must indeed be let through."""
    assert _VALIDATOR.is_valid(json.loads(bad.raw)) is bool(bad.not_in_schema)


def test_export_writes_checks_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    run = CliRunner().invoke
    written = run(schema_command, ["export", "--out", str(out)])
    assert written.exit_code == 0, written.output
    assert written.output.count("wrote") == 2
    assert {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()} == documents()
    assert run(schema_command, ["export", "--out", str(out), "--check"]).exit_code == 0
    (out / "asyncapi.json").write_text("{}", encoding="utf-8")
    assert run(schema_command, ["export", "--out", str(out), "--check", "--format", "json-schema"]).exit_code == 0
    stale = run(schema_command, ["export", "--out", str(out), "--check"])
    assert isinstance(stale.exception, AndonError)
    assert str(out / "asyncapi.json") in str(stale.exception)
    assert (out / "asyncapi.json").read_text(encoding="utf-8") == "{}", "--check writes nothing"


def test_export_of_one_format(tmp_path: Path) -> None:
    assert CliRunner().invoke(schema_command, ["export", "--out", str(tmp_path), "--format", "asyncapi"]).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["asyncapi.json"]
    occupied = CliRunner().invoke(schema_command, ["export", "--out", str(tmp_path / "asyncapi.json" / "x")])
    assert isinstance(occupied.exception, AndonError)


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _resolve(document: Any, reference: str) -> Any:  # noqa: ANN401 - a JSON document
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def _check_references(document: dict[str, Any]) -> None:
    found = set(_references(document))
    assert found
    for reference in found:
        assert _resolve(document, reference), reference
