"""A wrong routing table: orders go to other nodes than the sourcing rules mean."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.network import Node
from scenarios.orders import Line, Order
from scenarios.retailer import Retailer
from schemas.durations import Duration

_NOT_OURS = "not_responsible"


class MisroutingParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose orders go astray: those of a `region` (the first by default), or those meant for `nodes`.

    A region's customers are given the nodes of the next region; `nodes` are missing from the table. With `ping_pong`,
    nodes hand an order back so many times, by turns the wrong one and the right one.
    """

    region: str = ""
    nodes: tuple[str, ...] = ()
    ping_pong: int = 0


class Misrouting(Breakdown):
    """The OMS looks orders up in the wrong table; `expected_node` still says where they belong."""

    kind: ClassVar[str] = "misrouting"
    begins: ClassVar[Duration] = at(10)
    ends: ClassVar[Duration] = at(13)
    Parameters = MisroutingParameters
    parameters: MisroutingParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse regions and nodes that there are not."""
        network = retailer.world.network
        names = [node.name for node in network.nodes]
        regions = list(dict.fromkeys(store.region for store in network.stores))
        if not 0 <= self.parameters.ping_pong <= 20:
            return "ping_pong must be between 0 and 20"
        if self.parameters.nodes:
            if self.parameters.region:
                return "give a region or nodes, not both"
            unknown = [name for name in self.parameters.nodes if name not in names]
            return f"nodes must each be one of {names[0]} to {names[-1]}" if unknown else ""
        if len(regions) < 2:
            return "a retailer of one region has no other to send orders to: give nodes"
        return "" if self.parameters.region in ("", *regions) else f"region must be one of {', '.join(regions)}"

    def install(self, retailer: Retailer) -> None:
        """Put the wrong table in the place of the right one, and watch where orders go."""
        network = retailer.world.network
        self._agenda = retailer.world.agenda
        self._network = network
        self._regions = list(dict.fromkeys(store.region for store in network.stores))
        self._region = "" if self.parameters.nodes else self.parameters.region or self._regions[0]
        self._bounced: dict[str, int] = {}
        retailer.oms.tables.append(self._table)
        retailer.oms.allocated.append(self._allocated)
        if self.parameters.ping_pong:
            retailer.warehouse.refusals.append(self._refuses)

    def scope(self) -> Scope:
        """The region whose orders went astray, or the nodes they were meant for."""
        if self._region:
            return {"region": self._region}
        nodes = list(self.parameters.nodes)
        return {"node": nodes if len(nodes) > 1 else nodes[0]}

    def _astray(self, order: Order) -> bool:
        return self.begin_us <= self._agenda.now < self.end_us and (
            not self._region or order.home.region == self._region
        )

    def _table(self, order: Order, planned: list[Node]) -> list[Node]:
        """The nodes to try: every other time after a node handed the order back, the right ones."""
        if not self._astray(order) or self._bounced.get(order.order_id, 0) % 2:
            return planned
        if not self._region:
            return [node for node in planned if node.name not in self.parameters.nodes]
        other = self._regions[(self._regions.index(self._region) + 1) % len(self._regions)]
        ours = [store for store in self._network.stores if store.region == order.home.region]
        theirs = [store for store in self._network.stores if store.region == other]
        home = theirs[ours.index(order.home) % len(theirs)]
        table = self._network.store_first if planned[0].is_store else self._network.centre_first
        return [node for node in table[home.index] if node.index not in order.tried]

    def _refuses(self, order: Order, node: Node) -> str:  # noqa: ARG002 - the protocol of refusals
        back = self._bounced.get(order.order_id, 0)
        if not self._astray(order) or order.order_id not in self._lines or back >= self.parameters.ping_pong:
            return ""
        self._bounced[order.order_id] = back + 1
        self.effects["orders_handed_back"] += 1
        return _NOT_OURS

    def _allocated(self, order: Order, lines: list[Line], node: Node, expected: Node) -> None:
        if self._astray(order) and node is not expected and (self._region or expected.name in self.parameters.nodes):
            self.touch(order, lines, "allocated_elsewhere", self._agenda.now)
