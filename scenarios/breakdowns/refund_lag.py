"""The refund run stands still: what was received is refunded days later."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.retailer import Retailer
from scenarios.returns import Return
from schemas.durations import HOUR_US, Duration


class RefundLagParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much longer a refund takes for goods that are received while it is broken."""

    lag: Duration = Duration(30 * HOUR_US)


class RefundLag(Breakdown):
    """Returns come in as ever, their money doesn't go out."""

    kind: ClassVar[str] = "refund_lag"
    begins: ClassVar[Duration] = at(9)
    ends: ClassVar[Duration] = at(15)
    Parameters = RefundLagParameters
    parameters: RefundLagParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Nothing can be wrong with it."""
        return ""

    def install(self, retailer: Retailer) -> None:
        """Lengthen the wait for refunds."""
        self._agenda = retailer.world.agenda
        self._touched: dict[str, int] = {}
        retailer.returns.delays.append(self._delay)

    def scope(self) -> Scope:
        """The postings that lag."""
        return {"posting_type": "refund"}

    def cases(self) -> list[str]:
        """The returns whose money is late."""
        return list(self._touched)

    def value_cents(self) -> int:
        """What the customers wait for."""
        return sum(self._touched.values())

    def _delay(self, back: Return) -> int:
        now = self._agenda.now
        if not self.begin_us <= now < self.end_us:
            return 0
        self._touched[back.return_id] = back.price
        self.effects["refunds_late"] += 1
        self.effects_until_us = max(self.effects_until_us, now + self.parameters.lag)
        return self.parameters.lag
