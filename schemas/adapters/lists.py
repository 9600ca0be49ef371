"""Cells that hold a list: `["a","b"]` as JSON or Python write it, or `a|b` with a separator."""

import ast
from collections.abc import Callable
from typing import TypeAlias

import orjson

from schemas.adapters.fields import remembered

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
        return orjson.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _shown(entry: object) -> str:
    return str(entry).lower() if isinstance(entry, bool) else str(entry).strip()
