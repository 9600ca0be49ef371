"""A promotion starts for items that nobody bought for it."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Scope, at
from scenarios.breakdowns.run_on_items import RunOnItems
from scenarios.retailer import Retailer
from schemas.durations import Duration

#: Rank of demand of its first item, and how far apart in rank its items are.
_FIRST, _APART = 8, 3


class PromotionWithoutStockParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For how many items (some of the well known ones), how much more of them is wanted, and what there is of them.

    `cover` is the share of an ordinary stock: the old one was sold off, the new one was never ordered.
    """

    skus: int = 4
    lift: float = 6.0
    cover: float = 0.2


class PromotionWithoutStock(RunOnItems):
    """Customers come for what is advertised; it runs out within hours, and orders are cancelled."""

    kind: ClassVar[str] = "promotion_without_stock"
    begins: ClassVar[Duration] = at(10)
    ends: ClassVar[Duration] = at(20)
    Parameters = PromotionWithoutStockParameters
    parameters: PromotionWithoutStockParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse more items than there are, or a promotion that lifts nothing."""
        most = (len(retailer.world.catalogue) - _FIRST) // _APART
        if not 1 <= self.parameters.skus <= most:
            return f"skus must be between 1 and {most}"
        if not 1 < self.parameters.lift <= 100:
            return "lift must be above 1 and at most 100"
        return "" if 0 <= self.parameters.cover <= 1 else "cover must be between 0 and 1"

    def install(self, retailer: Retailer) -> None:
        """Book the promotion and the run on its items."""
        super().install(retailer)
        self._promotion = f"promo-{100 + len(retailer.breakdowns)}"
        retailer.merchandising.announce(self._promotion, self._skus, self.begin_us, self.end_us)

    def scope(self) -> Scope:
        """The promotion and its items."""
        skus: list[str] = [self._retailer.world.sku(sku) for sku in self._skus]
        return {"promotion": self._promotion, "sku": skus}

    def items(self, retailer: Retailer) -> list[int]:  # noqa: ARG002 - the same ranks everywhere
        """Well known items, but not the best sellers."""
        return [_FIRST + _APART * number for number in range(self.parameters.skus)]

    def lift(self) -> float:
        """As asked for."""
        return self.parameters.lift

    def cover(self) -> float:
        """As asked for."""
        return self.parameters.cover
