"""The decoder on hand-written messages: which fault, at which path, in which words; what is let through."""

import json
import random
import sys
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.decode import EventDecoder, Fault, locate
from schemas.durations import to_us
from schemas.events import EVENT_TYPES, Event, EventBase, InventoryLevel, OrderCreated, QueueDepth
from tests.bad_messages import BAD_MESSAGES, LEVEL, ORDER, Bad
from tests.strategies import events, record_of


def _decode(raw: bytes) -> Event | Fault:
    (result,) = EventDecoder().decode([raw])
    return result


def _level(**changes: object) -> InventoryLevel:
    event = _decode(json.dumps({**LEVEL, **changes}).encode())
    assert isinstance(event, InventoryLevel), event
    return event


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: bad.name)
def test_a_bad_message_gives_its_fault(bad: Bad) -> None:
    fault = _decode(bad.raw)
    assert isinstance(fault, Fault), fault
    assert (fault.reason, fault.path) == (bad.reason, bad.path), fault
    assert bad.detail in fault.detail
    assert (fault.source, fault.channel) == (bad.source, bad.channel)


def test_every_type_is_read_and_has_a_topic() -> None:
    """A type that is read and has no topic would end the job: nobody knows which key group it goes to."""
    assert set(get_args(Event)) == set(EVENT_TYPES.values()), "a new record goes into `Event` and into `TOPICS`"


def test_good_and_bad_keep_their_places() -> None:
    good = json.dumps(LEVEL).encode()
    batch = [raw for bad in BAD_MESSAGES for raw in (good, bad.raw)] * 3
    results = EventDecoder().decode(batch)
    assert len(results) == len(batch)
    assert all(isinstance(result, InventoryLevel) for result in results[::2])
    assert all(isinstance(result, Fault) for result in results[1::2])


@settings(deadline=None)
@given(st.lists(events(), max_size=20), st.randoms(use_true_random=False))
def test_encode_and_decode_is_identity_whatever_the_neighbours(found: list[Event], rng: random.Random) -> None:
    raws = [msgspec.json.encode(event) for event in found]
    assert EventDecoder().decode(raws) == found
    mixed = [*((raw, True) for raw in raws), *((bad.raw, False) for bad in BAD_MESSAGES)]
    rng.shuffle(mixed)
    results = EventDecoder().decode([raw for raw, _ in mixed])
    assert [not isinstance(result, Fault) for result in results] == [is_good for _, is_good in mixed]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_random_bytes_never_raise(raws: list[bytes]) -> None:
    assert all(isinstance(result, Fault) for result in EventDecoder().decode(raws))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_json_in_any_field_is_an_event_or_a_schema_fault(data: st.DataObject) -> None:
    document = json.loads(msgspec.json.encode(data.draw(events())))
    for name in data.draw(st.sets(st.sampled_from(sorted(document)), min_size=1, max_size=3)):
        document[name] = data.draw(_JSON)
    raw = json.dumps(document).encode()
    result = _decode(raw)
    if not isinstance(result, Fault):
        assert _decode(msgspec.json.encode(result)) == result
    elif result.reason == "transport":
        assert rb"\ud" in raw, "only half a surrogate pair can make this unreadable"
    else:
        assert result.path != "$"


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_type_is_decoded_as_its_record(name: str) -> None:
    @settings(max_examples=15, deadline=None)
    @given(record_of(EVENT_TYPES[name]))
    def check(event: EventBase) -> None:
        raw = msgspec.json.encode(event)
        assert json.loads(raw)["type"] == name
        assert _decode(raw) == event

    check()


def test_what_is_let_through() -> None:
    assert _level(note={"free": [1, 2]}, on_hand=-0.0).on_hand == 0
    assert _level(node="D\x00C").node == "D\x00C", "NUL is a character like any other; ClickHouse takes it"
    assert _level(sku="é" * 64).sku == "é" * 64, "128 bytes are within the limit"
    assert _level(channel="é" * 128).channel == "é" * 128, "the limit in bytes is one of ids"
    assert to_us(_level(occurred_at="9999-12-31T23:59:59.999999Z").occurred_at) == 253_402_300_799_999_999
    assert to_us(_level(occurred_at="0001-01-01T00:00:00Z").occurred_at) == -62_135_596_800_000_000
    assert _level(occurred_at="2026-11-21T07:00:00+01:00") == _level(occurred_at="2026-11-21T06:00:00Z")
    assert _level(version=1) == _decode(json.dumps({k: v for k, v in LEVEL.items() if k != "version"}).encode())
    assert isinstance(_decode(json.dumps({**ORDER, "lines": []}).encode()), OrderCreated), "capture judges that"


def test_the_last_of_two_equal_keys_counts() -> None:
    raw = json.dumps(LEVEL).encode()[:-1] + b',"on_hand":9}'
    event = _decode(raw)
    assert isinstance(event, InventoryLevel)
    assert event.on_hand == 9
    assert isinstance(_decode(raw[:-1] + b',"on_hand":"9"}'), Fault), "each of them is checked"


def test_nesting_in_text_or_beside_it_is_not_depth() -> None:
    beside = [{"line_id": str(i), "sku": "S", "qty": 1} for i in range(1_000)]
    assert isinstance(_decode(json.dumps({**ORDER, "lines": beside}).encode()), OrderCreated)
    assert _level(note="[" * 5_000).sku == "S-1"
    assert _level(note='\\"' + "[" * 5_000).sku == "S-1"


def test_the_nesting_limit_does_not_hang_on_the_stack() -> None:
    raws = [json.dumps(LEVEL).encode()[:-1] + b',"x":' + b"[" * n + b"]" * n + b"}" for n in (254, 255, 256, 900)]

    def deep(left: int) -> list[Event | Fault]:
        return deep(left - 1) if left else EventDecoder().decode(raws)

    shallow = EventDecoder().decode(raws)
    assert [isinstance(result, Fault) for result in shallow] == [False, False, True, True]
    assert deep(sys.getrecursionlimit() // 2) == shallow


def test_the_size_limit() -> None:
    raw = json.dumps(LEVEL).encode()
    assert not isinstance(EventDecoder(max_message_bytes=len(raw)).decode([raw])[0], Fault)
    (fault,) = EventDecoder(max_message_bytes=len(raw) - 1).decode([raw])
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.path) == ("transport", "$")
    assert fault.detail == f"{len(raw)} bytes, more than the limit of {len(raw) - 1}"


def test_source_and_channel_are_read_as_far_as_they_can_be() -> None:
    fault = _decode(rb'{"source": "w\u00e4h\"rung", "channel": "\ud800", "type"')
    assert isinstance(fault, Fault)
    assert (fault.source, fault.channel) == ('wäh"rung', r"\ud800")
    fault = _decode(b'{"source": 5, "channel": "' + b"c" * 4_000 + b'"')
    assert isinstance(fault, Fault)
    assert (fault.source, len(fault.channel)) == ("", 128)
    fault = _decode(b'{"source": "\xff"')
    assert isinstance(fault, Fault)
    assert fault.source == "\N{REPLACEMENT CHARACTER}"


def test_a_detail_is_short() -> None:
    fault = _decode(json.dumps({**LEVEL, "type": "t" * 100_000}).encode())
    assert isinstance(fault, Fault)
    assert len(fault.detail) == 300


def test_an_unforeseen_message_of_the_library_is_kept() -> None:
    assert locate("Something `new` happened - at `$.a[1].b`") == ("$.a[1].b", "Something new happened")


def test_decoding_has_no_memory() -> None:
    decoder = EventDecoder()
    raw = msgspec.json.encode(QueueDepth(**{**_shared(), "queue": "q", "depth": 1.0}))
    assert decoder.decode([raw, b"{", raw]) == decoder.decode([raw, b"{", raw])
    assert decoder.decode([]) == []


def _shared() -> dict[str, Any]:
    event = _level()
    return {name: getattr(event, name) for name in EventBase.__struct_fields__}
