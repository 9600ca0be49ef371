"""Problems in what a person wrote: found all at once, each with file, line, key, value and what is accepted.

`declare_document` turns parsed TOML into a typed record and, unlike a plain conversion, does not stop at the first
mistake: every unknown key, missing key and bad value of the document is one `Problem`.
"""

import difflib
import re
import tomllib
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from schemas.accepted import accepted, as_toml, branch_for, choices, decode_hook, misses, plain
from schemas.toml_lines import KeyPath, line_of

T = TypeVar("T")


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong in a file that a person wrote."""

    file: str
    key: str
    value: str
    expected: str
    line: int = 0

    def __str__(self) -> str:
        """One line: where, what is there, what is accepted."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        shown = f" = {self.value}" if self.value else ""
        return f"{where}: {self.key}{shown}: {self.expected}"


class Declared(msgspec.Struct, Generic[T], frozen=True):
    """What reading a declaration gave: the value where it is usable, every problem found, and where it has mistakes.

    `wrong` are the paths of mistakes of type; where a key is unknown, also that of the one that is probably meant.
    `left` is the value without them, where that was asked for: to be looked at, not used.
    """

    value: T | None
    problems: tuple[Problem, ...]
    wrong: frozenset[KeyPath] = frozenset()
    left: T | None = None


def parse_toml(text: str, file: str) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """The document, or why it is not TOML (the parser tells of the first mistake only)."""
    try:
        return tomllib.loads(text), ()
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        said = str(error)[: found.start()] if found else str(error)
        line = int(found[1]) if found and found[1] else len(text.splitlines())
        return {}, (Problem(file, "TOML syntax", "", said, line),)
    except RecursionError:
        return {}, (Problem(file, "TOML syntax", "", "lists and tables are too deep within one another"),)


def declare_document(document: dict[str, Any], kind: type[T], file: str, text: str = "") -> Declared[T]:
    """Read a parsed document (of settings with the environment on top) as a record of type `kind`.

    All problems are collected; with any, `value` is None. `text` is what `file` holds, for the lines. Cost: one pass.
    """
    walk = _Walk(file, text)
    walk.value(document, kind, ())
    if walk.problems:
        return Declared(None, tuple(walk.problems), frozenset(walk.wrong))
    return Declared(msgspec.convert(document, kind, dec_hook=decode_hook), ())


def path_text(path: KeyPath) -> str:
    """`("handoff", 2, "deadline")` as `handoff[2].deadline`; names that TOML quotes are quoted."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[@\w-]+", part) else f'"{part}"'
            out += f".{name}" if out else name
    return out or "document"


def did_you_mean(wrong: str, names: Sequence[str]) -> str:
    """`; did you mean 'wms'?` where one of `names` is near, else nothing."""
    near = difflib.get_close_matches(wrong, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


class _Walk:
    """Checks values against types, going into records, lists and tables; what does not fit is a problem."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self.problems: list[Problem] = []
        self.wrong: list[KeyPath] = []

    def value(self, value: object, declared: Any, path: KeyPath) -> None:  # noqa: ANN401 - a type expression
        kind = branch_for(value, declared)
        bare = plain(kind)
        before = len(self.problems)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct) and isinstance(value, dict):
            self._record(value, bare, path)
        elif get_origin(bare) in (list, tuple) and isinstance(value, list):
            for index, element in enumerate(value):
                self.value(element, get_args(bare)[0], (*path, index))
        elif get_origin(bare) is dict and isinstance(value, dict):
            for key, element in value.items():
                self.value(key, get_args(bare)[0], (*path, key))
                self.value(element, get_args(bare)[1], (*path, key))
        if len(self.problems) > before:
            return
        try:
            made = msgspec.convert(value, kind, dec_hook=decode_hook)
            if misses(kind, made):
                self._add(path, value, accepted(declared, value, ""))
        except (msgspec.ValidationError, ValueError) as error:
            known = choices(bare)
            near = did_you_mean(value, known) if isinstance(value, str) else ""
            self._add(path, value, accepted(declared, value, str(error)) + near)

    def _record(self, value: dict[str, object], kind: type[msgspec.Struct], path: KeyPath) -> None:
        hints = get_type_hints(kind, include_extras=True)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for key, element in value.items():
            if key in fields:
                self.value(element, hints[fields[key].name], (*path, key))
                continue
            near = difflib.get_close_matches(key, fields, n=1)
            self.wrong += [(*path, name) for name in near if name not in value]
            hint = f"did you mean {near[0]!r}?" if near else f"accepted here: {', '.join(sorted(fields))}"
            self._add((*path, key), None, f"unknown key; {hint}")
        for name, field in fields.items():
            if field.required and name not in value and (*path, name) not in self.wrong:
                self._add((*path, name), None, "is missing and has no default")

    def _add(self, path: KeyPath, value: object, expected: str) -> None:
        self.wrong.append(path)
        shown = "" if value is None or isinstance(value, dict) else as_toml(value)
        self.problems.append(Problem(self._file, path_text(path), shown, expected, line_of(self._text, path)))
