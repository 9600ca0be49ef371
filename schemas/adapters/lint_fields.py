"""What is wrong with the fields that a mapping's rules fill, held against the contract's event types."""

import difflib
import re
from collections.abc import Callable, Iterable
from collections.abc import Mapping as ReadMapping
from typing import Any

from schemas.adapters.fields import DESCRIPTION, OWN_KEYS, Field, fields_of, line_fields_of
from schemas.adapters.mapping import Declaration, EventRule, FieldRule, Scalar, Value
from schemas.adapters.references import Path
from schemas.adapters.text import TemplateError, columns_of_number, pieces
from schemas.adapters.values import as_value, links_of, read_constant, scalar_text
from schemas.problems import Problem

_Problems = Callable[[Path, object, str], Problem]
_SOURCES = ("column", "columns", "text", "number", "const")
#: A formula or text that is longer is not repeated beside what is wrong with it.
_MOST_SHOWN = 200


def lint_fields(
    declared: Declaration, rule: EventRule, types: list[str], path: Path, problem: _Problems
) -> Iterable[Problem]:
    """Problems of `set` and `lines` of a rule that makes events of `types`."""
    grouped = bool(rule.group_by)
    for kind in types:
        fields = fields_of(kind)
        yield from _lint_set(declared, rule.set, fields, (*path, "set"), kind, problem=problem, grouped=grouped)
        if rule.lines is not None and "lines" not in fields:
            yield problem((*path, "lines"), None, f"{kind} has no lines")
        elif rule.lines is not None:
            where, what = (*path, "lines", "set"), f"a line of {kind}"
            yield from _lint_set(declared, rule.lines.set, line_fields_of(kind), where, what, problem=problem)
            if "lines" in rule.set:
                yield problem((*path, "set", "lines"), None, "is given twice: here and in lines")
        filled = {*rule.set, *({"lines"} if rule.lines is not None else ()), *_ALWAYS}
        for name, field in fields_of(kind).items():
            if field.required and name not in filled:
                hint = " (lines = [] when the table has none)" if name == "lines" else ""
                yield problem((*path, "set", name), None, f"is missing: {kind} needs {DESCRIPTION[field.kind]}{hint}")


#: Required fields that `[mapping]` gives to every event.
_ALWAYS = ("source", "system")


def _lint_set(
    declared: Declaration,
    rules: ReadMapping[str, FieldRule],
    fields: ReadMapping[str, Field],
    path: Path,
    what: str,
    *,
    problem: _Problems,
    grouped: bool = False,
) -> Iterable[Problem]:
    for name, rule in rules.items():
        where = (*path, name)
        field = fields.get(name)
        if field is None:
            if name in OWN_KEYS and path[-2] != "lines":
                yield problem(where, None, f"is filled by the rule's key {OWN_KEYS[name]}")
                continue
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            yield problem(where, None, f"{hint}{what} has no such field; it has: {', '.join(sorted(fields))}")
        elif isinstance(rule, list):
            yield from _lint_constant(field, rule, where, problem)
        elif field.kind == "lines":
            yield problem(where, None, "must be [] (no lines); lines are made in the table lines of the rule")
        else:
            yield from _lint_value(declared, as_value(rule), field, where, problem, grouped=grouped)
    if path[-2] == "lines":
        for name, field in fields.items():
            if field.required and name not in rules:
                yield problem((*path, name), None, f"is missing: {what} needs {DESCRIPTION[field.kind]}")


def _lint_value(
    declared: Declaration, value: Value, field: Field, path: Path, problem: _Problems, *, grouped: bool
) -> Iterable[Problem]:
    given = [key for key in _SOURCES if getattr(value, key) is not None]
    if len(given) != 1:
        yield problem(
            path, None, f"must have exactly one of {', '.join(_SOURCES)}; it has {', '.join(given) or 'none'}"
        )
        return
    yield from _lint_source(value, field, path, problem)
    yield from _lint_steps(declared, value, field, path, problem)
    if value.sum and (not grouped or field.kind not in ("money", "number")):
        expected = "adds up a number over the rows of a group: it needs group_by and a number field"
        yield problem((*path, "sum"), "true", expected)
    elif value.sum and given[0] not in ("number", "column"):
        yield problem((*path, "sum"), "true", f"needs number or column, not {given[0]}")


def _lint_steps(declared: Declaration, value: Value, field: Field, path: Path, problem: _Problems) -> Iterable[Problem]:
    if value.extract is not None:
        try:
            re.compile(value.extract)
        except re.error as error:
            yield problem((*path, "extract"), value.extract, f"must be a regular expression ({error})")
    if value.lookup is not None and value.lookup not in declared.lookup:
        yield problem((*path, "lookup"), value.lookup, _known("a lookup", declared.lookup))
    elif value.lookup is not None and value.link is None and value.letters is None:
        for code, text in declared.lookup[value.lookup].items():
            yield from _lint_constant(field, text, ("lookup", value.lookup, code), problem)
    for name in links_of(value):
        if name not in declared.link:
            yield problem((*path, "link"), name, _known("a link", declared.link))
    if value.default is not None:
        yield from _lint_constant(field, value.default, (*path, "default"), problem)


def _lint_source(value: Value, field: Field, path: Path, problem: _Problems) -> Iterable[Problem]:
    try:
        if value.number is not None:
            if field.kind in ("time", "texts"):
                yield problem(
                    (*path, "number"), value.number, f"the field {field.name} takes {DESCRIPTION[field.kind]}"
                )
            columns_of_number(value.number)
        if value.text is not None:
            parts = pieces(value.text)
            constant = "".join(text for _, text in parts)
            if not any(is_column for is_column, _ in parts) and not _changed(value):
                yield from _lint_constant(field, constant, path, problem)
    except TemplateError as error:
        shown = value.number or value.text or ""
        yield problem(path, shown if len(shown) <= _MOST_SHOWN else None, str(error))
    if value.columns is not None and not value.columns:
        yield problem((*path, "columns"), None, "must name at least one column")
    if value.const is not None and not _changed(value):
        yield from _lint_constant(field, value.const, path, problem)


def _changed(value: Value) -> bool:
    return any(step is not None for step in (value.extract, value.lookup, value.link, value.letters))


def _lint_constant(field: Field, constant: Scalar | list[str], path: Path, problem: _Problems) -> Iterable[Problem]:
    """Whether the contract takes this fixed value for the field."""
    shown: object = constant if not isinstance(constant, list) else ", ".join(constant)
    made: Any = constant
    if not isinstance(constant, list):
        text = scalar_text(constant)
        if field.kind == "time":
            return  # read as the table writes times: told for the first row
        try:
            made = [text] if field.kind == "texts" else read_constant(field.kind)(text)
        except ValueError:
            yield problem(path, shown, f"the field {field.name} takes {DESCRIPTION[field.kind]}")
            return
    reason = field.accepts(made)
    if reason:
        yield problem(path, shown, reason)


def _known(what: str, names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"must be {what} of this mapping: {listed}" if listed else f"must be {what} of this mapping; there is none"
