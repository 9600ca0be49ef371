"""What is kept of an incident: its findings, added up by kind, and the orders it touches."""

from collections.abc import Iterable

import msgspec

from operators.detectors.records import Impact, ScopeFinding, Standing
from operators.incidents.kinds import directness

#: How many values of a scope's field are told apart within a kind.
MOST_VALUES = 10_000


class Finding(msgspec.Struct, array_like=True):
    """A finding about a scope, as last heard, and its part in the incident as last written (`role` "": not yet).

    `opened_us` is the earliest that any version said; `orders` counts the cases that it named.
    """

    signal_id: str
    kind: str
    handoff: str
    scope: dict[str, str]
    opened_us: int
    found_us: int
    closed_us: int | None
    severity: str
    explanation: str
    value: float = 0.0
    currency: str = ""
    orders: int = 0
    role: str = ""
    rank: int = 0
    reason: str = ""
    version: int = 0

    @property
    def strength(self) -> tuple[float, int, str]:
        """What the strongest finding of a kind has least of: nearest to what is broken, then earliest."""
        return -directness(self.kind, self.scope), self.opened_us, self.signal_id


class KindPart(msgspec.Struct, array_like=True):
    """The findings of one kind within an incident, added up; those that were let go are still in.

    `orders` counts the cases that they named first, `values` has the values of their scopes' fields, `money` what is at
    risk beside orders, by currency. `first_us` and `closed_us` are the earliest onset and the latest end.
    """

    best: str
    first_us: int
    count: int = 0
    open: int = 0
    orders: int = 0
    found_us: int = 0
    closed_us: int = 0
    values: dict[str, set[str]] = {}
    money: dict[str, float] = {}


class Touched(msgspec.Struct, array_like=True):
    """A case that an incident touches, and who named it first. `version` 0: not yet written as it stands.

    `standing` is how far an order is, as last heard (`impact` has none); None where nobody says. `refunds` is what
    is to be paid back by return ("" for the order as a whole), of which `impact` has the sum; None until a second
    finding tells of the case.
    """

    impact: Impact
    signal_id: str
    kind: str
    touched_us: int
    breach_us: int | None = None
    error_s: float | None = None
    version: int = 0
    standing: Standing | None = None
    refunds: dict[str, float] | None = None

    @property
    def refunds_known(self) -> dict[str, float]:
        """What is to be paid back, by return."""
        if self.refunds is None:
            return {self.impact.case_id: self.impact.refund} if self.impact.refund else {}
        return self.refunds


class Totals(msgspec.Struct, array_like=True):
    """The touched cases, added up. Money by currency; `margin` only of cases where it is known."""

    orders: int = 0
    units: float = 0.0
    value: dict[str, float] = {}
    margin: dict[str, float] = {}
    refunds: dict[str, float] = {}
    customers: dict[str, int] = {}

    def count(self, impact: Impact, sign: int) -> None:
        """Count a case in (1) or out (-1)."""
        self.orders += sign if impact.order_id else 0
        self.units += sign * impact.units
        for sums, amount in ((self.value, impact.value), (self.margin, impact.margin), (self.refunds, impact.refund)):
            if amount is not None and (amount or sums is self.margin):
                sums[impact.currency] = sums.get(impact.currency, 0.0) + sign * amount
        if impact.customer_id:
            left = self.customers.get(impact.customer_id, 0) + sign
            if left:
                self.customers[impact.customer_id] = left
            else:
                del self.customers[impact.customer_id]


class Shown(msgspec.Struct, array_like=True):
    """Who an incident is to those who read of it: id, state and last version; what a merger hands from one to another.

    `incident_id` is empty until it is first written. `cause` is the finding that was last said to be it, `said` a hash
    of all that was last said.
    """

    incident_id: str = ""
    status: str = "open"
    found_us: int = 0
    resolved_us: int = 0
    version: int = 0
    cause: str = ""
    said: bytes = b""


class Record(msgspec.Struct, array_like=True):
    """An incident. `number` is its place in the order in which they were begun.

    `added_us` is when the last finding or case was added, `heard_us` when anything was heard, `over_us` when a finding
    last ended, `hold_us` until when it waits before it is written, `due_us` when it is looked at next,
    `predict_us` when all promises are predicted anew, which was done last for a cause of `predicted_kind`, and
    `on_the_way` whether any of its orders was then under way, as far as that is known. Findings that were let go are
    counted in `kinds` alone; `unnamed` are cases beyond the bound. `ranked` are the candidates that were last told,
    `fresh` and `fresh_orders` what is to be written with the next look.
    """

    number: int
    cause: str
    findings: dict[str, Finding] = {}
    kinds: dict[str, KindPart] = {}
    orders: dict[str, Touched] = {}
    totals: Totals = msgspec.field(default_factory=Totals)
    shown: Shown = msgspec.field(default_factory=Shown)
    at_risk: int = 0
    first_promise_us: int | None = None
    first_breach_us: int | None = None
    breach_error_s: float | None = None
    predicted_kind: str = ""
    predict_us: int = 0
    added_us: int = 0
    heard_us: int = 0
    over_us: int = 0
    hold_us: int = 0
    due_us: int = 0
    unnamed: int = 0
    ranked: list[str] = []
    fresh: list[str] = []
    fresh_orders: list[str] = []
    on_the_way: bool = False

    @property
    def root(self) -> Finding:
        """The finding that is held for the cause."""
        return self.findings[self.cause]

    @property
    def root_part(self) -> KindPart:
        """All findings of the cause's kind."""
        return self.kinds[self.root.kind]

    @property
    def written(self) -> bool:
        """Whether anybody was told of it."""
        return bool(self.shown.incident_id)

    @property
    def resolved(self) -> bool:
        """Whether it is over, as far as anybody was told."""
        return self.shown.status == "resolved"

    @property
    def signals(self) -> int:
        """How many findings belong to it."""
        return sum(part.count for part in self.kinds.values())

    @property
    def open_findings(self) -> int:
        """How many of them are not over."""
        return sum(part.open for part in self.kinds.values())

    def add(self, finding: Finding) -> None:
        """Take in a finding that no incident has."""
        self.findings[finding.signal_id] = finding
        part = self.kinds.get(finding.kind)
        if part is None:
            part = self.kinds[finding.kind] = KindPart(finding.signal_id, finding.opened_us)
        part.count += 1
        part.open += finding.closed_us is None
        part.found_us = max(part.found_us, finding.found_us)
        part.closed_us = max(part.closed_us, finding.closed_us or 0)
        for field, value in finding.scope.items():
            values = part.values.setdefault(field, set())
            if len(values) < MOST_VALUES:
                values.add(value)
        _count_money(part, finding, 1)
        self._weigh(part, finding)
        self.fresh.append(finding.signal_id)

    def renew(self, finding: Finding, said: ScopeFinding) -> None:
        """A later version of one of its findings."""
        part, signal = self.kinds[finding.kind], said.signal
        _count_money(part, finding, -1)
        finding.value, finding.currency = said.value, said.currency
        _count_money(part, finding, 1)
        part.open += (signal.closed_at_us is None) - (finding.closed_us is None)
        part.closed_us = max(part.closed_us, signal.closed_at_us or 0)
        finding.closed_us = signal.closed_at_us
        finding.opened_us = min(finding.opened_us, signal.opened_at_us)
        finding.severity, finding.explanation = signal.severity, signal.explanation
        self._weigh(part, finding)

    def _weigh(self, part: KindPart, finding: Finding) -> None:
        part.first_us = min(part.first_us, finding.opened_us)
        if finding.strength < self.findings[part.best].strength:
            part.best = finding.signal_id

    def absorb_parts(self, other: "Record") -> None:
        """Add up another incident's findings with this one's; the findings themselves are moved here."""
        self.findings.update(other.findings)
        for kind, taken in other.kinds.items():
            part = self.kinds.get(kind)
            if part is None:
                self.kinds[kind] = msgspec.structs.replace(taken, orders=0)  # cases are taken over one by one
                continue
            part.count, part.open = part.count + taken.count, part.open + taken.open
            part.found_us, part.closed_us = max(part.found_us, taken.found_us), max(part.closed_us, taken.closed_us)
            for field, values in taken.values.items():
                part.values.setdefault(field, set()).update(values)
            for currency, money in taken.money.items():
                part.money[currency] = part.money.get(currency, 0.0) + money
            part.first_us = min(part.first_us, taken.first_us)
            part.best = min(part.best, taken.best, key=lambda signal_id: self.findings[signal_id].strength)

    def let_go(self, most: int) -> list[str]:
        """Forget findings that are over, the first ones first, beyond `most`; they stay counted.

        Kept are those that are told as candidates: it is still to be told when they are none any more.
        """
        kept = {part.best for part in self.kinds.values()} | {self.cause, *self.ranked}
        over = [one for one in self.findings.values() if one.closed_us is not None and one.signal_id not in kept]
        gone = [one.signal_id for one in over[: max(0, len(self.findings) - most)]]
        for signal_id in gone:
            del self.findings[signal_id]
        return gone


def _count_money(part: KindPart, finding: Finding, sign: int) -> None:
    if finding.value:
        part.money[finding.currency] = part.money.get(finding.currency, 0.0) + sign * finding.value


def finding_of(said: ScopeFinding) -> Finding:
    """The first version of a finding."""
    signal = said.signal
    return Finding(
        signal.signal_id,
        signal.kind,
        signal.handoff,
        signal.scope,
        signal.opened_at_us,
        signal.found_at_us,
        signal.closed_at_us,
        signal.severity,
        signal.explanation,
        said.value,
        said.currency,
    )


def begun(number: int, finding: Finding, hold_us: int) -> Record:
    """An incident of one finding, that nobody was told of."""
    record = Record(number=number, cause=finding.signal_id, hold_us=hold_us)
    record.add(finding)
    return record


def records_by_number(records: Iterable[Record]) -> dict[int, Record]:
    """Incidents by their number, in that order."""
    return {record.number: record for record in sorted(records, key=lambda one: one.number)}
