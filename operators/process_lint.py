"""Reading a process map, and what is wrong with one although its keys and types are right: every problem at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_origin, get_type_hints

import msgspec

from operators.case_state import Finding
from operators.incidents.kinds import KINDS
from operators.process_map import Handoff, Pattern, ProcessMap
from schemas.accepted import as_toml, branch_for, choices, plain
from schemas.events import EVENT_TYPES, EventBase, field_names
from schemas.flaws import Flaw, declare_and_lint
from schemas.problems import Declared, did_you_mean, path_text
from schemas.toml_lines import KeyPath

_ONE_VALUE = "must be a field with one value; of {} it is a list"
#: No two events have the same in these.
_OF_ONE_EVENT = frozenset({"event_id", "occurred_at", "recorded_at"})
#: Kinds of findings that an exception, whose name is its kind, would be taken for.
_KINDS = frozenset({*Finding, "duplicate", "impossible_state", *KINDS})


def read_process_map(text: str, file: str) -> Declared[ProcessMap]:
    """Read and lint a process map written in TOML; every problem at once."""
    return declare_and_lint(text, ProcessMap, file, lint)


def lint(process: ProcessMap) -> Iterable[Flaw]:
    """What is wrong with a process map beyond its types."""
    yield from _lint_names(process)
    if process.window <= 0:
        yield Flaw(("window",), process.window.written, "must be longer than 0")
    elif process.slide is not None and (process.slide <= 0 or process.window % process.slide):
        yield Flaw(("slide",), process.slide.written, "must be a whole fraction of window", against=(("window",),))
    for case, rule in process.case.items():
        for key in ("begins_with", "cancelled_by"):
            for index, pattern in enumerate(getattr(rule, key)):
                yield from _lint_pattern(pattern, case, ("case", case, key, index))
    for index, handoff in enumerate(process.handoff):
        yield from _lint_events(handoff, ("handoff", index))
        yield from _lint_deadline(handoff, ("handoff", index))
        yield from _lint_others(process, handoff, ("handoff", index))
    for index, forbidden in enumerate(process.forbidden):
        where: KeyPath = ("forbidden", index)
        for key, pattern, case in (
            ("event", forbidden.event, forbidden.event_case or forbidden.case),
            ("after", forbidden.after, forbidden.after_case or forbidden.case),
        ):
            yield from _lint_pattern(pattern, case, (*where, key), (*where, "case"), (*where, f"{key}_case"))
        yield from _lint_scope(forbidden.scope, {"event": forbidden.event, "after": forbidden.after}, where)
    yield from _lint_exceptions(process)


def _lint_exceptions(process: ProcessMap) -> Iterable[Flaw]:
    for index, exception in enumerate(process.exception):
        where: KeyPath = ("exception", index)
        if exception.name in _KINDS:
            words = "is the kind of other findings, which could not be told from this one; call it otherwise"
            yield Flaw((*where, "name"), exception.name, words)
        yield from _lint_pattern(exception.event, exception.case, (*where, "event"), (*where, "case"))
        yield from _lint_scope(exception.scope, {"event": exception.event}, where)


def _lint_names(process: ProcessMap) -> Iterable[Flaw]:
    seen: dict[str, KeyPath] = {}
    for kind in ("handoff", "forbidden", "exception"):
        for index, entry in enumerate(getattr(process, kind)):
            where: KeyPath = (kind, index)
            first = seen.setdefault(entry.name, where)
            if first != where:
                words = f"is the name of {path_text(first)} too; must be used once in the file"
                yield Flaw((*where, "name"), entry.name, words, against=((*first, "name"),))


def _lint_events(handoff: Handoff, where: KeyPath) -> Iterable[Flaw]:
    start_case, end_case = handoff.start_case or handoff.case, handoff.end_case or handoff.case
    cases: tuple[KeyPath, ...] = tuple((*where, key) for key in ("case", "start_case", "end_case"))
    case_path, start_path, end_path = cases
    yield from _lint_pattern(handoff.start, start_case, (*where, "start"), case_path, start_path)
    yield from _lint_pattern(handoff.end, end_case, (*where, "end"), case_path, end_path)
    for number, pattern in enumerate(handoff.abandoned_by):
        path = (*where, "abandoned_by", number)
        yield from _lint_pattern(pattern, end_case, path, case_path, end_path)
        if start_case == end_case and _covers(pattern, handoff.start):
            words = "fits every start, so that each pass would be given up as it begins"
            yield Flaw(path, str(pattern), words, ((*where, "start"), *cases))
    if start_case == end_case and _covers(handoff.end, handoff.start):
        words = "fits every start, so that each pass would end as it begins; say in where what tells them apart"
        if handoff.start == handoff.end:
            words = "must differ from start"
        yield Flaw((*where, "end"), str(handoff.end), words, ((*where, "start"), *cases))
    named = [handoff.start, handoff.end, *handoff.abandoned_by]
    for number, key in enumerate(handoff.per):
        if key in _OF_ONE_EVENT:
            words = "is another one in every event, so that no end would find its start"
            yield Flaw((*where, "per", number), key, words)
        for pattern in _known(named):
            fields = field_names(EVENT_TYPES[pattern.type])
            if key not in fields:
                hint = did_you_mean(key, sorted(fields))
                words = f"must be a field of every event that is named here; {pattern.type} has no such field"
                yield Flaw((*where, "per", number), key, words + hint)
                break
            if _is_list(pattern, key):
                yield Flaw((*where, "per", number), key, _ONE_VALUE.format(pattern.type))
                break
    yield from _lint_scope(handoff.scope, {"start": handoff.start, "end": handoff.end}, where)


def _lint_scope(scope: str, patterns: Mapping[str, Pattern], where: KeyPath) -> Iterable[Flaw]:
    known = _known(patterns.values())
    fields = sorted({name for pattern in known for name in field_names(EVENT_TYPES[pattern.type])})
    if scope and known and scope not in fields:
        types = " or ".join(dict.fromkeys(pattern.type for pattern in known))
        against = tuple((*where, key, "type") for key in patterns)
        words = f"must be a field of {types}{did_you_mean(scope, fields)}"
        yield Flaw((*where, "scope"), scope, words, against)
    if scope in _OF_ONE_EVENT:
        yield Flaw((*where, "scope"), scope, "is another one in every event: figures would be kept for each by itself")
    having = [pattern for pattern in known if scope in field_names(EVENT_TYPES[pattern.type])]
    lists = [pattern.type for pattern in having if _is_list(pattern, scope)]
    if lists:
        yield Flaw((*where, "scope"), scope, _ONE_VALUE.format(lists[0]))


def _lint_deadline(handoff: Handoff, where: KeyPath) -> Iterable[Flaw]:
    at, target, deadline = handoff.deadline_at, handoff.target, handoff.deadline
    if at is not None and deadline is not None:
        yield Flaw((*where, "deadline_at"), at.field, "give deadline or deadline_at, not both")
    carriers = (record for record in EVENT_TYPES.values() if handoff.case in field_names(record))
    if at is not None and not any(at.field in field_names(record) for record in carriers):
        words = f"no event with a {handoff.case} carries it"
        yield Flaw((*where, "deadline_at", "field"), at.field, words, against=((*where, "case"),))
    if deadline is not None and target is not None and target > deadline:
        yield Flaw((*where, "target"), target.written, "must not be longer than the deadline")


def _lint_others(process: ProcessMap, handoff: Handoff, where: KeyPath) -> Iterable[Flaw]:
    """The handoffs that one names."""
    others = {
        other.name: (other.case, ("handoff", index, "case"))
        for index, other in enumerate(process.handoff)
        if other.name != handoff.name
    }
    names: tuple[KeyPath, ...] = tuple(("handoff", index, "name") for index in range(len(process.handoff)))
    for key in ("requires", "depends_on"):
        for number, other in enumerate(getattr(handoff, key)):
            if other not in others:
                listed = f"; there are: {', '.join(others)}" if others else "; there is none in this map"
                hint = did_you_mean(other, list(others)) or listed
                yield Flaw((*where, key, number), other, f"must name another handoff{hint}", against=names)
    own = handoff.case, (*where, "case")
    for number, other in enumerate(handoff.requires):
        case, place = others.get(other, own)
        if case != handoff.case:
            words = f"must be a handoff of the same case ({handoff.case})"
            yield Flaw((*where, "requires", number), other, words, against=(own[1], place))
    if _in_circle(handoff.name, {one.name: one.depends_on for one in process.handoff}):
        yield Flaw((*where, "depends_on"), handoff.depends_on, "makes a circle of dependencies")
    required = {one.name: one.requires for one in process.handoff}
    if handoff.name not in handoff.requires and _in_circle(handoff.name, required):
        yield Flaw((*where, "requires"), handoff.requires, "makes a circle: each would have to be over first")


def _lint_pattern(pattern: Pattern, case: str | None, where: KeyPath, *case_paths: KeyPath) -> Iterable[Flaw]:
    """A pattern of events of a `case`, which is said at `case_paths`."""
    record = EVENT_TYPES.get(pattern.type)
    if record is None:
        hint = did_you_mean(pattern.type, list(EVENT_TYPES)) or f": {', '.join(EVENT_TYPES)}"
        yield Flaw((*where, "type"), pattern.type, f"must be a type of the contract{hint}")
        return
    if case is not None and case not in field_names(record):
        yield Flaw((*where, "type"), pattern.type, f"has no field {case}, which is the case here", case_paths)
    for name, wanted in pattern.where.items():
        if name not in field_names(record):
            fields = sorted(field_names(record))
            hint = did_you_mean(name, fields) or f": {', '.join(fields)}"
            yield Flaw((*where, "where", name), wanted, f"must be a field of {pattern.type}{hint}")
        else:
            words = _never_matches(record, name, [wanted] if isinstance(wanted, str) else wanted)
            if words:
                yield Flaw((*where, "where", name), wanted, words)


def _never_matches(record: type[EventBase], name: str, wanted: Sequence[str]) -> str:
    """Why a field can't have one of the values, "" where it can: such a pattern would wait for ever."""
    if not wanted:
        return "must list at least one value"
    kind = plain(branch_for("", _hints(record)[name]))
    known = choices(kind)
    if kind is not str and not known:
        return f"{name} is no text, and can't be compared with one"
    required = next(field.required for field in msgspec.structs.fields(record) if field.encode_name == name)
    for value in wanted:
        if not value and required:
            return f'{name} is never absent, which "" would mean'
        if value and known and value not in known:
            return f"must be of {', '.join(map(as_toml, known))}{did_you_mean(value, known)}"
    return ""


def _covers(wide: Pattern, narrow: Pattern) -> bool:
    """Whether what fits `narrow` always fits `wide`."""
    return wide.type == narrow.type and all(
        name in narrow.where and _values(narrow, name) <= _values(wide, name) for name in wide.where
    )


def _values(pattern: Pattern, name: str) -> set[str]:
    wanted = pattern.where[name]
    return {wanted} if isinstance(wanted, str) else set(wanted)


def _is_list(pattern: Pattern, name: str) -> bool:
    """Whether a field, which the event has, is a list: no value of its own that something could be told apart by."""
    return get_origin(plain(branch_for([], _hints(EVENT_TYPES[pattern.type])[name]))) in (list, tuple)


def _hints(record: type[EventBase]) -> dict[str, Any]:
    return get_type_hints(record, include_extras=True)


def _known(patterns: Iterable[Pattern]) -> list[Pattern]:
    return [pattern for pattern in patterns if pattern.type in EVENT_TYPES]


def _in_circle(name: str, needs: dict[str, list[str]]) -> bool:
    seen: set[str] = set()
    todo = list(needs.get(name, ()))
    while todo:
        current = todo.pop()
        if current == name:
            return True
        if current not in seen:
            seen.add(current)
            todo.extend(needs.get(current, ()))
    return False
