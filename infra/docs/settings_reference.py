"""docs/settings-reference.md: every setting, and every table that settings nest, from the types.

A type (`msgspec.Struct`) is a section: its docstring, then its keys with what they accept and their defaults. One that
is used in many places (a rate rule) stands there once.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec
from markdown import table

from dataflows.settings import Settings, variable_of
from operators.detectors.bounds import limits
from schemas.accepted import accepts, as_toml, plain
from schemas.durations import Duration

_HEAD = """# Every setting, from the types

Written by `infra/docs/build.py` from the types that settings are read into. What each key is for, with examples, stands
in [settings](settings.md); the thresholds of detectors with their defaults by family are listed in
[every threshold](detectors/thresholds.md).

A key of a section is also a variable, `ANDON_SECTION_KEY`, named in the last column. Tables inside a section have none
for their own keys: the variable takes the whole table, written as in TOML. `required` is said of keys without a
default. A table that is used in several places (`as …`) stands here once, with the defaults of its type; a place may
have others, which [every threshold](detectors/thresholds.md) has.
"""
_DURATION = re.compile(re.escape(Duration.ACCEPTS))


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    told: dict[type, str] = {}
    for section in msgspec.structs.fields(Settings):
        yield f"\n## `[{section.name}]`\n\n{_prose(section.type)}\n\n"
        rows, nested = [], []
        for key in msgspec.structs.fields(section.type):
            record = _record(key.type)
            if record:
                nested.append((f"{section.name}.{key.encode_name}", record, _is_list(key.type)))
            variable = f"`{variable_of(section.name, key.encode_name)}`"
            accepted = _accepted(key.type, f"{section.name}.{key.encode_name}")
            rows.append((f"`{key.encode_name}`", accepted, _default(key), variable))
        yield table(("key", "accepted", "default", "variable"), rows)
        yield from _nested(nested, told)


def _nested(nested: list[tuple[str, type, bool]], told: dict[type, str]) -> Iterator[str]:
    while nested:
        path, record, many = nested.pop(0)
        name = f"[[{path}]]" if many else f"[{path}]"
        if record in told:
            continue
        told[record] = name
        yield f"\n### `{name}`\n\n{_prose(record)}\n\n"
        rows = []
        for key in msgspec.structs.fields(record):
            inner = _record(key.type)
            if inner is not None and inner not in told:
                nested.append((f"{path}.{key.encode_name}", inner, _is_list(key.type)))
            of = f" as `{told[inner]}`" if inner in told else ""
            accepted = _accepted(key.type, f"{path}.{key.encode_name}")
            rows.append((f"`{key.encode_name}`", accepted + of, _default(key)))
        yield table(("key", "accepted", "default"), rows)


def _record(kind: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401 - a type expression
    """The record that a key is a table, or a list of tables, of."""
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one
    return None


def _is_list(kind: Any) -> bool:  # noqa: ANN401 - a type expression
    return get_origin(kind) in (list, tuple)


def _accepted(kind: Any, path: str) -> str:  # noqa: ANN401 - a type expression
    record = _record(kind)
    if record:
        return "tables" if _is_list(kind) else "a table"
    bare = plain(kind)
    inner = [one for one in get_args(bare) if one is not ...] if get_origin(bare) in (list, tuple, dict) else []
    words = accepts(kind)
    if inner:
        words += ": " + ", each ".join(accepts(one) for one in inner)
    if path.startswith("detectors."):
        words = f"{words} {limits(path.removeprefix('detectors.'), bare)}".rstrip()
    return _DURATION.sub("a duration", words).replace("a duration, longer", "a duration longer")


def _default(key: msgspec.structs.FieldInfo) -> str:
    value = key.default
    if value is msgspec.NODEFAULT and key.default_factory is not msgspec.NODEFAULT:
        value = key.default_factory()
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, msgspec.Struct):
        return "its own"
    return f"`{as_toml(value.written) if isinstance(value, Duration) else _whole(value)}`"


def _whole(value: object) -> str:
    """As it stands in TOML, however long."""
    if isinstance(value, str | float | bool) or value in ([], {}):
        return as_toml(value)
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def _prose(record: type) -> str:
    return inspect.cleandoc(record.__doc__ or "")
