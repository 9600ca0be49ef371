"""A seeded stream of messages, most of them broken: cheap mutations of valid ones, and the worst there is.

The same seed gives the same messages. A few are very large; they come once for each `messages` call.
"""

import random
import re
from collections.abc import Callable, Iterator

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed

from schemas.events import EVENT_TYPES, Event
from tests.strategies import events

_VALUE = re.compile(rb'("[a-z_]+"):("(?:[^"\\]|\\.)*"|-?[0-9][0-9.e+-]*|true|false|null)')

#: What may stand where a value stands: wrong types, extremes of each type, and what is not JSON.
TOKENS: tuple[bytes, ...] = (
    *(b"null true false 0 -0.0 1 -1 1.5 1e308 -1e308 1e999 1e15 1.0000000000000001e15 1e16 5e-324".split()),
    *(b'NaN Infinity -Infinity nul 01 1. .5 +1 0x10 1e --1 \' undefined [] {} [1] [[]] [{}] {"a":1}'.split()),
    *(b'"" "x" "12.50" "12.5000000" "-1" "1e3" "EUR" "eur" "EURO" "pick" "sale" "oms" "2" "NaN"'.split()),
    b"9" * 400,
    b"-" + b"9" * 25 + b".5",
    b'"' + b"x" * 128 + b'"',
    b'"' + b"x" * 129 + b'"',
    b'"' + "é".encode() * 64 + b'"',
    b'"' + "é".encode() * 65 + b'"',
    b'"' + b"\\u00e9" * 65 + b'"',
    b'"' + "𝄞".encode() * 33 + b'"',
    b'"' + b"t" * 5_000 + b'"',
    *(rb'"\u0000" "\ud800" "\udc00" "\ud83d\ude00" "\ud83dx" "\u12g4" "\x" "\"'.split()),
    *(rb'"12\n" "EUR\n" "\"\\/\b\f\n\r\t"'.split()),
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\xc0\x80"',
    b'"\x00"',
    b'"\n"',
    '"١٢"'.encode(),
    '"\uff25\uff35\uff32"'.encode(),
    b'"2026-11-21T06:00:00"',
    b'"2026-11-21"',
    b'"2026-11-21T06:00:00Z"',
    b'"2026-11-21 06:00:00+0100"',
    b'"2026-11-21T06:00:00.123456789Z"',
    b'"2026-02-30T06:00:00Z"',
    b'"2026-11-21T06:00:60Z"',
    b'"2026-11-21T24:00:00Z"',
    b'"2026-11-21T06:00:00+24:00"',
    b'"0000-01-01T00:00:00Z"',
    b'"0001-01-01T00:00:00Z"',
    b'"0001-01-01T00:00:00+14:00"',
    b'"9999-12-31T23:59:59.999999Z"',
    b'"9999-12-31T23:59:59-14:00"',
    b'"9999-12-31T23:59:59.9999999Z"',
    b'"10000-01-01T00:00:00Z"',
    b"1795240800",
    b"[" * 70 + b"]" * 70,
    b'{"a":' * 70 + b"1" + b"}" * 70,
    b"[" * 300 + b"]" * 300,
    b"[" * 1_200,
    *(b'"' + name.encode() + b'"' for name in EVENT_TYPES),
)

WHOLE: tuple[bytes, ...] = (
    b"",
    b" ",
    b"\x00",
    b"{",
    b"}",
    b"{}",
    b"[]",
    b"null",
    b"1",
    b'""',
    b'"type"',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b'{"type":null}',
    b'{"type":"order.created"}',
    b'{"type":["order.created"]}',
    b'{"":{}}',
    b"{}{}",
    b"{} {}",
    b"<a/>",
    b"a,b",
)


class Seed(msgspec.Struct, frozen=True):
    """A valid message and where its values are: (start of the key, start of the value, end of the value)."""

    raw: bytes
    spans: tuple[tuple[int, int, int], ...]


def valid_messages(seed: int, count: int) -> list[bytes]:
    """Encoded valid events, of all types in turn."""
    found: list[bytes] = []
    per_type = -(-count // len(EVENT_TYPES))

    for name in EVENT_TYPES:

        @hypothesis_seed(seed)
        @settings(
            max_examples=per_type,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(events(name))
        def collect(event: Event) -> None:
            found.append(msgspec.json.encode(event))

        collect()
    return found


def seeds(seed: int, count: int = 400) -> list[Seed]:
    """Valid messages with the places of their values."""
    return [
        Seed(raw, tuple((m.start(1), m.start(2), m.end(2)) for m in _VALUE.finditer(raw)))
        for raw in valid_messages(seed, count)
    ]


def _replace_value(rng: random.Random, seed: Seed) -> bytes:
    _, begin, end = rng.choice(seed.spans)
    return seed.raw[:begin] + rng.choice(TOKENS) + seed.raw[end:]


def _replace_two(rng: random.Random, seed: Seed) -> bytes:
    (_, b1, e1), (_, b2, e2) = sorted(rng.sample(seed.spans, 2))
    return seed.raw[:b1] + rng.choice(TOKENS) + seed.raw[e1:b2] + rng.choice(TOKENS) + seed.raw[e2:]


def _drop_field(rng: random.Random, seed: Seed) -> bytes:
    begin, _, end = rng.choice(seed.spans)
    if seed.raw[end : end + 1] == b",":
        end += 1
    elif seed.raw[begin - 1 : begin] == b",":
        begin -= 1
    return seed.raw[:begin] + seed.raw[end:]


def _repeat_key(rng: random.Random, seed: Seed) -> bytes:
    begin, middle, end = rng.choice(seed.spans)
    again = seed.raw[middle:end] if rng.random() < 0.3 else rng.choice(TOKENS)
    return seed.raw[:end] + b"," + seed.raw[begin:middle] + again + seed.raw[end:]


def _add_unknown(rng: random.Random, seed: Seed) -> bytes:
    return seed.raw[:-1] + b',"unknown":' + rng.choice(TOKENS) + b"}"


def _truncate(rng: random.Random, seed: Seed) -> bytes:
    return seed.raw[: rng.randrange(len(seed.raw))]


def _flip_bytes(rng: random.Random, seed: Seed) -> bytes:
    changed = bytearray(seed.raw)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _flip_bit(rng: random.Random, seed: Seed) -> bytes:
    changed = bytearray(seed.raw)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut_or_repeat(rng: random.Random, seed: Seed) -> bytes:
    begin, end = sorted((rng.randrange(len(seed.raw)), rng.randrange(len(seed.raw))))
    return seed.raw[:begin] + seed.raw[end:] if rng.random() < 0.5 else seed.raw[:end] + seed.raw[begin:]


def _append(rng: random.Random, seed: Seed) -> bytes:
    return seed.raw + rng.choice((b" ", b"\n", b"\x00", b"}", b",", b"null", b"{}", seed.raw))


def _unchanged(_: random.Random, seed: Seed) -> bytes:
    return seed.raw


def _noise(rng: random.Random, _: Seed) -> bytes:
    return rng.choice(WHOLE) if rng.random() < 0.5 else rng.randbytes(rng.randrange(40))


_MUTATIONS: tuple[Callable[[random.Random, Seed], bytes], ...] = (
    *[_replace_value] * 8,
    *[_replace_two] * 2,
    *[_repeat_key] * 2,
    *[_flip_bit] * 2,
    *[_unchanged] * 2,
    _drop_field,
    _add_unknown,
    _truncate,
    _flip_bytes,
    _cut_or_repeat,
    _append,
    _noise,
)


def giants(seed: Seed) -> list[bytes]:
    """Messages of millions of bytes: long strings, long lists, deep nesting, more than the default limit."""
    head = seed.raw[:-1]
    return [
        head + b',"region":"' + b"r" * 10_000_000 + b'"}',
        head + b',"unknown":"' + b"u" * 10_000_000 + b'"}',
        head + b',"unknown":"' + b"u" * 17_000_000 + b'"}',
        head + b',"source":"' + b"s" * 10_000_000,
        head + b',"unknown":' + b"[" * 5_000_000,
        head + b',"unknown":' + b'{"a":' * 1_000_000,
        head + b',"unknown":[' + b"[]," * 500_000 + b"1]}",
        head + b',"unknown":' + b"9" * 1_000_000 + b"}",
        head + b',"unknown":"' + b"[" * 1_000_000 + b'"}',
        head + b',"unknown":"' + b"\\u00e9" * 1_000_000 + b'"}',
    ]


def messages(seed: int, total: int, batch: int = 1_000) -> Iterator[list[bytes]]:
    """Batches of valid, mutated and random messages, `total` in all."""
    rng = random.Random(seed)
    corpus = seeds(seed)
    yield giants(rng.choice(corpus))[:total]
    left = total - 10
    while left > 0:
        size = min(batch, left)
        yield [rng.choice(_MUTATIONS)(rng, rng.choice(corpus)) for _ in range(size)]
        left -= size
