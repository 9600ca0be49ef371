"""Reading a process map, and what is wrong with one whose keys and types are right: every problem at once."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, get_origin, get_type_hints

import msgspec

from operators.process_map import Handoff, Pattern, ProcessMap
from schemas.accepted import as_toml, branch_for, choices, plain
from schemas.events import EVENT_TYPES, EventBase, field_names
from schemas.problems import Declared, Problem, declare, did_you_mean, path_text
from schemas.toml_lines import KeyPath, line_of

_Problems: TypeAlias = Callable[[KeyPath, object, str], Problem]
_ONE_VALUE = "must be a field with one value; of {} it is a list"


def read_process_map(text: str, file: str) -> Declared[ProcessMap]:
    """Read and lint a process map written in TOML; every problem at once."""
    declared = declare(text, ProcessMap, file)
    if declared.value is None:
        return declared
    problems = tuple(sorted(lint(declared.value, file, text), key=lambda problem: (not problem.line, problem.line)))
    return Declared(None if problems else declared.value, problems)


def lint(process: ProcessMap, file: str, text: str) -> Iterable[Problem]:
    """The problems of `process`, which was read from `text`."""

    def problem(path: KeyPath, value: object, expected: str) -> Problem:
        return Problem(file, path_text(path), as_toml(value), expected, line_of(text, path))

    yield from _lint_names(process, problem)
    if process.window <= 0:
        yield problem(("window",), process.window.written, "must be longer than 0")
    elif process.slide is not None and (process.slide <= 0 or process.window % process.slide):
        yield problem(("slide",), process.slide.written, "must be a whole fraction of window")
    for case, rule in process.case.items():
        for key in ("begins_with", "cancelled_by"):
            for index, pattern in enumerate(getattr(rule, key)):
                yield from _lint_pattern(pattern, case, ("case", case, key, index), problem)
    for index, handoff in enumerate(process.handoff):
        yield from _lint_events(handoff, ("handoff", index), problem)
        yield from _lint_deadline(handoff, ("handoff", index), problem)
        yield from _lint_others(process, handoff, ("handoff", index), problem)
    for index, forbidden in enumerate(process.forbidden):
        event_case, after_case = forbidden.event_case or forbidden.case, forbidden.after_case or forbidden.case
        yield from _lint_pattern(forbidden.event, event_case, ("forbidden", index, "event"), problem)
        yield from _lint_pattern(forbidden.after, after_case, ("forbidden", index, "after"), problem)
        yield from _lint_scope(forbidden.scope, [forbidden.event, forbidden.after], ("forbidden", index), problem)
    for index, exception in enumerate(process.exception):
        yield from _lint_pattern(exception.event, exception.case, ("exception", index, "event"), problem)
        yield from _lint_scope(exception.scope, [exception.event], ("exception", index), problem)


def _lint_names(process: ProcessMap, problem: _Problems) -> Iterable[Problem]:
    seen: dict[str, str] = {}
    for kind in ("handoff", "forbidden", "exception"):
        for index, entry in enumerate(getattr(process, kind)):
            where = f"{kind}[{index}]"
            if entry.name in seen:
                yield problem(
                    (kind, index, "name"),
                    entry.name,
                    f"is the name of {seen[entry.name]} too; must be used once in the file",
                )
            seen.setdefault(entry.name, where)


def _lint_events(handoff: Handoff, where: KeyPath, problem: _Problems) -> Iterable[Problem]:
    start_case, end_case = handoff.start_case or handoff.case, handoff.end_case or handoff.case
    yield from _lint_pattern(handoff.start, start_case, (*where, "start"), problem)
    yield from _lint_pattern(handoff.end, end_case, (*where, "end"), problem)
    for number, pattern in enumerate(handoff.abandoned_by):
        yield from _lint_pattern(pattern, end_case, (*where, "abandoned_by", number), problem)
    if handoff.start == handoff.end and start_case == end_case:
        yield problem((*where, "end"), str(handoff.end), "must differ from start")
    named = [handoff.start, handoff.end, *handoff.abandoned_by]
    for number, key in enumerate(handoff.per):
        for pattern in _known(named):
            fields = field_names(EVENT_TYPES[pattern.type])
            if key not in fields:
                hint = did_you_mean(key, sorted(fields))
                words = f"must be a field of every event that is named here; {pattern.type} has no such field"
                yield problem((*where, "per", number), key, words + hint)
                break
            if _is_list(pattern, key):
                yield problem((*where, "per", number), key, _ONE_VALUE.format(pattern.type))
                break
    yield from _lint_scope(handoff.scope, [handoff.start, handoff.end], where, problem)


def _lint_scope(scope: str, patterns: Sequence[Pattern], where: KeyPath, problem: _Problems) -> Iterable[Problem]:
    known = _known(patterns)
    fields = sorted({name for pattern in known for name in field_names(EVENT_TYPES[pattern.type])})
    if scope and known and scope not in fields:
        types = " or ".join(dict.fromkeys(pattern.type for pattern in known))
        yield problem((*where, "scope"), scope, f"must be a field of {types}{did_you_mean(scope, fields)}")
    having = [pattern for pattern in known if scope in field_names(EVENT_TYPES[pattern.type])]
    lists = [pattern.type for pattern in having if _is_list(pattern, scope)]
    if lists:
        yield problem((*where, "scope"), scope, _ONE_VALUE.format(lists[0]))


def _lint_deadline(handoff: Handoff, where: KeyPath, problem: _Problems) -> Iterable[Problem]:
    at, target, deadline = handoff.deadline_at, handoff.target, handoff.deadline
    if at is not None and deadline is not None:
        yield problem((*where, "deadline_at"), at.field, "give deadline or deadline_at, not both")
    carriers = (record for record in EVENT_TYPES.values() if handoff.case in field_names(record))
    if at is not None and not any(at.field in field_names(record) for record in carriers):
        yield problem((*where, "deadline_at", "field"), at.field, f"no event with a {handoff.case} carries it")
    if deadline is not None and target is not None and target > deadline:
        yield problem((*where, "target"), target.written, "must not be longer than the deadline")


def _lint_others(process: ProcessMap, handoff: Handoff, where: KeyPath, problem: _Problems) -> Iterable[Problem]:
    """The handoffs that one names."""
    cases = {other.name: other.case for other in process.handoff if other.name != handoff.name}
    for key in ("requires", "depends_on"):
        for number, other in enumerate(getattr(handoff, key)):
            if other not in cases:
                listed = f"; there are: {', '.join(cases)}" if cases else "; there is none in this map"
                hint = did_you_mean(other, list(cases)) or listed
                yield problem((*where, key, number), other, f"must name another handoff{hint}")
    for number, other in enumerate(handoff.requires):
        if cases.get(other, handoff.case) != handoff.case:
            yield problem((*where, "requires", number), other, f"must be a handoff of the same case ({handoff.case})")
    if _in_circle(handoff.name, {one.name: one.depends_on for one in process.handoff}):
        yield problem((*where, "depends_on"), handoff.depends_on, "makes a circle of dependencies")
    required = {one.name: one.requires for one in process.handoff}
    if handoff.name not in handoff.requires and _in_circle(handoff.name, required):
        yield problem((*where, "requires"), handoff.requires, "makes a circle: each would have to be over first")


def _lint_pattern(pattern: Pattern, case: str | None, where: KeyPath, problem: _Problems) -> Iterable[Problem]:
    record = EVENT_TYPES.get(pattern.type)
    if record is None:
        hint = did_you_mean(pattern.type, list(EVENT_TYPES)) or f": {', '.join(EVENT_TYPES)}"
        yield problem((*where, "type"), pattern.type, f"must be a type of the contract{hint}")
        return
    if case is not None and case not in field_names(record):
        yield problem((*where, "type"), pattern.type, f"has no field {case}, which is the case here")
    for name, wanted in pattern.where.items():
        if name not in field_names(record):
            fields = sorted(field_names(record))
            hint = did_you_mean(name, fields) or f": {', '.join(fields)}"
            yield problem((*where, "where", name), wanted, f"must be a field of {pattern.type}{hint}")
        else:
            words = _never_matches(record, name, [wanted] if isinstance(wanted, str) else wanted)
            if words:
                yield problem((*where, "where", name), wanted, words)


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
