"""Everybody wants an item all of a sudden, and there is not enough of it."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Scope, at
from scenarios.breakdowns.items import chosen_item, item_problem
from scenarios.breakdowns.run_on_items import RunOnItems
from scenarios.retailer import Retailer
from schemas.durations import Duration

_RANK = 6


class StockoutRiskParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which item (one of the most wanted by default), how much more of it is wanted, and what there is of it.

    `cover` is the share of an ordinary stock. Nothing of it is bought or transferred until the end.
    """

    sku: str = ""
    lift: float = 8.0
    cover: float = 0.35


class StockoutRisk(RunOnItems):
    """No promotion says why: the hours of cover fall to zero at the centres first, then in the stores."""

    kind: ClassVar[str] = "stockout_risk"
    begins: ClassVar[Duration] = at(9)
    ends: ClassVar[Duration] = at(21)
    Parameters = StockoutRiskParameters
    parameters: StockoutRiskParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse an item that there is not, or a run that is none."""
        if not 1 < self.parameters.lift <= 100:
            return "lift must be above 1 and at most 100"
        if not 0 <= self.parameters.cover <= 1:
            return "cover must be between 0 and 1"
        return item_problem(retailer, self.parameters.sku)

    def claims(self, retailer: Retailer) -> str:
        """The item's part of it: several items can run out at once."""
        return f"{self.kind} of item {self.items(retailer)[0]}"

    def scope(self) -> Scope:
        """The item."""
        return {"sku": self._retailer.world.sku(self._skus[0])}

    def items(self, retailer: Retailer) -> list[int]:
        """The one item."""
        return [chosen_item(retailer, self.parameters.sku, _RANK)]

    def lift(self) -> float:
        """As asked for."""
        return self.parameters.lift

    def cover(self) -> float:
        """As asked for."""
        return self.parameters.cover
