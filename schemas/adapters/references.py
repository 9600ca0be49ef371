"""Which columns a mapping names and where, and what is wrong with them for the table at hand."""

import difflib
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as ReadMapping
from typing import TypeAlias

from schemas.adapters.columns import columns_of_time
from schemas.adapters.mapping import Declaration, EventRule, Explode, FieldRule, When
from schemas.adapters.text import BUILTINS, TemplateError, columns_of_template
from schemas.adapters.values import as_value, columns_of_value
from schemas.flaws import Flaw
from schemas.toml_lines import KeyPath

Reference: TypeAlias = tuple[KeyPath, str]

_NAMES_SHOWN, _NAME_SHOWN = 60, 300


def column_references(declared: Declaration) -> Iterable[Reference]:
    """Every (path in the mapping, column or builtin) it names; what is not well written names none."""
    table = declared.table
    for key, spec in (("time", table.time), ("recorded", table.recorded)):
        yield from _time(("table", key), spec)
    for name in declared.column:
        yield ("column", name), name
    for name, link in declared.link.items():
        where: KeyPath = ("link", name)
        yield (*where, "key"), link.key
        yield (*where, "value"), link.value
        yield from _filters(where, link.when, link.when_any)
    for index, rule in enumerate(declared.event):
        yield from _event(("event", index), rule)


def _event(where: KeyPath, rule: EventRule) -> Iterable[Reference]:
    if not isinstance(rule.type, str):
        yield (*where, "type", "column"), rule.type.column
    for key, spec in (("time", rule.time), ("recorded", rule.recorded)):
        yield from _time((*where, key), spec)
    yield from _names((*where, "id"), rule.id)
    yield from _filters(where, rule.when, rule.when_any)
    for name in (*(rule.skip_if_empty or ()),):
        yield (*where, "skip_if_empty"), name
    for name in rule.group_by:
        yield (*where, "group_by"), name
    yield from _explode((*where, "explode"), rule.explode)
    yield from _fields((*where, "set"), rule.set)
    if rule.lines is not None:
        yield from _explode((*where, "lines", "over"), rule.lines.over)
        yield from _fields((*where, "lines", "set"), rule.lines.set)


def _time(where: KeyPath, spec: str) -> Iterable[Reference]:
    if spec:
        try:
            names = columns_of_time(spec)
        except TemplateError:
            return
        yield from ((where, name) for name in names)


def _names(where: KeyPath, template: str) -> Iterable[Reference]:
    try:
        names = columns_of_template(template)
    except TemplateError:
        return
    yield from ((where, name) for name in names)


def _filters(where: KeyPath, when: When, when_any: Sequence[When]) -> Iterable[Reference]:
    yield from (((*where, "when", name), name) for name in when)
    for index, one in enumerate(when_any):
        yield from (((*where, "when_any", index, name), name) for name in one)


def _explode(where: KeyPath, spec: str | Explode | None) -> Iterable[Reference]:
    if spec is not None:
        yield where, spec if isinstance(spec, str) else spec.column


def _fields(where: KeyPath, rules: ReadMapping[str, FieldRule]) -> Iterable[Reference]:
    for name, rule in rules.items():
        if isinstance(rule, list):
            continue
        try:
            columns = columns_of_value(as_value(rule))
        except TemplateError:
            continue
        yield from (((*where, name), column) for column in columns)


def lint_columns(declared: Declaration, path: str, names: Sequence[str]) -> Iterable[Flaw]:
    """What is wrong with a mapping for the table in the file `path`, whose columns are `names`."""
    known = set(names) | set(BUILTINS)
    wanted = list(dict.fromkeys(name for _, name in column_references(declared) if not name.startswith("@")))
    if len(wanted) > 1 and known.isdisjoint(wanted):
        key = "encoding" if _undecoded(names) else "delimiter" if len(names) == 1 else "columns"
        shown = None if key == "columns" else getattr(declared.table, key)
        words = f"has none of the columns that the mapping names ({_shown(wanted)})"
        yield Flaw(("table", key), shown, f"the table {path} {words}; {_listed(names)}")
        return
    told: set[Reference] = set()
    for where, name in column_references(declared):
        if (where, name) in told:
            continue
        told.add((where, name))
        if name not in known:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            yield Flaw(where, name, f"{hint}the table {path} has no such column; {_listed(names)}")
        elif names.count(name) > 1:
            yield Flaw(
                where,
                name,
                f"stands {names.count(name)} times in the header of {path}; name the columns in [table]",
            )
    for where, rules in _field_tables(declared):
        for field, rule in rules.items():
            if isinstance(rule, str) and rule in names:
                meant = f'write "{{{rule}}}" for the column, or {{ const = "{rule}" }} if the text is meant'
                yield Flaw((*where, field), rule, f"is a fixed text here; {meant}")


def _listed(names: Sequence[str]) -> str:
    listed = f"its columns are: {_shown(names)}"
    if _undecoded(names):
        return f'{listed} (not in the table\'s encoding: is encoding = "cp1252" or "utf-16" missing in [table]?)'
    if len(names) == 1:
        for delimiter, shown in ((";", ";"), ("\t", "tab"), ("|", "|"), (",", ",")):
            if delimiter in names[0]:
                return f'{listed} (one column: is delimiter = "{shown}" missing in [table]?)'
    return listed


def _undecoded(names: Sequence[str]) -> bool:
    """Whether there are bytes in the names that are not of the table's encoding."""
    return any("\udc80" <= letter <= "\udcff" for name in names for letter in name)


def _shown(names: Sequence[str]) -> str:
    """Names as one line that a terminal can take: a file that is no table has anything in its first line."""
    safe = (name if name.isprintable() else ascii(name)[1:-1] for name in names[:_NAMES_SHOWN])
    cut = ", ".join(name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}…" for name in safe)
    return f"{cut}, … ({len(names)} in all)" if len(names) > _NAMES_SHOWN else cut


def _field_tables(declared: Declaration) -> Iterable[tuple[KeyPath, ReadMapping[str, FieldRule]]]:
    for index, rule in enumerate(declared.event):
        yield ("event", index, "set"), rule.set
        if rule.lines is not None:
            yield ("event", index, "lines", "set"), rule.lines.set
