"""The plans of event types, worked out as far as they can be before an event is seen.

Events of one type often differ in one field that the process map asks about (`posting_type`, `task_type`): for each of
its values there are steps of their own, in which that question is answered.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TypeAlias

import msgspec
from msgspec import inspect

from operators.case_plan import CasePlan, EventPlan, Mark, Part, Role, time_field
from operators.case_state import Case
from operators.process_map import Handoff, Pattern, ProcessMap
from schemas.events import EventBase, field_names, type_name


class Step(msgspec.Struct, frozen=True, gc=False):
    """An event that is a part of a handoff.

    `scope_field` is empty where events of this type have no such field, `per_field` where it takes more than one field,
    or none, to tell a pass from others.
    """

    entry: int
    part: Part
    pattern: Pattern
    handoff: Handoff
    is_start: bool
    scope_field: str
    per_field: str


class CaseSteps(msgspec.Struct, frozen=True, gc=False):
    """What an event means to the case that its field `id_field` names.

    `is_conditional`: whether it means anything depends on conditions that are still open.
    `straight`: for each step, what takes the straight way; None where there is more to the event than starts and ends
    of different handoffs, each counted in windows. `lone` takes the case of a kind with only one handoff first.
    """

    kind: str
    id_field: str
    steps: list[Step]
    marks: list[Mark]
    begins: list[Pattern]
    cancels: list[Pattern]
    times: list[str]
    is_conditional: bool
    straight: "list[tuple[Straight, Step]] | None"
    lone: "Lone | None" = None

    def said(self, event: EventBase) -> list[str]:
        """The fields in which `event` says a time that is somebody's deadline."""
        return [name for name in self.times if time_field(event, name) is not None]


#: Takes a case's id, the case, an event, its event time and its arrival; whether all is done.
Straight: TypeAlias = Callable[[str, Case, EventBase, int, int], bool]


#: Takes the id of a case that may be but one pass, an event, its event time and its arrival; whether all is done.
Lone: TypeAlias = Callable[[str, EventBase, int, int], bool]


class EventSteps(msgspec.Struct, frozen=True, gc=False):
    """All that an event type (with one value in a field) means. `is_shared`: its cases can be of several key groups."""

    plan: EventPlan
    type: str
    cases: list[CaseSteps]
    exceptions: list[int]
    is_shared: bool


class TypeSteps(msgspec.Struct, frozen=True, gc=False):
    """The steps of one event type: by the value in `field` (empty: no difference), else `other`."""

    field: str
    by_value: dict[str, EventSteps]
    other: EventSteps


def compile_steps(
    process: ProcessMap,
    entries: Sequence[Handoff],
    visible: int,
    plans: dict[type[EventBase], EventPlan],
    straight: Callable[[Step], Straight],
    lone: Callable[[CaseSteps], Lone | None],
) -> dict[type[EventBase], TypeSteps]:
    """The steps of every event type that has a plan; the first `visible` of `entries` are counted in windows.

    `straight` makes the straight way of a step, `lone` that of a plan for cases that are nothing but one pass.
    """
    out: dict[type[EventBase], TypeSteps] = {}
    for record, plan in plans.items():
        asked = Counter(field for pattern in _patterns(process, plan) for field in pattern.where)
        fields = [field for field, _ in asked.most_common() if _is_text(record, field)]
        field = fields[0] if fields else ""
        values = {value for pattern in _patterns(process, plan) for value in _wanted(pattern, field)}
        maker = _Maker(process, entries, visible, record, plan, straight, lone)
        out[record] = TypeSteps(field, {value: maker.steps(field, value) for value in values}, maker.steps(field, None))
    return out


class _Maker(msgspec.Struct, frozen=True):
    """The steps of one event type."""

    process: ProcessMap
    entries: Sequence[Handoff]
    visible: int
    record: type[EventBase]
    plan: EventPlan
    straight: Callable[[Step], Straight]
    lone: Callable[[CaseSteps], Lone | None]

    def steps(self, field: str, value: str | None) -> EventSteps:
        """Those of events with `value` in `field`; None: with a value that nothing asks for."""
        cases = [self._case(case, field, value) for case in self.plan.cases]
        exceptions = [
            index
            for index in self.plan.exceptions
            if _resolved(self.process.exception[index].event, field, value) is not None
        ]
        return EventSteps(
            self.plan,
            type_name(self.record),
            [case for case in cases if case.steps or case.marks or case.begins or case.cancels or case.times],
            exceptions,
            len(self.plan.id_fields) > 1,
        )

    def _case(self, plan: CasePlan, field: str, value: str | None) -> CaseSteps:
        roles = [(role, _resolved(role.pattern, field, value)) for role in plan.roles]
        steps = [self._step(role, pattern) for role, pattern in roles if pattern is not None]
        marked = [(mark, _resolved(mark.pattern, field, value)) for mark in plan.marks]
        marks = [msgspec.structs.replace(mark, pattern=pattern) for mark, pattern in marked if pattern is not None]
        begins = [one for one in (_resolved(pattern, field, value) for pattern in plan.begins) if one is not None]
        cancels = [one for one in (_resolved(pattern, field, value) for pattern in plan.cancels) if one is not None]
        patterns = [*(step.pattern for step in steps), *(mark.pattern for mark in marks), *begins, *cancels]
        is_sure = bool(patterns) and not any(pattern.where for pattern in patterns)
        is_plain = (
            is_sure
            and not cancels
            and all(step.part is not Part.ABANDON and step.entry < self.visible for step in steps)
            and len({step.entry for step in steps}) == len(steps)
        )
        straight = [(self.straight(step), step) for step in steps] if is_plain else None
        made = CaseSteps(
            plan.kind,
            plan.id_field,
            steps,
            marks,
            begins,
            cancels,
            plan.times,
            is_conditional=not is_sure,
            straight=straight,
        )
        return msgspec.structs.replace(made, lone=self.lone(made))

    def _step(self, role: Role, pattern: Pattern) -> Step:
        handoff = self.entries[role.entry]
        scope_field = handoff.scope if handoff.scope in field_names(self.record) else ""
        per_field = handoff.per[0] if len(handoff.per) == 1 and handoff.per[0] in field_names(self.record) else ""
        return Step(role.entry, role.part, pattern, handoff, role.part is Part.START, scope_field, per_field)


def _patterns(process: ProcessMap, plan: EventPlan) -> Iterator[Pattern]:
    for case in plan.cases:
        yield from (role.pattern for role in case.roles)
        yield from (mark.pattern for mark in case.marks)
        yield from case.begins
        yield from case.cancels
    yield from (process.exception[index].event for index in plan.exceptions)


def _wanted(pattern: Pattern, field: str) -> list[str]:
    wanted = pattern.where.get(field, [])
    return [wanted] if isinstance(wanted, str) else wanted


def _resolved(pattern: Pattern, field: str, value: str | None) -> Pattern | None:
    """What is left to ask where `field` has `value`; None where the answer is no."""
    if field not in pattern.where:
        return pattern
    if value is None or value not in _wanted(pattern, field):
        return None
    return Pattern(pattern.type, {name: wanted for name, wanted in pattern.where.items() if name != field})


@cache
def _is_text(record: type[EventBase], field: str) -> bool:
    """Whether a field is text, or absent."""
    if field not in field_names(record):
        return False
    declared = next(one.type for one in msgspec.structs.fields(record) if one.name == field)
    kind = inspect.type_info(declared)
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return all(
        isinstance(one, inspect.StrType | inspect.NoneType)
        or (isinstance(one, inspect.LiteralType) and all(isinstance(value, str) for value in one.values))
        for one in kinds
    )
