"""Goods vanish from a shelf, and no system is told until somebody counts."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.breakdowns.places import chosen_node, node_problem
from scenarios.retailer import Retailer
from schemas.durations import Duration


class PhantomStockParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where (the largest store by default), how many of its most wanted items, and which share of each."""

    node: str = ""
    skus: int = 8
    share: float = 1.0


class PhantomStock(Breakdown):
    """Every system's figure says that there is stock; the pick finds the shelf empty. A count at the end tells."""

    kind: ClassVar[str] = "phantom_stock"
    begins: ClassVar[Duration] = at(9)
    ends: ClassVar[Duration] = at(16)
    Parameters = PhantomStockParameters
    parameters: PhantomStockParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse a node that there is not, and amounts that make no sense."""
        if not 0 < self.parameters.share <= 1:
            return "share must be above 0 and at most 1"
        least = min(node.carried for node in retailer.world.network.nodes)
        if not 1 <= self.parameters.skus <= least:
            return f"skus must be between 1 and {least}"
        return node_problem(retailer, self.parameters.node)

    def claims(self, retailer: Retailer) -> str:
        """The node's part of it: several nodes can suffer at once."""
        usual = retailer.world.network.stores[0]
        return f"{self.kind} at {chosen_node(retailer, self.parameters.node, usual).name}"

    def install(self, retailer: Retailer) -> None:
        """Book the loss and the count."""
        self._node = chosen_node(retailer, self.parameters.node, retailer.world.network.stores[0])
        self._retailer = retailer
        self._lost: dict[int, int] = {}
        retailer.world.agenda.at(self.begin_us, self._vanish)
        retailer.world.agenda.at(self.end_us, self._count)

    def scope(self) -> Scope:
        """The node and the items."""
        skus: list[str] = [self._retailer.world.sku(sku) for sku in sorted(self._lost)]
        return {"node": self._node.name, "sku": skus}

    def value_cents(self) -> int:
        """What is gone, at cost."""
        return sum(qty * self._retailer.world.catalogue.costs[sku] for sku, qty in self._lost.items())

    def _vanish(self) -> None:
        stock = self._retailer.stock
        for sku in range(self._node.carried):
            there = stock.physical[self._node.first_item + sku]
            gone = round(there * self.parameters.share)
            if gone > 0 and len(self._lost) < self.parameters.skus:
                stock.vanish(self._node, sku, gone, self)
                self._lost[sku] = gone
                self.effects["pieces_vanished"] += gone

    def _count(self) -> None:
        for sku in self._lost:
            self.effects["items_corrected"] += self._retailer.stock.count(self._node, sku) != 0
