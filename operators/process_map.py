"""The process map: the declared handoffs of the retailer's work, as typed records.

From the one declaration come latency samples, overdue timers, sequence, duplicate and impossible-state
findings, backlog per scope, the dependency graph and its picture. The file format is described in
docs/process-map.md.
"""

from typing import Literal, TypeAlias

import msgspec
from msgspec import field

from schemas.durations import DAY_US, MINUTE_US, Duration, Lasting
from schemas.events import EventBase
from schemas.names import Name

Severity: TypeAlias = Literal["info", "low", "medium", "high", "critical"]
CaseField: TypeAlias = Literal[
    "order_id",
    "return_id",
    "po_id",
    "reservation_id",
    "task_id",
    "shipment_id",
    "posting_id",
    "reference",
    "correlation_id",
]


class Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events: a type, and optionally values that fields of it must have ("": the field is absent)."""

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
        """`task.completed[task_type=pick]`; `order.cancelled[no line_id]`."""
        if not self.where:
            return self.type
        terms = (_term(name, [value] if isinstance(value, str) else value) for name, value in self.where.items())
        return f"{self.type}[{','.join(sorted(terms))}]"


def _term(name: str, wanted: list[str]) -> str:
    values = "|".join(value for value in wanted if value)
    absent = f"no {name}" if "" in wanted else ""
    return "|".join(part for part in (f"{name}={values}" if values else "", absent) if part)


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
    target: Lasting | None = None
    deadline: Lasting | None = None
    deadline_at: CaseTime | None = None
    requires: list[str] = []
    sequence_grace: Duration = Duration(15 * MINUTE_US)
    repeat: Literal["first", "flag", "flag_start", "flag_end"] = "first"
    depends_on: list[str] = []
    severity: Severity = "medium"

    @property
    def identity(self) -> str:
        """What makes a pass one of this handoff's, and where it is counted: under another it is something else."""
        cases = self.case, self.start_case or self.case, self.end_case or self.case
        return "|".join((self.name, str(self.start), str(self.end), *cases, ",".join(self.per), self.scope))


class Forbidden(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An impossible state: `event` happened (event time) after `after` had."""

    name: Name
    case: CaseField
    event: Pattern
    after: Pattern
    event_case: CaseField | None = None
    after_case: CaseField | None = None
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
