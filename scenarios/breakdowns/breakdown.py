"""What all breakdowns have in common."""

from abc import ABC, abstractmethod
from collections import Counter
from typing import ClassVar

import msgspec

from scenarios.catalogue import money
from scenarios.network import Node
from scenarios.orders import Line, Order
from scenarios.retailer import Retailer
from scenarios.truth import Cause, TruthRecord
from schemas.durations import HOUR_US, Duration, rfc3339

Scope = dict[str, str | list[str]]

#: How long after its end what still goes wrong is put down to a breakdown that leaves a backlog.
AFTERMATH_US = HOUR_US


class Breakdown(ABC):
    """Something that is broken from `begin_us` to `end_us`.

    A breakdown changes a mechanism (a queue's rate, a feed, an interface), never an outcome; what follows
    from it is observed with `touch` while the run goes on, and that is what the truth is written from.

    A kind declares `kind`, when it happens by default (`begins`, `ends`, from the start of the log), and its
    `Parameters` with their defaults.
    """

    kind: ClassVar[str]
    begins: ClassVar[Duration]
    ends: ClassVar[Duration]
    Parameters: ClassVar[type[msgspec.Struct]]

    def __init__(self, breakdown_id: str, begin_us: int, end_us: int, parameters: msgspec.Struct) -> None:
        self.breakdown_id = breakdown_id
        self.begin_us = begin_us
        self.end_us = end_us
        self.parameters = parameters
        self.effects: Counter[str] = Counter()
        self.effects_until_us = end_us
        self._lines: dict[str, dict[str, int]] = {}

    @abstractmethod
    def problem(self, retailer: Retailer) -> str:
        """What makes the parameters unusable for this retailer, or nothing."""

    @abstractmethod
    def install(self, retailer: Retailer) -> None:
        """Book the breakdown, before the retailer opens."""

    @abstractmethod
    def scope(self) -> Scope:
        """Where it is broken, in the fields of the truth's scope."""

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - by default there is one of a kind
        """What it breaks, in words: two breakdowns must not break the same thing at the same time."""
        return self.kind

    def explains(self, node: Node, now_us: int) -> bool:  # noqa: ARG002 - most breakdowns explain none
        """Whether the OMS can't know the true stock of `node` now because of this."""
        return False

    def promised(self, order: Order, line: Line) -> bool:  # noqa: ARG002 - most breakdowns explain none
        """Whether the OMS gave this line to a node without minding its stock because of this."""
        return False

    def touch(self, order: Order, suffered: list[Line], effect: str, until_us: int) -> None:
        """These lines of an order really suffered `effect`, until then at least."""
        self.effects[effect] += 1
        self.effects_until_us = max(self.effects_until_us, until_us)
        lines = self._lines.setdefault(order.order_id, {})
        for touched in suffered:
            lines[touched.line_id] = touched.qty * touched.price

    def value_cents(self) -> int:
        """The money at risk: what the touched lines sell for."""
        return sum(sum(lines.values()) for lines in self._lines.values())

    def cases(self) -> list[str]:
        """Touched cases that are not orders."""
        return []

    def record(self, end_us: int, currency: str) -> TruthRecord:
        """The line of truth about this breakdown, for a log that ends at `end_us`."""
        scope = self.scope()
        return TruthRecord(
            breakdown_id=self.breakdown_id,
            kind=self.kind,
            begin=rfc3339(self.begin_us),
            end=rfc3339(self.end_us),
            effects_until=rfc3339(min(self.effects_until_us, end_us)),
            cause=Cause(kind=self.kind, scope=scope),
            scope=scope,
            orders=sorted(self._lines),
            cases=sorted(self.cases()),
            value_at_risk=money(self.value_cents()),
            currency=currency,
            effects=dict(sorted(self.effects.items())),
        )


def at(hours: float) -> Duration:
    """A default instant, in hours from the start of the log."""
    return Duration(round(hours * HOUR_US))
