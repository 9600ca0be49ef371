"""A wrong price is published on a channel, and orders come in at it."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Scope, at
from scenarios.breakdowns.items import chosen_item, item_problem
from scenarios.breakdowns.mispricing import Mispricing
from scenarios.breakdowns.places import channel_problem
from scenarios.customers import Surge
from scenarios.orders import Order
from scenarios.retailer import Retailer
from schemas.durations import Duration

_RANK = 10


class PriceErrorParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which item (one of the most wanted by default) costs `factor` times the right price, on which channel.

    `lift` is how many times as many customers of that channel want it at that price.
    """

    sku: str = ""
    channel: str = "shop"
    factor: float = 0.1
    lift: float = 5.0


class PriceError(Mispricing):
    """A slip of the decimal point: `price.changed` says a tenth, until somebody sees it and sets it right."""

    kind: ClassVar[str] = "price_error"
    begins: ClassVar[Duration] = at(13)
    ends: ClassVar[Duration] = at(17)
    Parameters = PriceErrorParameters
    parameters: PriceErrorParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse an item or a channel that there is not, or a price that is right."""
        if not 0.01 <= self.parameters.factor <= 100 or self.parameters.factor == 1:
            return "factor must be between 0.01 and 100, and not 1"
        if not 1 <= self.parameters.lift <= 100:
            return "lift must be between 1 and 100"
        return item_problem(retailer, self.parameters.sku) or channel_problem(self.parameters.channel)

    def claims(self, retailer: Retailer) -> str:
        """The item's price on that channel."""
        item = chosen_item(retailer, self.parameters.sku, _RANK)
        return f"{self.kind} of item {item} on {self.parameters.channel}"

    def install(self, retailer: Retailer) -> None:
        """Book the slip and its correction, and who comes for it."""
        world, self._retailer = retailer.world, retailer
        self._sku = chosen_item(retailer, self.parameters.sku, _RANK)
        self._wrong = 0
        world.agenda.at(self.begin_us, self._slip)
        world.agenda.at(self.end_us, self._correct)
        channel, settings = self.parameters.channel, world.settings
        share = settings.marketplace_share if channel == "marketplace" else 1 - settings.marketplace_share
        extra = (self.parameters.lift - 1) * world.catalogue.share(self._sku) * share
        if extra:
            surge = Surge(self.begin_us, self.end_us, extra, [self._sku], channel=channel)
            retailer.customers.surges.append(surge)
        retailer.customers.pricing.append(self._price)

    def scope(self) -> Scope:
        """The item and the channel."""
        return {"sku": self._retailer.world.sku(self._sku), "channel": self.parameters.channel}

    def _slip(self) -> None:
        right = self._retailer.world.catalogue.prices[self._sku]
        self._wrong = max(1, round(right * self.parameters.factor))
        self._retailer.merchandising.publish(self._sku, self._wrong, self.parameters.channel)

    def _correct(self) -> None:
        right = self._retailer.world.catalogue.prices[self._sku]
        self._retailer.merchandising.publish(self._sku, right, self.parameters.channel)

    def _price(self, order: Order) -> None:
        if order.channel != self.parameters.channel or not self.begin_us <= order.created < self.end_us:
            return
        for line in order.lines:
            if line.sku == self._sku and self._wrong:
                self.sell_at(order, line, self._wrong, "lines_sold_at_wrong_price")
