"""A batch of stock adjustments never reaches the ERP."""

from collections import Counter
from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.breakdowns.places import chosen_node, node_problem
from scenarios.network import Node
from scenarios.retailer import Retailer
from schemas.durations import Duration


class AdjustmentsLostParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose adjustments are lost (the largest store's by default)."""

    node: str = ""


class AdjustmentsLost(Breakdown):
    """The ERP's stock differs from the WMS's for good: nothing brings the two together again in the log."""

    kind: ClassVar[str] = "adjustments_lost"
    begins: ClassVar[Duration] = at(10)
    ends: ClassVar[Duration] = at(10.75)
    Parameters = AdjustmentsLostParameters
    parameters: AdjustmentsLostParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse a node that there is not."""
        return node_problem(retailer, self.parameters.node)

    def claims(self, retailer: Retailer) -> str:
        """The node's part of it: several nodes can suffer at once."""
        return f"{self.kind} at {self._chosen(retailer).name}"

    def install(self, retailer: Retailer) -> None:
        """Stand in the way to the ERP."""
        self._node = self._chosen(retailer)
        self._world = retailer.world
        self._lost: Counter[int] = Counter()
        self.effects_until_us = retailer.world.settings.end
        retailer.stock.erp_swallows.append(self._swallow)

    def scope(self) -> Scope:
        """The node and the items that are now wrong in the ERP."""
        skus: list[str] = [self._world.sku(sku) for sku, delta in sorted(self._lost.items()) if delta]
        return {"node": self._node.name, "sku": skus, "source": self._world.erp.name}

    def value_cents(self) -> int:
        """How far the ERP is off, at cost."""
        return sum(abs(delta) * self._world.catalogue.costs[sku] for sku, delta in self._lost.items())

    def _swallow(self, node: Node, sku: int, delta: int) -> bool:
        if node is not self._node or not self.begin_us <= self._world.agenda.now < self.end_us:
            return False
        self._lost[sku] += delta
        self.effects["adjustments_lost"] += 1
        return True

    def _chosen(self, retailer: Retailer) -> Node:
        network = retailer.world.network
        return chosen_node(retailer, self.parameters.node, network.stores[0])
