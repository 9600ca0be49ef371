"""Raw messages to events, in batches: each message is either an event or a fault, and nothing is raised.

The contract itself is in the types of `schemas.events`; here is what a type can't say: ids are limited in
bytes, a time exists in UTC, nesting and size have a limit, and the whole message is UTF-8, ignored fields
included.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from schemas.events import EVENT_TYPES, Event, EventBase, Id
from schemas.lines import Lines

#: Objects and arrays within one another. The deepest known field is at 3; without a limit of our own, whether
#: a message can be read would hang on the interpreter's stack at that moment: a replay could judge otherwise.
MAX_NESTING: Final = 256
MAX_ID_BYTES: Final = 128
_MAX_DETAIL = 300
_HEAD_BYTES = 65_536
#: So many messages are tried together, and so many looked at together for what may be odd.
_CHUNK, _LARGE_CHUNK = 64, 512
_SURELY_SHALLOW = 2 * MAX_NESTING

Reason: TypeAlias = Literal["transport", "schema", "rule"]
Finding: TypeAlias = tuple[str, str]


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Why a message is not an event.

    `reason` is `transport` (not readable as UTF-8 JSON) or `schema` (breaks the contract); later stages add
    `rule`. `path` is the offending field, `$.lines[0].qty`, or `$` for the message as a whole. `source` and
    `channel` are what the message says, as far as it can be read, else "".
    """

    reason: Reason
    path: str
    detail: str
    source: str
    channel: str


class EventDecoder:
    """Decode messages of the contract.

    Holds no state between batches. Cost: little more than msgspec's own decoding for plain ASCII messages;
    one that has other characters, an escape or the calendar's first or last day is judged a second time, for
    what types can't say (2 to 5 times the cost); a fault costs some ten times what an event does.
    """

    def __init__(self, *, max_message_bytes: int = 16 * 1024 * 1024) -> None:
        self._max_message_bytes = max_message_bytes
        decoder = msgspec.json.Decoder(Event)
        self._decode, self._decode_lines = decoder.decode, decoder.decode_lines

    def decode(self, raws: Sequence[bytes]) -> list[Event | Fault]:
        """An event or a fault for each message, in order. Never raises."""
        out: list[Event | Fault] = []
        for begin in range(0, len(raws), _LARGE_CHUNK):
            large = raws[begin : begin + _LARGE_CHUNK]
            clean = not self._is_suspect(b"".join(large))
            for start in range(0, len(large), _CHUNK):
                chunk = large[start : start + _CHUNK]
                suspect = not clean and self._is_suspect(b"".join(chunk))
                if not suspect and not _any_too_deep(chunk):
                    try:
                        out += list(map(self._decode, chunk))
                    except Exception:  # noqa: BLE001, S110 - one of them is no event: which, is seen one by one
                        pass
                    else:
                        continue
                self._decode_chunk(chunk, suspect=suspect, out=out)
        return out

    def decode_lines(self, lines: Lines) -> list[Event | Fault]:
        """The same of lines of one text, most of them without cutting them out of it.

        Where each of some lines begins and ends as an object does, and as many objects are read from them together,
        each of them is one: none goes over a line break between brackets that close and open (a comma would have to
        stand there), and no text within one holds a line break as it is.
        """
        out: list[Event | Fault] = []
        odd = {place // _CHUNK for place in lines.no_objects()}
        odd |= {place // _CHUNK for place in lines.longer(_SURELY_SHALLOW) if _nested_too_deep(lines[place])}
        clean = not self._is_suspect(lines.span())
        for number, (begin, end, count) in enumerate(lines.chunks(_CHUNK)):
            text = lines.text[begin:end]
            suspect = not clean and self._is_suspect(text)
            if not suspect and number not in odd:
                try:
                    found = self._decode_lines(text)
                except Exception:  # noqa: BLE001 - one of them is no event: which, is seen one by one
                    found = []
                if len(found) == count:
                    out += found
                    continue
            start = number * _CHUNK
            self._decode_chunk(list(lines[start : start + count]), suspect=suspect, out=out)
        return out

    def _decode_chunk(self, raws: Sequence[bytes], *, suspect: bool, out: list[Event | Fault]) -> None:
        """Decode and judge one by one."""
        decode, append = self._decode, out.append
        for raw in raws:
            try:
                event = decode(raw)
                if (suspect and self._is_suspect(raw)) or (len(raw) > _SURELY_SHALLOW and _nested_too_deep(raw)):
                    append(self._careful(raw, event))
                else:
                    append(event)
            except Exception as error:  # noqa: BLE001 - whatever one message does, the others must still be read
                append(self._fault(raw, error))

    def _is_suspect(self, raw: bytes) -> bool:
        """Whether there may be something here that types don't judge; cheap when asked of many at once."""
        return (
            not raw.isascii()
            or b"\\" in raw
            or _has_last_day(raw)
            or (b"+" in raw and b"0001-01-01" in raw)  # only east of Greenwich was it a day earlier in UTC
            or len(raw) > self._max_message_bytes
        )

    def _careful(self, raw: bytes, event: Event) -> Event | Fault:
        """Judge what the types let pass."""
        problem = unreadable(raw, self._max_message_bytes)
        if problem:
            return _make_fault("transport", ("$", problem), raw)
        broken = next(_broken(event, _RULES[type(event)], "$"), None)
        return event if broken is None else _make_fault("schema", broken, raw)

    def _fault(self, raw: bytes, error: Exception) -> Fault:
        problem = unreadable(raw, self._max_message_bytes)
        hint = _NO_ARRAYS if _of_an_array(raw) else ""
        if problem:
            return _make_fault("transport", ("$", problem + hint), raw)
        if isinstance(error, msgspec.ValidationError):
            path, detail = locate(str(error))
            return _make_fault("schema", (path, detail + hint), raw)
        return _make_fault("transport", ("$", str(error)), raw)


# --- what an error of the decoder means --------------------------------------------------------------------

_AT = re.compile(r"^(?P<what>.*) - at `(?P<path>\$[^`]*)`$", re.DOTALL)
_NAMED_FIELD = re.compile(r"^Object missing required field `(?P<field>[^`]+)`$")
_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = (
    (_NAMED_FIELD, "is missing"),
    (re.compile(r"^Expected `datetime` with a timezone component$"), "time without zone"),
    (re.compile(r"^Invalid RFC3339 encoded datetime$"), "not an RFC 3339 time"),
    (
        re.compile(r"^Invalid (?:enum )?value (?P<value>.*)$", re.DOTALL),
        "{value} is not a value of the contract",
    ),
    (re.compile(r"^Number out of range$"), "number out of range"),
    (re.compile(r"^Expected (?P<want>.*), got (?P<got>.*)$", re.DOTALL), "must be {want}, is {got}"),
    (re.compile(r"^Expected (?P<want>.*)$", re.DOTALL), "must be {want}"),
)


def locate(message: str) -> Finding:
    """The path and a readable detail of a msgspec validation message."""
    at = _AT.match(message)
    what, path = (at["what"], at["path"]) if at else (message, "$")
    for pattern, phrase in _PHRASES:
        found = pattern.match(what)
        if found is None:
            continue
        parts = found.groupdict()
        if "field" in parts:
            path = f"{path}.{parts['field']}"
        return path, phrase.format(**parts).replace("`", "")
    return path, what.replace("`", "")


#: What programs make that write all their events as one JSON document, on one line or many.
_NO_ARRAYS = "; a message is one event: of an array of events, each is to be a message (in a file: a line) of its own"


def _of_an_array(raw: bytes) -> bool:
    """Whether a message that is no event is an array of objects, or a line of one that goes over many."""
    text = raw.strip()
    if text.startswith(b"["):
        return text[1:].lstrip()[:1] in (b"{", b"]", b"")
    return text == b"]" or (text.startswith(b"{") and text.endswith(b"},")) or text.startswith(b",{")


def _make_fault(reason: Reason, finding: Finding, raw: bytes) -> Fault:
    path, detail = finding
    return Fault(reason, path, _clip(detail, _MAX_DETAIL), _said(raw, _SOURCE), _said(raw, _CHANNEL))


_SOURCE = re.compile(rb'"source"\s*:\s*"((?:[^"\\]|\\.)*)"')
_CHANNEL = re.compile(rb'"channel"\s*:\s*"((?:[^"\\]|\\.)*)"')


def _said(raw: bytes, pattern: re.Pattern[bytes]) -> str:
    """What the message gives for a field, even where the message as a whole can't be read."""
    found = pattern.search(raw, 0, _HEAD_BYTES)
    if found is None:
        return ""
    try:
        text = msgspec.json.decode(b'"%b"' % found[1], type=str)
    except ValueError:
        text = found[1].decode("utf-8", "replace")
    return _clip(text, MAX_ID_BYTES)


def _clip(text: str, length: int) -> str:
    kept = text if len(text) <= length else text[: length - 1] + "…"
    return kept.encode("utf-8", "replace").decode()


_LAST_DAY = b"9999-12-31"
#: What the last day is made of, two bytes at a time: begun at an even place, and at an odd one.
_NINES = int.from_bytes(b"99", "little")
_EVEN, _ODD = ([int.from_bytes(pair, "little") for pair in pairs] for pairs in ((b"99", b"-1"), (b"9-", b"12")))
#: In a shorter text the search letter by letter is faster.
_LONG_TEXT = 4_096


def _has_last_day(text: bytes) -> bool:
    """Whether the calendar's last day may be in `text`.

    Letter by letter the search would cost a tenth of what decoding costs, since dates and ids are full of its letters.
    """
    if len(text) < _LONG_TEXT:
        return _LAST_DAY in text
    pairs = np.frombuffer(text, "<u2", len(text) // 2)
    at = np.flatnonzero(pairs[:-2] == _NINES)
    second, third = pairs[at + 1], pairs[at + 2]
    found = ((second == _EVEN[0]) & (third == _EVEN[1])) | ((second == _ODD[0]) & (third == _ODD[1]))
    return bool(found.any())


# --- is it JSON at all -------------------------------------------------------------------------------------

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_syntax = msgspec.json.Decoder(msgspec.Raw).decode


def unreadable(raw: bytes, limit: int) -> str:
    """Why `raw` (at most `limit` bytes) can't be read as one UTF-8 JSON value, or ""."""
    if not raw.strip():
        return "empty message"
    if len(raw) > limit:
        return f"{len(raw)} bytes, more than the limit of {limit}"
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8 at byte {error.start}: {error.reason}"
    if _nested_too_deep(raw):
        return f"nested deeper than {MAX_NESTING}"
    try:
        _syntax(raw)
    except ValueError as error:
        return str(error)
    return ""


def _nested_too_deep(raw: bytes) -> bool:
    if raw.count(b"{") + raw.count(b"[") <= MAX_NESTING:
        return False
    depth = 0
    for bracket in _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_NESTING:
            return True
    return False


def _any_too_deep(raws: Sequence[bytes]) -> bool:
    """Whether one is nested too deep; cheap where none is long."""
    if max(map(len, raws)) <= _SURELY_SHALLOW:
        return False
    return any(_nested_too_deep(raw) for raw in raws if len(raw) > _SURELY_SHALLOW)


# --- what types can't say, found in the types --------------------------------------------------------------


class _Rule(msgspec.Struct, frozen=True):
    """What a field has to meet, or the records and ids that it holds."""

    field: str
    is_id: bool = False
    is_time: bool = False
    many: bool = False
    record: "tuple[_Rule, ...]" = ()


def _rules_of(record: type[msgspec.Struct]) -> tuple[_Rule, ...]:
    hints = get_type_hints(record, include_extras=True)
    rules = (_rule_of(name, hints[name]) for name in record.__struct_fields__)
    return tuple(rule for rule in rules if rule is not None)


def _rule_of(field: str, hint: Any, *, many: bool = False) -> _Rule | None:  # noqa: ANN401 - a type expression
    rule = None
    if get_origin(hint) in (Union, UnionType):
        branches = (_rule_of(field, branch, many=many) for branch in get_args(hint))
        rule = next((branch for branch in branches if branch is not None), None)
    elif get_origin(hint) is list:
        rule = _rule_of(field, get_args(hint)[0], many=True)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        rule = _Rule(field, many=many, record=_rules_of(hint))
    elif hint == Id:
        rule = _Rule(field, is_id=True, many=many)
    elif get_origin(hint) is Annotated and get_args(hint)[0] is datetime:
        rule = _Rule(field, is_time=True, many=many)
    return rule


def _broken(record: msgspec.Struct, rules: tuple[_Rule, ...], path: str) -> Iterator[Finding]:
    for rule in rules:
        held = getattr(record, rule.field)
        if held is None:
            continue
        where = f"{path}.{rule.field}"
        values = [(f"{where}[{index}]", one) for index, one in enumerate(held)] if rule.many else [(where, held)]
        for at, value in values:
            if rule.record:
                yield from _broken(value, rule.record, at)
            elif rule.is_id and len(value.encode()) > MAX_ID_BYTES:
                yield at, f"must be at most {MAX_ID_BYTES} bytes of UTF-8, is {len(value.encode())}"
            elif rule.is_time and not _has_utc(value):
                yield at, "outside of the years 1 to 9999 in UTC"


def _has_utc(moment: datetime) -> bool:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return False
    return True


_RULES: dict[type[EventBase], tuple[_Rule, ...]] = {record: _rules_of(record) for record in EVENT_TYPES.values()}
