"""Refunds go out when a return is announced, before anybody has the goods."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Scope, at
from scenarios.breakdowns.case_breakdown import CaseBreakdown
from scenarios.retailer import Retailer
from scenarios.returns import Return
from schemas.durations import Duration


class RefundWithoutReceiptParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The share of the announced returns that is refunded at once; the goods come later, as they always did."""

    share: float = 0.9


class RefundWithoutReceipt(CaseBreakdown):
    """The rule that waits for the receipt is gone: money is paid out minutes after the announcement."""

    kind: ClassVar[str] = "refund_without_receipt"
    begins: ClassVar[Duration] = at(9)
    ends: ClassVar[Duration] = at(16)
    Parameters = RefundWithoutReceiptParameters
    parameters: RefundWithoutReceiptParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse what is no share."""
        return "" if 0 < self.parameters.share <= 1 else "share must be above 0 and at most 1"

    def install(self, retailer: Retailer) -> None:
        """Refund at the announcement."""
        self._agenda = retailer.world.agenda
        self._random = retailer.world.random(self.breakdown_id)
        retailer.returns.early_refunds.append(self._refund)

    def scope(self) -> Scope:
        """The postings that come too early."""
        return {"posting_type": "refund"}

    def _refund(self, back: Return) -> bool:
        now = self._agenda.now
        if not self.begin_us <= now < self.end_us or self._random.random() >= self.parameters.share:
            return False
        self.touch_case(back.return_id, back.price, "refunds_before_receipt", now, back.order_id)
        return True
