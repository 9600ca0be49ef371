"""What is wrong with a mapping, as far as it can be told without the table: every problem at once."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from schemas.adapters.lint_fields import lint_fields
from schemas.adapters.mapping import Condition, Declaration, EventRule, Scalar, Table, TypeLookup, When
from schemas.adapters.references import Path, column_references
from schemas.adapters.rules import types_of
from schemas.adapters.tables import DELIMITERS
from schemas.adapters.text import BUILTINS, TemplateError, pieces
from schemas.adapters.times import FormatError, check_format, has_offset, read_zone
from schemas.durations import rfc3339
from schemas.events import EVENT_TYPES
from schemas.problems import Problem, path_text
from schemas.toml_lines import line_of

#: Makes a problem from the path, the value that stands there and what is accepted.
Problems: TypeAlias = Callable[[Path, object, str], Problem]

_ACCEPTED_BUILTINS = ", ".join(f"{{{name}}}" for name in BUILTINS)


def lint(declared: Declaration, file: str, text: str) -> Iterable[Problem]:
    """The problems of a mapping whose keys and types are right."""

    def problem(path: Path, value: object, expected: str) -> Problem:
        shown = "" if value is None else f'"{value}"'
        return Problem(file, path_text(path), shown, expected, line_of(text, path))

    if not declared.event:
        yield problem(("event",), None, "must have at least one [[event]]")
    yield from _lint_table(declared.table, problem)
    yield from _lint_times(declared, problem)
    yield from _lint_builtins(declared, problem)
    for name, link in declared.link.items():
        yield from _lint_when(("link", name), link.when, link.when_any, problem)
    for index, rule in enumerate(declared.event):
        yield from _lint_event(declared, rule, ("event", index), problem)
    yield from _lint_ids(declared, problem)


def _lint_table(table: Table, problem: Problems) -> Iterable[Problem]:
    delimiter = DELIMITERS.get(table.delimiter, table.delimiter)
    if len(delimiter) != 1:
        yield problem(("table", "delimiter"), table.delimiter, 'must be one character, or "tab"')
    for key, sign in (("quote", table.quote), ("escape", table.escape)):
        if len(sign) > 1:
            yield problem(("table", key), sign, 'must be one character, or "" for none')
        elif sign == delimiter:
            yield problem(("table", key), sign, 'must not be the delimiter; "" where there is none')
    try:
        "".encode(table.encoding)  # unlike codecs.lookup, this refuses what is no encoding of texts, such as base64
    except (LookupError, ValueError):
        yield problem(("table", "encoding"), table.encoding, 'must be an encoding, such as "utf-8", "cp1252", "utf-16"')
    if table.header is False and not table.columns:
        yield problem(("table", "columns"), None, "must name the columns, since header is false")
    for name in sorted({name for name in table.columns if table.columns.count(name) > 1}):
        yield problem(("table", "columns"), name, "is named twice")
    if table.earliest is not None and table.latest is not None and table.earliest >= table.latest:
        yield problem(("table", "to"), rfc3339(table.latest), f"must be later than from, {rfc3339(table.earliest)}")
    if table.thousands and table.thousands == table.decimal:
        yield problem(("table", "thousands"), table.thousands, "must not be the decimal sign (set decimal)")


def _lint_times(declared: Declaration, problem: Problems) -> Iterable[Problem]:
    table = declared.table
    yield from _lint_formats(("table",), table.formats, table.zone, problem)
    for name, column in declared.column.items():
        zone = table.zone if column.zone is None else column.zone
        if column.formats is not None or column.zone is not None:
            formats = table.formats if column.formats is None else column.formats
            yield from _lint_formats(("column", name), formats, zone, problem)
        if column.thousands and column.thousands == (column.decimal or table.decimal):
            yield problem(("column", name, "thousands"), column.thousands, "must not be the decimal sign (set decimal)")
    specs: list[tuple[Path, str]] = [(("table", "time"), table.time), (("table", "recorded"), table.recorded)]
    for index, rule in enumerate(declared.event):
        specs += [(("event", index, "time"), rule.time), (("event", index, "recorded"), rule.recorded)]
        if not rule.time and not table.time:
            yield problem(
                ("event", index, "time"),
                None,
                "is missing: name the column with its time here, or time in [table]",
            )
    for path, spec in specs:
        yield from _lint_template(path, spec, problem)
        if "{" not in spec and "}" not in spec:
            continue
        if not re.search(r"\{[^{}]", spec):
            yield problem(path, spec, 'must be the name of a column, or a text over columns such as "{Date} {Time}"')


def _lint_formats(path: Path, formats: Sequence[str], zone: str, problem: Problems) -> Iterable[Problem]:
    if not formats:
        yield problem((*path, "formats"), None, "must name at least one format")
    for text in formats:
        try:
            check_format(text)
        except FormatError as error:
            yield problem((*path, "formats"), text, str(error))
            continue
        if not zone and text != "iso8601" and not has_offset(text):
            yield problem((*path, "formats"), text, 'has no offset (%z): set zone, such as "Europe/London" or "UTC"')
    if zone:
        try:
            read_zone(zone)
        except FormatError:
            yield problem(
                (*path, "zone"), zone, f'must be an IANA zone or an offset such as "+02:00"{_near_zone(zone)}'
            )


def _near_zone(zone: str) -> str:
    from zoneinfo import available_timezones  # noqa: PLC0415 - reads a few hundred files, only for this error

    near = difflib.get_close_matches(zone, sorted(available_timezones()), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _lint_builtins(declared: Declaration, problem: Problems) -> Iterable[Problem]:
    for path, name in column_references(declared):
        if not name.startswith("@") or path[0] == "column":
            continue
        if name not in BUILTINS:
            yield problem(path, name, f"is not known; what begins with @ is one of {_ACCEPTED_BUILTINS}")
        elif name in ("@each", "@index") and not _in_list(declared, path):
            yield problem(path, name, "is only there in a rule with explode, or in lines with over")


def _in_list(declared: Declaration, path: Path) -> bool:
    if path[0] != "event" or not isinstance(path[1], int):
        return False
    rule = declared.event[path[1]]
    # a rule's filter is asked once for a row, before its list is taken apart
    if path[2] in ("set", "id", "time", "recorded"):
        return rule.explode is not None
    return path[2:4] == ("lines", "set") and (
        rule.explode is not None or (rule.lines is not None and rule.lines.over is not None)
    )


def _lint_event(declared: Declaration, rule: EventRule, path: Path, problem: Problems) -> Iterable[Problem]:
    yield from _lint_when(path, rule.when, rule.when_any, problem)
    yield from _lint_template((*path, "id"), rule.id, problem)
    if rule.group_by and rule.explode is not None:
        yield problem(
            (*path, "group_by"),
            None,
            "can't be used together with explode; use lines.over for a list in a row",
        )
    if rule.adjacent and not rule.group_by:
        yield problem((*path, "adjacent"), "true", "says something about group_by, which is missing")
    over = None if rule.lines is None else rule.lines.over
    for where, spec in (((*path, "explode"), rule.explode), ((*path, "lines", "over"), over)):
        if spec is not None and not isinstance(spec, str):
            for name in [spec.link] if isinstance(spec.link, str) else spec.link:
                if name not in declared.link:
                    yield problem((*where, "link"), name, _known("a link", declared.link))
    types, bad = _lint_type(declared, rule, path, problem)
    yield from bad
    if types:
        yield from lint_fields(declared, rule, types, path, problem)


def _lint_type(
    declared: Declaration, rule: EventRule, path: Path, problem: Problems
) -> tuple[list[str], list[Problem]]:
    bad: list[Problem] = []
    if isinstance(rule.type, TypeLookup) and rule.type.lookup not in declared.lookup:
        return [], [problem((*path, "type", "lookup"), rule.type.lookup, _known("a lookup", declared.lookup))]
    types = types_of(declared, rule)
    if not types:
        bad.append(problem((*path, "type"), None, "is looked up in a table without entries"))
    for name in types:
        if name not in EVENT_TYPES:
            near = difflib.get_close_matches(name, EVENT_TYPES, n=1)
            expected = f"did you mean {near[0]!r}?" if near else f"accepted: {', '.join(EVENT_TYPES)}"
            where: Path = (*path, "type") if isinstance(rule.type, str) else ("lookup", rule.type.lookup)
            bad.append(problem(where, name, f"must be a type of the contract; {expected}"))
    return [name for name in types if name in EVENT_TYPES], bad


def _lint_when(path: Path, when: When, when_any: Sequence[When], problem: Problems) -> Iterable[Problem]:
    for where, conditions in (
        ((*path, "when"), when),
        *(((*path, "when_any", i), one) for i, one in enumerate(when_any)),
    ):
        for column, condition in conditions.items():
            yield from _lint_condition((*where, column), condition, problem)


def _lint_condition(path: Path, condition: Scalar | list[str] | Condition, problem: Problems) -> Iterable[Problem]:
    if not isinstance(condition, Condition):
        return
    if condition == Condition():
        yield problem(path, None, "says nothing; give one of one_of, matches, startswith, present, lt, gt, not …")
    if condition.matches is not None:
        yield from lint_pattern((*path, "matches"), condition.matches, problem)
    if condition.negated is not None:
        yield from _lint_condition((*path, "not"), condition.negated, problem)


def lint_pattern(path: Path, pattern: str, problem: Problems) -> Iterable[Problem]:
    """Whether a regular expression can be compiled."""
    try:
        re.compile(pattern)
    except re.error as error:
        yield problem(path, pattern, f"must be a regular expression ({error})")


def _lint_template(path: Path, template: str, problem: Problems) -> Iterable[Problem]:
    try:
        pieces(template)
    except TemplateError as error:
        yield problem(path, template, str(error))


def _lint_ids(declared: Declaration, problem: Problems) -> Iterable[Problem]:
    seen: dict[str, list[EventRule]] = {}
    for index, rule in enumerate(declared.event):
        path: Path = ("event", index, "id")
        if rule.explode is not None and rule.id and not re.search(r"\{@(each|index)\}", rule.id):
            yield problem(path, rule.id, "is the same for every entry of the list; add {@each} or {@index}")
        if rule.id and not re.search(r"\{[^{}]", rule.id):
            yield problem(path, rule.id, "is the same for every row; name a column in it, or {@row} or {@hash}")
        for other in seen.get(rule.id, ()) if rule.id else ():
            if _may_both_apply(rule, other):
                yield problem(
                    path,
                    rule.id,
                    "is the id of another event of the row too, which would be dropped as a second delivery; "
                    f'add what happened, such as "{rule.id}-approved"',
                )
                break
        seen.setdefault(rule.id, []).append(rule)


def _may_both_apply(one: EventRule, other: EventRule) -> bool:
    """Whether two rules may make an event of the same row, as far as their plain filters tell."""
    filters = [(rule.when, rule.when_any, None if isinstance(rule.type, str) else rule.type) for rule in (one, other)]
    return filters[0] == filters[1] or ({}, [], None) in filters


def _known(what: str, names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"must be {what} of this mapping: {listed}" if listed else f"must be {what} of this mapping; there is none"
