"""The ERP loses a share of its postings without a word."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.orders import Line, Order
from scenarios.retailer import Retailer
from schemas.durations import Duration

_TYPES = ("goods_issue", "invoice")


class PostingMissingParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which postings are lost (`invoice` or `goods_issue`), and what share of them."""

    posting_type: str = "invoice"
    share: float = 0.5


class PostingMissing(Breakdown):
    """No error, no retry: the posting never comes, nor what would follow it. It is not made up for in the log."""

    kind: ClassVar[str] = "posting_missing"
    begins: ClassVar[Duration] = at(9)
    ends: ClassVar[Duration] = at(14)
    Parameters = PostingMissingParameters
    parameters: PostingMissingParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse a type that can't get lost, and what is no share."""
        if self.parameters.posting_type not in _TYPES:
            return f"posting_type must be one of {', '.join(_TYPES)}"
        return "" if 0 < self.parameters.share <= 1 else "share must be above 0 and at most 1"

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - the type was named
        """The postings of that type."""
        return f"{self.kind} of {self.parameters.posting_type}"

    def install(self, retailer: Retailer) -> None:
        """Stand between the ERP and its books."""
        self._world = retailer.world
        self._random = retailer.world.random(self.breakdown_id)
        retailer.ledger.losses.append(self._lose)

    def scope(self) -> Scope:
        """The postings that are missing."""
        return {"posting_type": self.parameters.posting_type}

    def _lose(self, posting_type: str, order: Order, lines: list[Line]) -> bool:
        if posting_type != self.parameters.posting_type or not self.begin_us <= self._world.agenda.now < self.end_us:
            return False
        if self._random.random() >= self.parameters.share:
            return False
        self.touch(order, lines, "postings_lost", self._world.settings.end)
        return True
