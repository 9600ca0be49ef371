"""On which line each key of a TOML document stands; `tomllib` gives the values without their places."""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeAlias

#: Keys and, inside lists, the numbers of elements: `("handoff", 2, "start", "type")`.
KeyPath: TypeAlias = tuple[str | int, ...]

_GAP = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*(?:(?P<bare>[A-Za-z0-9_-]+)|(?P<quoted>"(?:[^"\\\n]|\\.)*"|'[^'\n]*'))[ \t]*""")
_TEXT = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'", re.DOTALL)
_PLAIN = re.compile(r"[^,\]}#\n]*")


def line_of(text: str, path: KeyPath) -> int:
    """The line (from 1) of what is at `path` or, where nothing is, of the innermost table or list around it.

    0 where that is the whole document, or `text` is not TOML.
    """
    lines = _lines(text)
    return next((lines[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in lines), 0)


@lru_cache(maxsize=8)
def _lines(text: str) -> dict[KeyPath, int]:
    return _Places(text).lines


class _NotTomlError(Exception):
    """The document is not what the scanner takes it for; what was found so far stands."""


class _Places:
    """One walk over a document. Takes more than TOML does: that it is TOML is `tomllib`'s to say."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._tables: dict[KeyPath, int] = {}
        self.lines: dict[KeyPath, int] = {}
        try:
            self._document()
        except (_NotTomlError, RecursionError):
            return

    def _document(self) -> None:
        table: KeyPath = ()
        while self._more():
            if self._text.startswith("[", self._at):
                many = self._text.startswith("[[", self._at)
                self._at += 1 + many
                table = self._header(tuple(self._keys()), many=many)
                self._at += 1 + many
            else:
                self._pair(table)

    def _header(self, names: KeyPath, *, many: bool) -> KeyPath:
        """Note a table; the path it has, with the number of the element where tables are in lists."""
        path: KeyPath = ()
        for depth, name in enumerate(names, 1):
            path = (*path, name)
            self._note(path)
            if many and depth == len(names):
                self._tables[path] = self._tables.get(path, -1) + 1
            if path in self._tables:
                path = (*path, self._tables[path])
                self._note(path)
        return path

    def _pair(self, table: KeyPath) -> None:
        path = table
        for name in self._keys():
            path = (*path, name)
            self._note(path)
        if not self._text.startswith("=", self._at):
            raise _NotTomlError
        self._at += 1
        self._gap()
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at : self._at + 1]
        if first in ("[", "{"):
            self._at += 1
            index = 0
            while self._more() and self._text[self._at] not in "]}":
                if first == "{":
                    self._pair(path)
                    continue
                self._note((*path, index))
                self._value((*path, index))
                index += 1
            self._at += 1
            return
        found = _TEXT.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
        if found is None or found.end() == self._at:
            raise _NotTomlError
        self._at = found.end()

    def _keys(self) -> Iterator[str]:
        while True:
            found = _KEY.match(self._text, self._at)
            if found is None:
                raise _NotTomlError
            self._at = found.end()
            yield found["bare"] or tomllib.loads(f"key = {found['quoted']}")["key"]
            if not self._text.startswith(".", self._at):
                return
            self._at += 1

    def _more(self) -> bool:
        self._gap()
        return self._at < len(self._text)

    def _gap(self) -> None:
        found = _GAP.match(self._text, self._at)
        self._at = found.end() if found is not None else self._at

    def _note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, bisect_right(self._starts, self._at))
