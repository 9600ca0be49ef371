"""A bad batch of one item: those who bought it lately bring it back."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Scope, at
from scenarios.breakdowns.case_breakdown import CaseBreakdown
from scenarios.breakdowns.items import chosen_item, item_problem
from scenarios.retailer import Retailer
from scenarios.returns import Return
from schemas.durations import HOUR_US, MINUTE_US, Duration

_RANK = 3
#: Returns of the item that are under way when the last customer has announced one.
_STILL_COMING_US = 6 * HOUR_US


class ReturnSurgeParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which item (one of the most wanted by default), how much of it was sold, and how much of that comes back.

    The batch is what is sold online of the item in `days`, of which `share` comes back, spread evenly over the
    breakdown.
    """

    sku: str = ""
    days: float = 5
    share: float = 0.4


class ReturnSurge(CaseBreakdown):
    """Customers announce returns of one item as `defective`, many times as often as on other days."""

    kind: ClassVar[str] = "return_surge"
    begins: ClassVar[Duration] = at(9)
    ends: ClassVar[Duration] = at(15)
    Parameters = ReturnSurgeParameters
    parameters: ReturnSurgeParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse an item that there is not, or a batch that makes no sense."""
        if not 0 < self.parameters.days <= 60:
            return "days must be above 0 and at most 60"
        if not 0 < self.parameters.share <= 1:
            return "share must be above 0 and at most 1"
        return item_problem(retailer, self.parameters.sku)

    def claims(self, retailer: Retailer) -> str:
        """The item's part of it: several items can be bad at once."""
        return f"{self.kind} of item {chosen_item(retailer, self.parameters.sku, _RANK)}"

    def install(self, retailer: Retailer) -> None:
        """Book the announcements, and watch all returns of the item meanwhile."""
        world = self._world = retailer.world
        self._sku = chosen_item(retailer, self.parameters.sku, _RANK)
        random = world.random(self.breakdown_id)
        sold = world.settings.orders_per_day * 1.6 * world.catalogue.share(self._sku) * self.parameters.days
        for _ in range(max(8, round(sold * self.parameters.share))):
            moment = self.begin_us + int(random.random() * (self.end_us - self.begin_us - MINUTE_US))
            world.agenda.at(moment, retailer.returns.send_back, self._sku, "defective")
        retailer.returns.watchers.append(self._returned)

    def scope(self) -> Scope:
        """The item."""
        return {"sku": self._world.sku(self._sku)}

    def _returned(self, what: str, back: Return) -> None:
        now = self._world.agenda.now
        if back.sku != self._sku:
            return
        if what == "authorized" and self.begin_us <= now < self.end_us:
            self.touch_case(back.return_id, back.price, "returns", now, back.order_id)
        elif back.return_id in self._cases and now < self.end_us + _STILL_COMING_US:
            self.effects_until_us = max(self.effects_until_us, now)
