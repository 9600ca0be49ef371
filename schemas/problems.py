"""Problems in what a person wrote: found all at once, each with file, line, key, value and what is accepted.

`declare` turns TOML text into a typed record and, unlike a plain conversion, does not stop at the first
mistake: every unknown key, missing key and bad value of the document is one `Problem`.
"""

import difflib
import re
import tomllib
import types
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from schemas.durations import Duration, Instant

T = TypeVar("T")

_EXPECTED = re.compile(r"^Expected (?P<what>.+?)(?: - at `(?P<path>\$.*)`)?$")


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
    """What reading a declaration gave: the value where it is usable, and every problem found."""

    value: T | None
    problems: tuple[Problem, ...]


def declare(text: str, kind: type[T], file: str) -> Declared[T]:
    """Read TOML `text` as a record of type `kind`, collecting all problems.

    `value` is None when there are problems. Cost: one pass over the document.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found.group(1)) if found else 0
        return Declared(None, (Problem(file, "TOML syntax", "", str(error), line),))
    return declare_document(document, kind, file, text)


def declare_document(document: dict[str, Any], kind: type[T], file: str, text: str = "") -> Declared[T]:
    """As `declare`, for a document that is already parsed (settings with the environment on top)."""
    problems: list[Problem] = []
    _walk(document, kind, (), file, text, problems)
    if problems:
        return Declared(None, tuple(problems))
    try:
        return Declared(msgspec.convert(document, kind, dec_hook=decode_hook), ())
    except msgspec.ValidationError as error:
        return Declared(None, (Problem(file, "", "", str(error)),))


def decode_hook(kind: type, value: object) -> object:
    """Turn the text of a duration or an instant into its type, for msgspec."""
    if kind in (Duration, Instant):
        if not isinstance(value, str):
            raise ValueError(f"Expected {kind.ACCEPTS}, got {value!r}")
        return kind.parse(value)
    raise NotImplementedError(f"no reader for {kind!r}")  # pragma: no cover - a programming error


def line_of(text: str, path: tuple[str | int, ...]) -> int:
    """The 1-based line on which the key at `path` stands in TOML `text`, or 0 where it can't be told."""
    names = [part for part in path if isinstance(part, str)]
    if not text or not names:
        return 0
    lines = text.splitlines()
    first, last = _table_span(lines, path)
    wanted = re.compile(r"""(^|[{,\s.])["']?""" + re.escape(names[-1]) + r"""["']?\s*[.=]""")
    for number in range(first, last):
        if wanted.search(lines[number].split("#", 1)[0]):
            return number + 1
    return first if first else 0


def _table_span(lines: list[str], path: tuple[str | int, ...]) -> tuple[int, int]:
    """First and one past last line index of the innermost table header that encloses `path`."""
    seen: dict[str, int] = {}
    best, best_depth, end = 0, 0, len(lines)
    names_upto: dict[str, int] = {}
    prefix: list[str] = []
    for index, part in enumerate(path):
        if isinstance(part, str):
            prefix.append(part)
            following = path[index + 1] if index + 1 < len(path) else None
            names_upto[".".join(prefix)] = following if isinstance(following, int) else 0
    for number, line in enumerate(lines):
        header = re.match(r"^\s*\[(\[?)\s*([^\]]+?)\s*\]", line)
        if header is None:
            continue
        if best and best_depth and end == len(lines):
            end = number
        name = re.sub(r"[\"'\s]", "", header.group(2))
        count = seen.get(name, 0)
        seen[name] = count + 1
        depth = name.count(".") + 1
        if name in names_upto and count == names_upto[name] and depth > best_depth:
            best, best_depth, end = number + 1, depth, len(lines)
    return best, end


def _walk(
    value: object, kind: Any, path: tuple[str | int, ...], file: str, text: str, out: list[Problem]  # noqa: ANN401 - a type expression
) -> None:
    """Check `value` against `kind`, going into records, lists and tables of records."""
    kind = _inner(kind, value)
    origin = get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        _walk_record(value, kind, path, file, text, out)
    elif origin in (list, tuple) and isinstance(value, list) and _holds_record(get_args(kind)[0]):
        for index, element in enumerate(value):
            _walk(element, get_args(kind)[0], (*path, index), file, text, out)
    elif origin is dict and isinstance(value, dict) and _holds_record(get_args(kind)[1]):
        for key, element in value.items():
            _walk(element, get_args(kind)[1], (*path, key), file, text, out)
    else:
        try:
            msgspec.convert(value, kind, dec_hook=decode_hook)
        except (msgspec.ValidationError, ValueError) as error:
            out.append(_problem(file, text, path, value, _readable(str(error))))


def _walk_record(
    value: object, kind: type[msgspec.Struct], path: tuple[str | int, ...], file: str, text: str, out: list[Problem]
) -> None:
    if not isinstance(value, dict):
        out.append(_problem(file, text, path, value, "must be a table"))
        return
    before = len(out)
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, element in value.items():
        field = fields.get(key)
        if field is None:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"accepted here: {', '.join(sorted(fields))}"
            out.append(_problem(file, text, (*path, key), None, f"unknown key; {hint}"))
        else:
            _walk(element, hints[field.name], (*path, key), file, text, out)
    missing = [name for name, field in fields.items() if field.required and name not in value]
    out.extend(_problem(file, text, (*path, name), None, "is missing and has no default") for name in missing)
    if len(out) == before:
        try:
            msgspec.convert(value, kind, dec_hook=decode_hook)
        except (msgspec.ValidationError, ValueError) as error:
            out.append(_problem(file, text, path, None, _readable(str(error))))


def _inner(kind: Any, value: object) -> Any:  # noqa: ANN401 - a type expression
    """The branch of an optional or union type that `value` is meant for."""
    if get_origin(kind) in (Union, types.UnionType):
        branches = [branch for branch in get_args(kind) if branch is not type(None)]
        if isinstance(value, dict):
            records = [branch for branch in branches if _holds_record(branch)]
            return records[0] if len(records) == 1 else kind
        if isinstance(value, list):
            lists = [branch for branch in branches if get_origin(branch) in (list, tuple)]
            return lists[0] if len(lists) == 1 else kind
        plain = [branch for branch in branches if not _holds_record(branch) and get_origin(branch) not in (list, tuple, dict)]
        return plain[0] if len(plain) == 1 else kind
    return kind


def _holds_record(kind: Any) -> bool:  # noqa: ANN401 - a type expression
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return True
    return any(_holds_record(part) for part in get_args(kind))


def _problem(file: str, text: str, path: tuple[str | int, ...], value: object, expected: str) -> Problem:
    shown = "" if value is None else _toml(value)
    return Problem(file, path_text(path), shown, expected, line_of(text, path))


def path_text(path: tuple[str | int, ...]) -> str:
    """`("handoff", 2, "deadline")` as `handoff[2].deadline`."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else (f".{part}" if out else part)
    return out or "document"


def _toml(value: object) -> str:
    shown = msgspec.json.encode(value, enc_hook=str).decode() if not isinstance(value, str) else f'"{value}"'
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _readable(message: str) -> str:
    found = _EXPECTED.match(message)
    if found is None:
        return message
    at = found.group("path")
    inside = f" at {at.removeprefix('$')}" if at and at != "$" else ""
    return f"must be {found.group('what')}{inside}".replace("`", "")
