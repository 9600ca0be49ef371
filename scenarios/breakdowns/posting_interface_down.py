"""The interface over which goods issues are posted to the ERP fails, backs up, and recovers in a burst."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import AFTERMATH_US, Breakdown, Scope, at
from scenarios.ledger import GOODS_MOVEMENTS, GoodsIssue, Outage
from scenarios.retailer import Retailer
from schemas.durations import MINUTE_US, Duration


class PostingInterfaceDownParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the ERP answers. An order is touched when refused, or kept `late_after` in the backlog."""

    error_code: str = "RFC-COMM-FAILURE"
    message: str = "partner system not reached"
    late_after: Duration = Duration(10 * MINUTE_US)


class PostingInterfaceDown(Breakdown):
    """Goods issues are refused and tried again; invoices, which follow them, wait too."""

    kind: ClassVar[str] = "posting_interface_down"
    begins: ClassVar[Duration] = at(15.5)
    ends: ClassVar[Duration] = at(18)
    Parameters = PostingInterfaceDownParameters
    parameters: PostingInterfaceDownParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse a code that the contract would not carry."""
        return "" if 1 <= len(self.parameters.error_code.encode()) <= 128 else "error_code must have 1 to 128 bytes"

    def install(self, retailer: Retailer) -> None:
        """Book the outage, and watch whose goods issues it hits."""
        self._agenda = retailer.world.agenda
        retailer.ledger.fail(Outage(self.begin_us, self.end_us, self.parameters.error_code, self.parameters.message))
        retailer.ledger.watchers.append(self._posted)

    def scope(self) -> Scope:
        """The interface, what goes over it, and what it answers."""
        return {
            "interface": GOODS_MOVEMENTS,
            "posting_type": "goods_issue",
            "error_code": self.parameters.error_code,
        }

    def _posted(self, issue: GoodsIssue, booked: bool) -> None:  # noqa: FBT001 - the protocol of watchers
        now, job = self._agenda.now, issue.job
        if booked:
            ready = max(issue.due, job.consumed_at)
            if issue.attempts == 0 and (ready < self.begin_us or now - ready < self.parameters.late_after):
                return
        if self.begin_us <= now < self.end_us + AFTERMATH_US:
            self.touch(job.order, job.picked, "postings_late" if booked else "postings_failed", now)
