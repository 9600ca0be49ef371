"""Foreign records written to a file and read through an adapter, for the tests of all of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from schemas.adapters.records import Adapter, RecordSource
from schemas.adapters.tabular import MappedMessage, RefusedRow
from schemas.events import Event

Record = dict[str, Any]


def source_of(adapter: Adapter, folder: Path, *records: object) -> RecordSource:
    """A file of one record a line; a record that is bytes is written as it is."""
    path = folder / "records.jsonl"
    path.write_bytes(b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records))
    return RecordSource(adapter, str(path))


def events_of(source: RecordSource) -> list[Record]:
    """The events, each valid under the contract; nothing may be refused."""
    out = []
    for message in source.messages():
        assert isinstance(message, MappedMessage), message
        msgspec.json.decode(message.raw, type=Event)
        out.append(json.loads(message.raw))
    return out


def refused_of(source: RecordSource) -> list[tuple[str, str, str]]:
    """(reason, path, detail) of what is refused; there may be no event besides."""
    refused = list(source.messages())
    assert all(isinstance(one, RefusedRow) for one in refused), refused
    return [(one.reason, one.path, one.detail) for one in refused if isinstance(one, RefusedRow)]


def check_taken_whole(adapter: Adapter, raw: bytes, folder: Path) -> None:
    """A record, given twice: events that the contract takes, one dead letter, or a count; both times the same."""
    source = source_of(adapter, folder, 0, raw, raw)  # what follows a line that is JSON is lines
    messages = list(source.messages())[1:]
    made = [one for one in messages if isinstance(one, MappedMessage)]
    refused = [one for one in messages if isinstance(one, RefusedRow)]
    of_one = {kind: [one for one in messages if one.offset // 1000 == kind] for kind in (2, 3)}
    for one in made:
        msgspec.json.decode(one.raw, type=Event)
    assert [one.raw for one in of_one[2]] == [one.raw for one in of_one[3]]
    assert all(one.path.startswith("$") and one.detail and one.raw.strip() in raw for one in refused)
    if source.rows_read == 1:
        assert b"[]" in raw or not raw.strip()  # a document of no events, or a blank line
        return
    taken = {1: bool(made), 2: bool(refused), 3: bool(source.rows_skipped)}
    assert list(taken.values()).count(True) == 1, messages
    assert len(refused) in (0, 2)
    assert source.rows_read == 3


def without(record: Record, *names: str) -> Record:
    """The events' own fields: what every event of a source has is left out."""
    return {name: value for name, value in record.items() if name not in names}


def digest(events: list[Record]) -> str:
    """A short name for exactly these events."""
    return hashlib.sha256(json.dumps(events, sort_keys=True).encode()).hexdigest()[:12]


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=200),
    st.sampled_from(["", "0", "-1", "é" * 100, "9" * 40, "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59"]),
    st.just([]),
    st.just({}),
    st.just(10**30),
)


@st.composite
def spoilt(draw: st.DrawFn, records: list[Record]) -> bytes:
    """One of `records` with up to three of its values dropped or replaced, or with a few of its bytes changed."""
    record = json.loads(json.dumps(draw(st.sampled_from(records))))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(record))
        holder, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(["drop", "replace", "replace"]))
        if change == "drop":
            del holder[key]
        else:
            holder[key] = draw(_VALUES)
        if not record:
            break
    raw = bytearray(json.dumps(record, ensure_ascii=draw(st.booleans())).encode())
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(raw) - 1))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3)).replace(b"\n", b" ").replace(b"\r", b" ")
    return bytes(raw)


def _places(value: Any) -> Any:  # noqa: ANN401 - JSON
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
