"""Margin leaks: two discounts that must not be combined are, or a carrier bills by a wrong tariff."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Scope, at
from scenarios.breakdowns.mispricing import Mispricing
from scenarios.breakdowns.places import channel_problem
from scenarios.carriers import CARRIERS
from scenarios.orders import Order
from scenarios.retailer import Retailer
from schemas.durations import Duration


class MarginLeakParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The share of a channel's orders that gets both discounts, each as a share of the price.

    With a `carrier` it is freight that leaks, and nothing is discounted: this carrier charges `tariff` times as much as
    was agreed for every parcel that it takes.
    """

    channel: str = "marketplace"
    share: float = 0.5
    first: float = 0.35
    second: float = 0.35
    carrier: str = ""
    tariff: float = 2.0


class MarginLeak(Mispricing):
    """The list prices are right, what is paid is not. An order is touched when a line of it is sold below cost.

    Of a carrier, an order is touched when a parcel of it is billed too high; the money at risk is what is too much.
    """

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
        if self.parameters.carrier and self.parameters.carrier not in CARRIERS:
            return f"carrier must be empty or one of {', '.join(CARRIERS)}"
        if not 1 < self.parameters.tariff <= 100:
            return "tariff must be above 1 and at most 100"
        return channel_problem(self.parameters.channel)

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - the place was named
        """The channel's part of it, or the carrier's."""
        carrier = self.parameters.carrier
        return f"{self.kind} of {carrier}" if carrier else f"{self.kind} on {self.parameters.channel}"

    def install(self, retailer: Retailer) -> None:
        """Discount what is ordered, or bill what is shipped."""
        self._agenda = retailer.world.agenda
        if self.parameters.carrier:
            retailer.carriers.billing.append(self._bill)
            return
        self._costs = retailer.world.catalogue.costs
        self._random = retailer.world.random(self.breakdown_id)
        retailer.customers.pricing.append(self._price)

    def scope(self) -> Scope:
        """The channel, or the carrier."""
        if self.parameters.carrier:
            return {"carrier": self.parameters.carrier}
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

    def _bill(self, carrier: str, order: Order, shipment_id: str, cents: int) -> int:
        now = self._agenda.now
        if carrier != self.parameters.carrier or not self.begin_us <= now < self.end_us:
            return cents
        billed = round(cents * self.parameters.tariff)
        self.touch(order, [], "parcels_billed_too_high", now)
        self._lines[order.order_id][shipment_id] = billed - cents
        return billed
