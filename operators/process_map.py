"""The process map: the declared handoffs of the retailer's work, as typed records, and what is wrong with one.

From the one declaration come latency samples, overdue timers, sequence, duplicate and impossible-state findings,
backlog per scope, the dependency graph and its picture. The file format is described in docs/process-map.md.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from schemas.durations import DAY_US, MINUTE_US, Duration
from schemas.events import EVENT_TYPES, EventBase, field_names
from schemas.problems import Declared, Problem, declare, line_of, path_text

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Severity: TypeAlias = Literal["info", "low", "medium", "high", "critical"]
CaseField: TypeAlias = Literal[
    "order_id", "return_id", "po_id", "reservation_id", "task_id", "shipment_id", "posting_id", "reference", "correlation_id"
]


class Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events: a type, and optionally values that fields of it must have ("" where it must be absent)."""

    type: str
    where: dict[str, str | list[str]] = {}

    def matches(self, event: EventBase) -> bool:
        """Whether `event`, already known to be of this type, has the wanted values."""
        for name, wanted in self.where.items():
            value = getattr(event, name, None)
            if value is None:
                value = ""
            if (value not in wanted) if isinstance(wanted, list) else (value != wanted):
                return False
        return True

    def __str__(self) -> str:
        """`task.completed[task_type=pick]`."""
        if not self.where:
            return self.type
        terms = (f"{k}={'|'.join(v) if isinstance(v, list) else v}" for k, v in sorted(self.where.items()))
        return f"{self.type}[{','.join(terms)}]"


class CaseTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A deadline that the case carries: a time field of its events (the latest by event time counts)."""

    field: Literal["promised_at", "dispatch_by", "expected_at", "expires_at"]
    plus: Duration = Duration(0)


class Handoff(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One step of work that passes from a system or team to the next."""

    name: Name
    case: CaseField
    start: Pattern
    end: Pattern
    start_optional: bool = False
    abandoned_by: list[Pattern] = []
    title: str = ""
    start_case: CaseField | None = None
    end_case: CaseField | None = None
    per: list[str] = []
    scope: str = ""
    target: Duration | None = None
    deadline: Duration | None = None
    deadline_at: CaseTime | None = None
    requires: list[str] = []
    sequence_grace: Duration = Duration(15 * MINUTE_US)
    repeat: Literal["first", "flag", "flag_start", "flag_end"] = "first"
    depends_on: list[str] = []
    severity: Severity = "medium"


class Forbidden(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An impossible state: `event` happened (event time) after `after` had."""

    name: Name
    case: CaseField
    event: Pattern
    after: Pattern
    title: str = ""
    scope: str = ""
    severity: Severity = "high"


class ExceptionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An event that is a finding by itself: a failed delivery, a rejected pick, a refused posting."""

    name: Name
    event: Pattern
    case: CaseField | None = None
    title: str = ""
    scope: str = ""
    severity: Severity = "low"


class CaseRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of one kind of case: where it begins, what cancels it, how long it is remembered."""

    title: str = ""
    begins_with: list[Pattern] = []
    cancelled_by: list[Pattern] = []
    retention: Duration = Duration(7 * DAY_US)
    abandon_after: Duration = Duration(90 * DAY_US)


class ProcessMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All handoffs of a retailer, and what belongs to them."""

    name: Name
    version: Literal[1] = 1
    title: str = ""
    window: Duration = Duration(MINUTE_US)
    slide: Duration | None = None
    case: dict[CaseField, CaseRule] = {}
    handoff: list[Handoff] = []
    forbidden: list[Forbidden] = []
    exception: list[ExceptionRule] = field(default=[])

    def case_rule(self, case: str) -> CaseRule:
        """The rule of a kind of case, the default where none is declared."""
        return self.case.get(case, CaseRule())  # type: ignore[call-overload,no-any-return] # keys are the literals


def read_process_map(text: str, file: str) -> Declared[ProcessMap]:
    """Read and lint a process map written in TOML; every problem at once."""
    declared = declare(text, ProcessMap, file)
    if declared.value is None:
        return declared
    problems = tuple(_lint(declared.value, file, text))
    return Declared(None if problems else declared.value, problems)


def _lint(process: ProcessMap, file: str, text: str) -> Iterable[Problem]:
    def problem(path: tuple[str | int, ...], value: object, expected: str) -> Problem:
        return Problem(file, path_text(path), f'"{value}"', expected, line_of(text, path))

    names = [handoff.name for handoff in process.handoff]
    rules = [*names, *(rule.name for rule in process.forbidden), *(rule.name for rule in process.exception)]
    for kind, entries in (("handoff", process.handoff), ("forbidden", process.forbidden), ("exception", process.exception)):
        for index, entry in enumerate(entries):
            if rules.count(entry.name) > 1:
                yield problem((kind, index, "name"), entry.name, "is used by two entries; names must be unique")
    if process.window <= 0:
        yield problem(("window",), process.window, "must be longer than 0")
    if process.slide is not None and (process.slide <= 0 or process.window % process.slide):
        yield problem(("slide",), process.slide.seconds, "must be a whole fraction of window")
    for case, rule in process.case.items():
        for key in ("begins_with", "cancelled_by"):
            for index, pattern in enumerate(getattr(rule, key)):
                yield from _lint_pattern(pattern, case, ("case", case, key, index), problem)
    for index, handoff in enumerate(process.handoff):
        yield from _lint_handoff(process, handoff, index, names, problem)
    for index, forbidden in enumerate(process.forbidden):
        yield from _lint_pattern(forbidden.event, forbidden.case, ("forbidden", index, "event"), problem)
        yield from _lint_pattern(forbidden.after, forbidden.case, ("forbidden", index, "after"), problem)
    for index, exception in enumerate(process.exception):
        yield from _lint_pattern(exception.event, exception.case, ("exception", index, "event"), problem)


def _lint_handoff(process: ProcessMap, handoff: Handoff, index: int, names: list[str], problem: Any) -> Iterable[Problem]:  # noqa: ANN401 - the maker of problems
    where: tuple[str | int, ...] = ("handoff", index)
    yield from _lint_pattern(handoff.start, handoff.start_case or handoff.case, (*where, "start"), problem)
    yield from _lint_pattern(handoff.end, handoff.end_case or handoff.case, (*where, "end"), problem)
    for number, pattern in enumerate(handoff.abandoned_by):
        yield from _lint_pattern(pattern, handoff.end_case or handoff.case, (*where, "abandoned_by", number), problem)
    types = [EVENT_TYPES[p.type] for p in (handoff.start, handoff.end) if p.type in EVENT_TYPES]
    for key in handoff.per:
        if types and not all(key in field_names(record) for record in types):
            yield problem((*where, "per"), key, "must be a field of both the start and the end event")
    if handoff.scope and types and not any(handoff.scope in field_names(record) for record in types):
        yield problem((*where, "scope"), handoff.scope, "must be a field of the start or the end event")
    if handoff.deadline is not None and handoff.deadline_at is not None:
        yield problem((*where, "deadline_at"), handoff.deadline_at.field, "give deadline or deadline_at, not both")
    if handoff.deadline_at is not None and not any(
        handoff.deadline_at.field in field_names(record) for record in EVENT_TYPES.values() if handoff.case in field_names(record)
    ):
        yield problem((*where, "deadline_at"), handoff.deadline_at.field, f"no event with a {handoff.case} carries it")
    if handoff.deadline is not None and handoff.target is not None and handoff.target > handoff.deadline:
        yield problem((*where, "target"), f"{handoff.target.seconds:g}s", "must not be longer than the deadline")
    for key in ("requires", "depends_on"):
        for other in getattr(handoff, key):
            if other not in names or other == handoff.name:
                yield problem((*where, key), other, f"must name another handoff; there are: {', '.join(names)}")
    cases = {other.name: other.case for other in process.handoff}
    for other in handoff.requires:
        if cases.get(other, handoff.case) != handoff.case:
            yield problem((*where, "requires"), other, f"must be a handoff of the same case ({handoff.case})")
    if _in_cycle(handoff.name, {h.name: h.depends_on for h in process.handoff}):
        yield problem((*where, "depends_on"), ", ".join(handoff.depends_on), "makes a circle of dependencies")


def _lint_pattern(pattern: Pattern, case: str | None, where: tuple[str | int, ...], problem: Any) -> Iterable[Problem]:  # noqa: ANN401 - the maker of problems
    record = EVENT_TYPES.get(pattern.type)
    if record is None:
        yield problem((*where, "type"), pattern.type, f"must be a type of the contract: {', '.join(EVENT_TYPES)}")
        return
    if case is not None and case not in field_names(record):
        yield problem((*where, "type"), pattern.type, f"has no field {case}, which is the case here")
    for name in pattern.where:
        if name not in field_names(record):
            yield problem((*where, "where"), name, f"must be a field of {pattern.type}: {', '.join(sorted(field_names(record)))}")


def _in_cycle(name: str, depends_on: dict[str, list[str]]) -> bool:
    seen: set[str] = set()
    todo = list(depends_on.get(name, ()))
    while todo:
        current = todo.pop()
        if current == name:
            return True
        if current not in seen:
            seen.add(current)
            todo.extend(depends_on.get(current, ()))
    return False
