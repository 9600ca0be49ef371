"""Two discounts that must not be combined are: orders of a channel are sold below cost."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Scope, at
from scenarios.breakdowns.mispricing import Mispricing
from scenarios.breakdowns.places import channel_problem
from scenarios.orders import Order
from scenarios.retailer import Retailer
from schemas.durations import Duration


class MarginLeakParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The share of a channel's orders that gets both discounts, each as a share of the price."""

    channel: str = "marketplace"
    share: float = 0.5
    first: float = 0.35
    second: float = 0.35


class MarginLeak(Mispricing):
    """The list prices are right, what is paid is not. An order is touched when a line of it is sold below cost."""

    kind: ClassVar[str] = "margin_leak"
    begins: ClassVar[Duration] = at(10)
    ends: ClassVar[Duration] = at(16)
    Parameters = MarginLeakParameters
    parameters: MarginLeakParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse what is no share."""
        if not 0 < self.parameters.share <= 1:
            return "share must be above 0 and at most 1"
        for name, discount in (("first", self.parameters.first), ("second", self.parameters.second)):
            if not 0 <= discount < 1:
                return f"{name} must be at least 0 and below 1"
        return channel_problem(self.parameters.channel)

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - the channel was named
        """The channel's part of it."""
        return f"{self.kind} on {self.parameters.channel}"

    def install(self, retailer: Retailer) -> None:
        """Discount what is ordered."""
        self._costs = retailer.world.catalogue.costs
        self._random = retailer.world.random(self.breakdown_id)
        retailer.customers.pricing.append(self._price)

    def scope(self) -> Scope:
        """The channel."""
        return {"channel": self.parameters.channel}

    def _price(self, order: Order) -> None:
        if order.channel != self.parameters.channel or not self.begin_us <= order.created < self.end_us:
            return
        if self._random.random() >= self.parameters.share:
            return
        left = (1 - self.parameters.first) * (1 - self.parameters.second)
        for line in order.lines:
            paid = max(1, round(line.price * left))
            if paid < self._costs[line.sku]:
                self.sell_at(order, line, paid, "lines_sold_below_cost")
            else:
                line.price = paid
