"""What each event type means to each kind of case: the process map compiled for the hot path.

A kind of case is a field of the contract (`order_id`, `return_id`, …). An event belongs to the case that its field
names; a handoff may find its case under another field of the start or end event (a posting's `reference`).
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from zlib import crc32

import msgspec

from operators.process_map import Handoff, Pattern, ProcessMap
from schemas.events import EVENT_TYPES, EventBase, field_names

#: The ids of an event, the one first that says most about what it has to do with.
MOST_TELLING = ("order_id", "return_id", "po_id", "reference", "task_id", "shipment_id", "reservation_id")


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
    pattern: Pattern
    is_after: bool


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


class _Plans:
    """The plans under way, one for each type, kind of case and the field that names it."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str, str], CasePlan] = {}

    def of(self, type_: str, kind: str, id_field: str) -> CasePlan:
        key = (type_, kind, id_field)
        if key not in self.by_key:
            self.by_key[key] = CasePlan(kind, id_field, [], [], [], [], [])
        return self.by_key[key]

    def add_handoff(self, index: int, handoff: Handoff) -> None:
        start_field = handoff.start_case or handoff.case
        end_field = handoff.end_case or handoff.case
        parts = [(Part.START, handoff.start, start_field), (Part.END, handoff.end, end_field)]
        parts += [(Part.ABANDON, pattern, end_field) for pattern in handoff.abandoned_by]
        for part, pattern, field in parts:
            self.of(pattern.type, handoff.case, field).roles.append(Role(index, part, pattern))
        if handoff.deadline_at is not None:
            for type_ in _types_with(handoff.case, handoff.deadline_at.field):
                times = self.of(type_, handoff.case, handoff.case).times
                if handoff.deadline_at.field not in times:
                    times.append(handoff.deadline_at.field)


def compile_plans(process: ProcessMap) -> dict[type[EventBase], EventPlan]:
    """The plan of every event type that means something to a case."""
    plans = _Plans()
    for index, handoff in enumerate(process.handoff):
        plans.add_handoff(index, handoff)
    for index, rule in enumerate(process.forbidden):
        event_field, after_field = rule.event_case or rule.case, rule.after_case or rule.case
        plans.of(rule.event.type, rule.case, event_field).marks.append(Mark(index, rule.event, is_after=False))
        plans.of(rule.after.type, rule.case, after_field).marks.append(Mark(index, rule.after, is_after=True))
    for kind, case in process.case.items():
        for pattern in case.begins_with:
            plans.of(pattern.type, kind, kind).begins.append(pattern)
        for pattern in case.cancelled_by:
            plans.of(pattern.type, kind, kind).cancels.append(pattern)
    return _by_type(process, plans.by_key)


def _by_type(process: ProcessMap, plans: dict[tuple[str, str, str], CasePlan]) -> dict[type[EventBase], EventPlan]:
    out: dict[type[EventBase], EventPlan] = {}
    for (type_, _, id_field), case_plan in plans.items():
        event = out.setdefault(EVENT_TYPES[type_], EventPlan([], [], []))
        event.cases.append(case_plan)
        if id_field not in event.id_fields:
            event.id_fields.append(id_field)
    for index, exception in enumerate(process.exception):
        event = out.setdefault(EVENT_TYPES[exception.event.type], EventPlan([], [], []))
        event.exceptions.append(index)
        id_field = exception.case or _default_case(exception.event.type)
        if id_field not in event.id_fields and not event.cases:
            event.id_fields.append(id_field)
    return out


def _default_case(type_: str) -> str:
    """The field that an exception of a type without a declared case is keyed by."""
    names = field_names(EVENT_TYPES[type_])
    return next((name for name in MOST_TELLING if name in names), "event_id")


def _types_with(*names: str) -> Iterable[str]:
    return (type_ for type_, record in EVENT_TYPES.items() if all(name in field_names(record) for name in names))


def time_field(event: EventBase, name: str) -> datetime | None:
    """The time that `event` carries in field `name`."""
    value: datetime | None = getattr(event, name)
    return value
