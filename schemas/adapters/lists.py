"""Cells that hold a list: `["a","b"]` as JSON or Python write it, or `a|b` with a separator."""

import ast
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from schemas.adapters.fields import remembered

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_BEGINS_NUMBER = [b"-", *(b"%d" % digit for digit in range(10))]

ListReader: TypeAlias = Callable[[str], list[str]]


def list_reader(separator: str) -> ListReader:
    """A reader of the entries of a cell, in order, without empty ones.

    Without a separator the cell is a list in square brackets, or one entry. The reader raises ValueError, in
    words, for a bracket that does not hold a list of plain values.
    """
    if separator:
        return remembered(lambda text: [entry for part in text.split(separator) if (entry := part.strip())])
    return remembered(_brackets)


def _brackets(text: str) -> list[str]:
    if not text:
        return []
    if not text.startswith("["):
        return [text]
    entries = _loaded(text)
    if not isinstance(entries, list) or any(isinstance(entry, list | dict | tuple | set) for entry in entries):
        raise ValueError(f"{text[:60]!r} is not a list of plain values")
    return [shown for entry in entries if entry is not None and (shown := _shown(entry))]


def _loaded(text: str) -> object:
    try:
        return [_entry(bytes(raw)) for raw in _split(text)]
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _entry(raw: bytes) -> object:
    """An entry of a JSON list; a number as it is written, since ids may have more digits than are kept of one."""
    return raw.decode() if raw[:1] in _BEGINS_NUMBER else msgspec.json.decode(raw)


def _shown(entry: object) -> str:
    return str(entry).lower() if isinstance(entry, bool) else str(entry).strip()
