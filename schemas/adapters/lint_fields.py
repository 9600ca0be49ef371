"""What is wrong with the fields that a mapping's rules fill, held against the contract's event types."""

import difflib
import re
from collections.abc import Iterable
from collections.abc import Mapping as ReadMapping
from typing import Any

from schemas.adapters.fields import DESCRIPTION, OWN_KEYS, Field, fields_of, line_fields_of
from schemas.adapters.mapping import Declaration, EventRule, FieldRule, Scalar, Value
from schemas.adapters.text import TemplateError, columns_of_number, pieces
from schemas.adapters.values import as_value, links_of, read_constant, scalar_text
from schemas.flaws import Flaw
from schemas.toml_lines import KeyPath

_SOURCES = ("column", "columns", "text", "number", "const")


def lint_fields(declared: Declaration, rule: EventRule, types: list[str], path: KeyPath) -> Iterable[Flaw]:
    """Problems of `set` and `lines` of a rule that makes events of `types`."""
    grouped = bool(rule.group_by)
    for kind in types:
        fields = fields_of(kind)
        yield from _lint_set(declared, rule.set, fields, (*path, "set"), kind, grouped=grouped)
        if rule.lines is not None and "lines" not in fields:
            yield Flaw((*path, "lines"), None, f"{kind} has no lines")
        elif rule.lines is not None:
            where, what = (*path, "lines", "set"), f"a line of {kind}"
            yield from _lint_set(declared, rule.lines.set, line_fields_of(kind), where, what)
            if "lines" in rule.set:
                yield Flaw((*path, "set", "lines"), None, "is given twice: here and in lines")
        filled = {*rule.set, *({"lines"} if rule.lines is not None else ()), *_ALWAYS}
        for name, field in fields_of(kind).items():
            if field.required and name not in filled:
                hint = " (lines = [] when the table has none)" if name == "lines" else ""
                words = f"is missing: {kind} needs {DESCRIPTION[field.kind]}{hint}"
                yield Flaw((*path, "set", name), None, words, against=((*path, "lines"),) if name == "lines" else ())


#: Required fields that `[mapping]` gives to every event.
_ALWAYS = ("source", "system")


def _lint_set(
    declared: Declaration,
    rules: ReadMapping[str, FieldRule],
    fields: ReadMapping[str, Field],
    path: KeyPath,
    what: str,
    *,
    grouped: bool = False,
) -> Iterable[Flaw]:
    for name, rule in rules.items():
        where = (*path, name)
        field = fields.get(name)
        if field is None:
            if name in OWN_KEYS and path[-2] != "lines":
                yield Flaw(where, None, f"is filled by the rule's key {OWN_KEYS[name]}")
                continue
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            yield Flaw(where, None, f"{hint}{what} has no such field; it has: {', '.join(sorted(fields))}")
        elif isinstance(rule, list):
            yield from _lint_constant(field, rule, where)
        elif field.kind == "lines":
            yield Flaw(where, None, "must be [] (no lines); lines are made in the table lines of the rule")
        else:
            yield from _lint_value(declared, as_value(rule), field, where, grouped=grouped)
    if path[-2] == "lines":
        for name, field in fields.items():
            if field.required and name not in rules:
                yield Flaw((*path, name), None, f"is missing: {what} needs {DESCRIPTION[field.kind]}")


def _lint_value(declared: Declaration, value: Value, field: Field, path: KeyPath, *, grouped: bool) -> Iterable[Flaw]:
    given = [key for key in _SOURCES if getattr(value, key) is not None]
    if len(given) != 1:
        yield Flaw(path, None, f"must have exactly one of {', '.join(_SOURCES)}; it has {', '.join(given) or 'none'}")
        return
    yield from _lint_source(value, field, path)
    yield from _lint_steps(declared, value, field, path)
    if value.sum and (not grouped or field.kind not in ("money", "number")):
        expected = "adds up a number over the rows of a group: it needs group_by and a number field"
        yield Flaw((*path, "sum"), value.sum, expected, against=((*path[:2], "group_by"),))
    elif value.sum and given[0] not in ("number", "column"):
        yield Flaw((*path, "sum"), value.sum, f"needs number or column, not {given[0]}")


def _lint_steps(declared: Declaration, value: Value, field: Field, path: KeyPath) -> Iterable[Flaw]:
    if value.extract is not None:
        yield from lint_regex((*path, "extract"), value.extract)
    if value.lookup is not None and value.lookup not in declared.lookup:
        yield known_here((*path, "lookup"), value.lookup, "lookup", declared.lookup)
    elif value.lookup is not None and value.link is None and value.letters is None:
        for code, text in declared.lookup[value.lookup].items():
            yield from _lint_constant(field, text, ("lookup", value.lookup, code), path)
    for name in links_of(value):
        if name not in declared.link:
            yield known_here((*path, "link"), name, "link", declared.link)
    if value.default is not None:
        yield from _lint_constant(field, value.default, (*path, "default"))


def _lint_source(value: Value, field: Field, path: KeyPath) -> Iterable[Flaw]:
    try:
        if value.number is not None:
            if field.kind in ("time", "texts"):
                yield Flaw((*path, "number"), value.number, f"the field {field.name} takes {DESCRIPTION[field.kind]}")
            columns_of_number(value.number)
        if value.text is not None:
            parts = pieces(value.text)
            constant = "".join(text for _, text in parts)
            if not any(is_column for is_column, _ in parts) and not _changed(value):
                yield from _lint_constant(field, constant, path)
    except TemplateError as error:
        yield Flaw(path, value.number or value.text, str(error))
    if value.columns is not None and not value.columns:
        yield Flaw((*path, "columns"), None, "must name at least one column")
    if value.const is not None and not _changed(value):
        yield from _lint_constant(field, value.const, path)


def _changed(value: Value) -> bool:
    return any(step is not None for step in (value.extract, value.lookup, value.link, value.letters))


def _lint_constant(field: Field, constant: Scalar | list[str], path: KeyPath, *against: KeyPath) -> Iterable[Flaw]:
    """Whether the contract takes this fixed value for the field."""
    made: Any = constant
    if not isinstance(constant, list):
        text = scalar_text(constant)
        if field.kind == "time":
            return  # read as the table writes times: told for the first row
        try:
            made = [text] if field.kind == "texts" else read_constant(field.kind)(text)
        except ValueError:
            yield Flaw(path, constant, f"the field {field.name} takes {DESCRIPTION[field.kind]}", against)
            return
    reason = field.accepts(made)
    if reason:
        yield Flaw(path, constant, reason, against)


def lint_regex(path: KeyPath, pattern: str) -> Iterable[Flaw]:
    """Whether a regular expression can be compiled."""
    try:
        re.compile(pattern)
    except re.error as error:
        yield Flaw(path, pattern, f"must be a regular expression ({error})")


def known_here(path: KeyPath, name: str, table: str, names: Iterable[str]) -> Flaw:
    """What is said of a name under which there is nothing in the mapping's tables `[table.NAME]`."""
    listed = ", ".join(names)
    words = f"must be a {table} of this mapping{f': {listed}' if listed else '; there is none'}"
    return Flaw(path, name, words, against=((table, name),))
