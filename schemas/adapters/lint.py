"""What is wrong with a mapping although its keys and types are right, as far as it can be told without the table."""

import re
from collections.abc import Iterable, Sequence

from schemas.adapters.lint_fields import known_here, lint_fields, lint_regex
from schemas.adapters.mapping import Condition, Declaration, EventRule, Scalar, Table, TypeLookup, When
from schemas.adapters.references import column_references
from schemas.adapters.rules import types_of
from schemas.adapters.tables import DELIMITERS
from schemas.adapters.text import BUILTINS, TemplateError, pieces
from schemas.adapters.times import FormatError, check_format, has_offset, read_zone
from schemas.durations import rfc3339
from schemas.events import EVENT_TYPES
from schemas.flaws import Flaw
from schemas.problems import did_you_mean
from schemas.toml_lines import KeyPath

_AS_DECIMAL = "must not be the decimal sign (set decimal)"
_ACCEPTED_BUILTINS = ", ".join(f"{{{name}}}" for name in BUILTINS)


def lint(declared: Declaration) -> Iterable[Flaw]:
    """What is wrong with a mapping beyond its types."""
    if not declared.event:
        yield Flaw(("event",), None, "must have at least one [[event]]")
    yield from _lint_table(declared.table)
    yield from _lint_times(declared)
    yield from _lint_builtins(declared)
    for name, link in declared.link.items():
        yield from _lint_when(("link", name), link.when, link.when_any)
    for index, rule in enumerate(declared.event):
        yield from _lint_event(declared, rule, ("event", index))
    yield from _lint_ids(declared)


def _lint_table(table: Table) -> Iterable[Flaw]:
    delimiter = DELIMITERS.get(table.delimiter, table.delimiter)
    if len(delimiter) != 1:
        yield Flaw(("table", "delimiter"), table.delimiter, 'must be one character, or "tab"')
    for key, sign in (("quote", table.quote), ("escape", table.escape)):
        if len(sign) > 1:
            yield Flaw(("table", key), sign, 'must be one character, or "" for none')
        elif sign == delimiter:
            words = 'must not be the delimiter; "" where there is none'
            yield Flaw(("table", key), sign, words, against=(("table", "delimiter"),))
    try:
        "".encode(table.encoding)  # unlike codecs.lookup, this refuses what is no encoding of texts, such as base64
    except (LookupError, ValueError):
        yield Flaw(("table", "encoding"), table.encoding, 'must be an encoding, such as "utf-8", "cp1252", "utf-16"')
    if table.header is False and not table.columns:
        yield Flaw(("table", "columns"), None, "must name the columns, since header is false")
    for name in sorted({name for name in table.columns if table.columns.count(name) > 1}):
        yield Flaw(("table", "columns"), name, "is named twice")
    if table.earliest is not None and table.latest is not None and table.earliest >= table.latest:
        yield Flaw(("table", "to"), rfc3339(table.latest), f"must be later than from, {rfc3339(table.earliest)}")
    if table.thousands and table.thousands == table.decimal:
        yield Flaw(("table", "thousands"), table.thousands, _AS_DECIMAL, against=(("table", "decimal"),))


def _lint_times(declared: Declaration) -> Iterable[Flaw]:
    table = declared.table
    yield from _lint_formats(("table",), table.formats, table.zone)
    for name, column in declared.column.items():
        zone = table.zone if column.zone is None else column.zone
        if column.formats is not None or column.zone is not None:
            formats = table.formats if column.formats is None else column.formats
            yield from _lint_formats(("column", name), formats, zone)
        if column.thousands and column.thousands == (column.decimal or table.decimal):
            against: tuple[KeyPath, ...] = (("column", name, "decimal"), ("table", "decimal"))
            yield Flaw(("column", name, "thousands"), column.thousands, _AS_DECIMAL, against)
    specs: list[tuple[KeyPath, str]] = [(("table", "time"), table.time), (("table", "recorded"), table.recorded)]
    for index, rule in enumerate(declared.event):
        specs += [(("event", index, "time"), rule.time), (("event", index, "recorded"), rule.recorded)]
        if not rule.time and not table.time:
            yield Flaw(
                ("event", index, "time"),
                None,
                "is missing: name the column with its time here, or time in [table]",
                against=(("table", "time"),),
            )
    for path, spec in specs:
        yield from _lint_template(path, spec)
        if "{" not in spec and "}" not in spec:
            continue
        if not re.search(r"\{[^{}]", spec):
            yield Flaw(path, spec, 'must be the name of a column, or a text over columns such as "{Date} {Time}"')


def _lint_formats(path: KeyPath, formats: Sequence[str], zone: str) -> Iterable[Flaw]:
    if not formats:
        yield Flaw((*path, "formats"), None, "must name at least one format")
    for text in formats:
        try:
            check_format(text)
        except FormatError as error:
            yield Flaw((*path, "formats"), text, str(error))
            continue
        if not zone and text != "iso8601" and not has_offset(text):
            words = 'has no offset (%z): set zone, such as "Europe/London" or "UTC"'
            yield Flaw((*path, "formats"), text, words, against=((*path, "zone"), ("table", "zone")))
    if zone:
        try:
            read_zone(zone)
        except FormatError:
            yield Flaw((*path, "zone"), zone, f'must be an IANA zone or an offset such as "+02:00"{_near_zone(zone)}')


def _near_zone(zone: str) -> str:
    from zoneinfo import available_timezones  # noqa: PLC0415 - reads a few hundred files, only for this error

    return did_you_mean(zone, sorted(available_timezones()))


def _lint_builtins(declared: Declaration) -> Iterable[Flaw]:
    for path, name in column_references(declared):
        if not name.startswith("@") or path[0] == "column":
            continue
        if name not in BUILTINS:
            yield Flaw(path, name, f"is not known; what begins with @ is one of {_ACCEPTED_BUILTINS}")
        elif name in ("@each", "@index") and not _in_list(declared, path):
            against = tuple((*path[:2], key) for key in ("explode", "lines"))
            yield Flaw(path, name, "is only there in a rule with explode, or in lines with over", against)


def _in_list(declared: Declaration, path: KeyPath) -> bool:
    if path[0] != "event" or not isinstance(path[1], int):
        return False
    rule = declared.event[path[1]]
    # a rule's filter is asked once for a row, before its list is taken apart
    if path[2] in ("set", "id", "time", "recorded"):
        return rule.explode is not None
    return path[2:4] == ("lines", "set") and (
        rule.explode is not None or (rule.lines is not None and rule.lines.over is not None)
    )


def _lint_event(declared: Declaration, rule: EventRule, path: KeyPath) -> Iterable[Flaw]:
    yield from _lint_when(path, rule.when, rule.when_any)
    yield from _lint_template((*path, "id"), rule.id)
    if rule.group_by and rule.explode is not None:
        yield Flaw(
            (*path, "group_by"),
            None,
            "can't be used together with explode; use lines.over for a list in a row",
        )
    if rule.adjacent and not rule.group_by:
        words = "says something about group_by, which is missing"
        yield Flaw((*path, "adjacent"), rule.adjacent, words, against=((*path, "group_by"),))
    over = None if rule.lines is None else rule.lines.over
    for where, spec in (((*path, "explode"), rule.explode), ((*path, "lines", "over"), over)):
        if spec is not None and not isinstance(spec, str):
            for name in [spec.link] if isinstance(spec.link, str) else spec.link:
                if name not in declared.link:
                    yield known_here((*where, "link"), name, "link", declared.link)
    types, bad = _lint_type(declared, rule, path)
    yield from bad
    if types:
        yield from lint_fields(declared, rule, types, path)


def _lint_type(declared: Declaration, rule: EventRule, path: KeyPath) -> tuple[list[str], list[Flaw]]:
    bad: list[Flaw] = []
    if isinstance(rule.type, TypeLookup) and rule.type.lookup not in declared.lookup:
        return [], [known_here((*path, "type", "lookup"), rule.type.lookup, "lookup", declared.lookup)]
    if isinstance(rule.type, TypeLookup):
        table: KeyPath = ("lookup", rule.type.lookup)
        places = {name: (*table, code) for code, name in reversed(declared.lookup[rule.type.lookup].items())}
        if not places:
            bad.append(Flaw((*path, "type"), None, "is looked up in a table without entries", against=(table,)))
    else:
        places = {rule.type: (*path, "type")}
    types = types_of(declared, rule)
    for name in types:
        if name not in EVENT_TYPES:
            hint = did_you_mean(name, list(EVENT_TYPES)) or f"; accepted: {', '.join(EVENT_TYPES)}"
            bad.append(Flaw(places[name], name, f"must be a type of the contract{hint}"))
    return [name for name in types if name in EVENT_TYPES], bad


def _lint_when(path: KeyPath, when: When, when_any: Sequence[When]) -> Iterable[Flaw]:
    for where, conditions in (
        ((*path, "when"), when),
        *(((*path, "when_any", i), one) for i, one in enumerate(when_any)),
    ):
        for column, condition in conditions.items():
            yield from _lint_condition((*where, column), condition)


def _lint_condition(path: KeyPath, condition: Scalar | list[str] | Condition) -> Iterable[Flaw]:
    if not isinstance(condition, Condition):
        return
    if condition == Condition():
        yield Flaw(path, None, "says nothing; give one of one_of, matches, startswith, present, lt, gt, not …")
    if condition.matches is not None:
        yield from lint_regex((*path, "matches"), condition.matches)
    if condition.negated is not None:
        yield from _lint_condition((*path, "not"), condition.negated)


def _lint_template(path: KeyPath, template: str) -> Iterable[Flaw]:
    try:
        pieces(template)
    except TemplateError as error:
        yield Flaw(path, template, str(error))


def _lint_ids(declared: Declaration) -> Iterable[Flaw]:
    seen: dict[str, list[tuple[int, EventRule]]] = {}
    for index, rule in enumerate(declared.event):
        path: KeyPath = ("event", index, "id")
        if rule.explode is not None and rule.id and not re.search(r"\{@(each|index)\}", rule.id):
            yield Flaw(path, rule.id, "is the same for every entry of the list; add {@each} or {@index}")
        if rule.id and not re.search(r"\{[^{}]", rule.id):
            yield Flaw(path, rule.id, "is the same for every row; name a column in it, or {@row} or {@hash}")
        for number, other in seen.get(rule.id, ()) if rule.id else ():
            if _may_both_apply(rule, other):
                words = (
                    "is the id of another event of the row too, which would be dropped as a second delivery; "
                    f'add what happened, such as "{rule.id}-approved"'
                )
                filters = tuple(
                    ("event", one, key) for one in (index, number) for key in ("when", "when_any", "type", "id")
                )
                yield Flaw(path, rule.id, words, against=filters)
                break
        seen.setdefault(rule.id, []).append((index, rule))


def _may_both_apply(one: EventRule, other: EventRule) -> bool:
    """Whether two rules may make an event of the same row, as far as their plain filters tell."""
    filters = [(rule.when, rule.when_any, None if isinstance(rule.type, str) else rule.type) for rule in (one, other)]
    return filters[0] == filters[1] or ({}, [], None) in filters
