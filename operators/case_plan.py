"""What each event type means to each kind of case: the process map compiled for the hot path.

A kind of case is a field of the contract (`order_id`, `return_id`, …). An event belongs to the case that its field
names; a handoff may find its case under another field of the start or end event (a posting's `reference`).
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from zlib import crc32

import msgspec

from operators.process_map import Pattern, ProcessMap
from schemas.events import EVENT_TYPES, EventBase, field_names

#: A stable hash of a case id: the same in every process and after every restart.
Owner = Callable[[str], bool]


class Part(StrEnum):
    """What an event is to a handoff."""

    START = "start"
    END = "end"
    ABANDON = "abandon"


class Role(msgspec.Struct, frozen=True):
    """An event that is a part of a handoff (`entry` indexes `ProcessMap.handoff`)."""

    entry: int
    part: Part
    pattern: Pattern


class Mark(msgspec.Struct, frozen=True):
    """An event that counts for a forbidden order (`entry` indexes `ProcessMap.forbidden`)."""

    entry: int
    is_after: bool
    pattern: Pattern


class CasePlan(msgspec.Struct):
    """What one event type means to the case that its field `id_field` names."""

    kind: str
    id_field: str
    roles: list[Role]
    marks: list[Mark]
    begins: list[Pattern]
    cancels: list[Pattern]
    times: list[str]


class EventPlan(msgspec.Struct):
    """All cases that an event type belongs to, and the findings it is by itself (indexes of `ProcessMap.exception`)."""

    cases: list[CasePlan]
    exceptions: list[int]
    id_fields: list[str]

    def case_ids(self, event: EventBase) -> list[str]:
        """The ids of the cases that `event` belongs to, each once."""
        found: list[str] = []
        for name in self.id_fields:
            value = getattr(event, name)
            if value is not None and value not in found:
                found.append(value)
        return found


def bucket_of(key: str, groups: int) -> int:
    """The key group of `key`: stable over processes and restarts."""
    return crc32(key.encode()) % groups


def compile_plans(process: ProcessMap) -> dict[type[EventBase], EventPlan]:
    """The plan of every event type that means something to a case."""
    plans: dict[tuple[str, str, str], CasePlan] = {}

    def plan(type_: str, kind: str, id_field: str) -> CasePlan:
        key = (type_, kind, id_field)
        if key not in plans:
            plans[key] = CasePlan(kind, id_field, [], [], [], [], [])
        return plans[key]

    for index, handoff in enumerate(process.handoff):
        start_field = handoff.start_case or handoff.case
        end_field = handoff.end_case or handoff.case
        plan(handoff.start.type, handoff.case, start_field).roles.append(Role(index, Part.START, handoff.start))
        plan(handoff.end.type, handoff.case, end_field).roles.append(Role(index, Part.END, handoff.end))
        for pattern in handoff.abandoned_by:
            plan(pattern.type, handoff.case, end_field).roles.append(Role(index, Part.ABANDON, pattern))
        if handoff.deadline_at is not None:
            for type_ in _types_with(handoff.case, handoff.deadline_at.field):
                times = plan(type_, handoff.case, handoff.case).times
                if handoff.deadline_at.field not in times:
                    times.append(handoff.deadline_at.field)
    for index, rule in enumerate(process.forbidden):
        plan(rule.event.type, rule.case, rule.case).marks.append(Mark(index, False, rule.event))  # noqa: FBT003 - a field
        plan(rule.after.type, rule.case, rule.case).marks.append(Mark(index, True, rule.after))  # noqa: FBT003 - a field
    for kind, case in process.case.items():
        for pattern in case.begins_with:
            plan(pattern.type, kind, kind).begins.append(pattern)
        for pattern in case.cancelled_by:
            plan(pattern.type, kind, kind).cancels.append(pattern)
    return _by_type(process, plans)


def _by_type(process: ProcessMap, plans: dict[tuple[str, str, str], CasePlan]) -> dict[type[EventBase], EventPlan]:
    out: dict[type[EventBase], EventPlan] = {}
    for (type_, _, id_field), case in plans.items():
        event = out.setdefault(EVENT_TYPES[type_], EventPlan([], [], []))
        event.cases.append(case)
        if id_field not in event.id_fields:
            event.id_fields.append(id_field)
    for index, exception in enumerate(process.exception):
        event = out.setdefault(EVENT_TYPES[exception.event.type], EventPlan([], [], []))
        event.exceptions.append(index)
        case = exception.case or _default_case(exception.event.type)
        if case not in event.id_fields and not event.cases:
            event.id_fields.append(case)
    return out


def _default_case(type_: str) -> str:
    """The field that an exception of a type without a declared case is keyed by: its most specific id."""
    names = field_names(EVENT_TYPES[type_])
    for name in ("order_id", "return_id", "po_id", "reference", "task_id", "shipment_id", "reservation_id"):
        if name in names:
            return name
    return "event_id"


def _types_with(*names: str) -> Iterable[str]:
    return (type_ for type_, record in EVENT_TYPES.items() if all(name in field_names(record) for name in names))


def time_field(event: EventBase, name: str) -> datetime | None:
    """The time that `event` carries in field `name`."""
    value: datetime | None = getattr(event, name)
    return value
