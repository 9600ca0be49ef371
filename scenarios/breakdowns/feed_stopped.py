"""One node's warehouse system stops telling of its stock."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.breakdowns.places import chosen_node, node_problem
from scenarios.network import Node
from scenarios.retailer import Retailer
from schemas.durations import Duration


class FeedStoppedParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which node (by default the second largest store), and whether what it has to say is lost or late."""

    node: str = ""
    lost: bool = False


class FeedStopped(Breakdown):
    """The OMS and the ERP go on with what they last heard, and promise what the store sold meanwhile."""

    kind: ClassVar[str] = "feed_stopped"
    begins: ClassVar[Duration] = at(7)
    ends: ClassVar[Duration] = at(10.5)
    Parameters = FeedStoppedParameters
    parameters: FeedStoppedParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse a node that there is not."""
        return node_problem(retailer, self.parameters.node)

    def claims(self, retailer: Retailer) -> str:
        """The node's part of it: several nodes can suffer at once."""
        return f"{self.kind} at {self._chosen(retailer).name}"

    def install(self, retailer: Retailer) -> None:
        """Book the stop and the return of the feed."""
        self._node = self._chosen(retailer)
        self._source = retailer.world.wms(self._node).name
        self._retailer = retailer
        self._value_cents = 0
        retailer.world.agenda.at(self.begin_us, self._stop)
        retailer.world.agenda.at(self.end_us, self._resume)

    def explains(self, node: Node, now_us: int) -> bool:
        """The OMS knows nothing of this node's sales and picks while the feed stands still."""
        return node is self._node and self.begin_us <= now_us < self.end_us

    def scope(self) -> Scope:
        """The node and the system that speaks for it."""
        return {"node": self._node.name, "source": self._source}

    def value_cents(self) -> int:
        """How far the views were apart when the feed came back, at cost."""
        return self._value_cents

    def _stop(self) -> None:
        self._retailer.stock.stop_feed(self._node, keep=not self.parameters.lost)

    def _resume(self) -> None:
        stock, costs = self._retailer.stock, self._retailer.world.catalogue.costs
        for sku in range(self._node.carried):
            item = self._node.first_item + sku
            apart = abs(stock.on_hand["wms"][item] - stock.on_hand["oms"][item])
            self._value_cents += apart * costs[sku]
            self.effects["items_apart"] += apart > 0
        stock.resume_feed(self._node)
        if self.parameters.lost:
            self.effects_until_us = self._retailer.world.settings.end

    def _chosen(self, retailer: Retailer) -> Node:
        network = retailer.world.network
        return chosen_node(retailer, self.parameters.node, network.stores[min(1, len(network.stores) - 1)])
