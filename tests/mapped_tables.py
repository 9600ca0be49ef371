"""Small tables through small mappings, for the tests of both."""

import json
from pathlib import Path

import msgspec

from schemas.adapters.mapping import Mapping, read_mapping
from schemas.adapters.tabular import MappedMessage, RefusedRow, TabularSource
from schemas.events import Event

HEAD = """
[mapping]
name = "t"
source = "s1"
system = "oms"
"""
APPROVED = """
[[event]]
type = "order.approved"
id = "{@row}"
[event.set]
order_id = "{order}"
"""


def mapping_of(text: str) -> Mapping:
    read = read_mapping(HEAD + text, "t.toml")
    assert read.problems == ()
    assert read.value is not None
    return read.value


def source_of(folder: Path, mapping: str, table: str | bytes, name: str = "t.csv") -> TabularSource:
    path = folder / name
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    return TabularSource(mapping_of(mapping), str(path))


def events_of(source: TabularSource) -> list[dict[str, object]]:
    """The events, each valid under the contract; nothing may be refused."""
    out = []
    for message in source.messages():
        assert isinstance(message, MappedMessage), message
        msgspec.json.decode(message.raw, type=Event)
        out.append(json.loads(message.raw))
    return out


def refused_of(source: TabularSource) -> list[tuple[str, str, str]]:
    return [(m.reason, m.path, m.detail) for m in source.messages() if isinstance(m, RefusedRow)]
