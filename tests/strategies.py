"""Hypothesis strategies of valid events, made from the types: a new type or field is covered at once."""

import re
from datetime import UTC, datetime, timedelta, timezone
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from schemas.events import EVENT_TYPES, Event, EventBase, Id

_WORDS = st.sampled_from(["o-1", "o-2", "SKU-1", "DC1", "wms-eu1", "Köln", "x" * 128, "é" * 64, "\x00", '"\\'])
_OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def times() -> st.SearchStrategy[datetime]:
    """Aware times with whole-minute offsets that exist in UTC."""
    within = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29))  # noqa: DTZ001 - the zone is drawn apart
    return st.builds(lambda moment, zone: moment.replace(tzinfo=zone), within, st.just(UTC) | _OFFSETS)


def _texts(meta: msgspec.Meta, *, is_id: bool) -> st.SearchStrategy[str]:
    if meta.pattern:
        exact = re.compile(meta.pattern, re.ASCII)
        drawn = st.from_regex(exact, fullmatch=True, alphabet=st.characters(codec="ascii"))
        return drawn.filter(lambda text: not text.endswith("\n"))
    shortest, longest = meta.min_length or 0, meta.max_length
    free = st.text(st.characters(exclude_categories=["Cs"]), min_size=shortest, max_size=min(longest or 40, 40))
    return (free | _WORDS).filter(lambda text: len(text.encode()) <= 128) if is_id else free


def of_type(hint: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a type expression; one return a kind
    """Valid values of a field's type."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is type(None):
        return st.none()
    if origin in (Union, UnionType):
        return st.one_of([of_type(branch) for branch in args])
    if origin is list:
        return st.lists(of_type(args[0]), max_size=4)
    if origin is Literal:
        return st.sampled_from(args)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return record_of(hint)
    assert origin is Annotated, f"no strategy for {hint!r}"
    kind, meta = args[:2]
    if kind is str:
        return _texts(meta, is_id=hint == Id)
    if kind is datetime:
        return times()
    if kind is int:
        return st.integers(meta.ge, meta.le)
    assert kind is float, f"no strategy for {hint!r}"
    return st.floats(meta.ge, meta.le, allow_nan=False, allow_infinity=False)


def record_of(record: type[Any]) -> st.SearchStrategy[Any]:
    """Valid records: every required field, any of the optional ones."""
    hints = get_type_hints(record, include_extras=True)
    fields = {field.name: of_type(hints[field.name]) for field in msgspec.structs.fields(record)}
    return st.builds(record, **fields)


_BY_TYPE = {name: record_of(record) for name, record in EVENT_TYPES.items()}


def events(*types: str) -> st.SearchStrategy[Event]:
    """Valid events of the named types, of all types where none is named."""
    return st.sampled_from(types or tuple(_BY_TYPE)).flatmap(_BY_TYPE.__getitem__)


def time_fields(record: type[EventBase]) -> tuple[str, ...]:
    """The names of a record's own fields that hold a time."""
    hints = get_type_hints(record, include_extras=True)
    return tuple(name for name in record.__struct_fields__ if _is_time(hints[name]))


def _is_time(hint: Any) -> bool:  # noqa: ANN401 - a type expression
    if get_origin(hint) in (Union, UnionType):
        return any(_is_time(branch) for branch in get_args(hint))
    return get_origin(hint) is Annotated and get_args(hint)[0] is datetime
