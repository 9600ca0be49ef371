"""The marketplace's feed of availability stands still, and it sells what is gone."""

from array import array
from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import AFTERMATH_US, Breakdown, Scope, at
from scenarios.customers import Surge
from scenarios.network import Node
from scenarios.orders import Line, Order, Sellable
from scenarios.retailer import Retailer
from schemas.durations import Duration

_CHANNEL = "marketplace"
_BUYER = "BULK-1"


class OversellParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many items are sold that are not there, and how many orders for them come in an hour."""

    skus: int = 4
    orders_per_hour: float = 60.0


class Oversell(Breakdown):
    """The OMS confirms what the channel sells by the figures of the feed's last export, without a margin.

    After that export all there is of some items goes to one bulk buyer, as every system is told; the channel goes on
    selling them. Centres refuse the reservations, stores find out at the pick; orders are allocated again, then
    cancelled.
    """

    kind: ClassVar[str] = "oversell"
    begins: ClassVar[Duration] = at(12)
    ends: ClassVar[Duration] = at(18)
    Parameters = OversellParameters
    parameters: OversellParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse amounts that make no sense."""
        if not 1 <= self.parameters.skus <= len(retailer.world.catalogue):
            return f"skus must be between 1 and {len(retailer.world.catalogue)}"
        if not 0 < self.parameters.orders_per_hour <= 100_000:
            return "orders_per_hour must be above 0 and at most 100000"
        return ""

    def install(self, retailer: Retailer) -> None:
        """Book the feed's last export, and watch what is refused."""
        self._retailer = retailer
        self._oversold: set[int] = set()
        self._export = array("i")
        retailer.world.agenda.at(self.begin_us, self._stop)
        retailer.world.agenda.at(self.end_us, self._export_anew)
        retailer.oms.views.append(self._view)
        retailer.oms.cancelled.append(self._cancelled)

    def promised(self, order: Order, line: Line) -> bool:  # noqa: ARG002 - all the channel sells is meant
        """What the channel sells is given to nodes by old figures."""
        return order.channel == _CHANNEL and self._recent()

    def touch(self, order: Order, suffered: list[Line], effect: str, until_us: int) -> None:
        """What suffered was sold twice."""
        self._oversold.update(line.sku for line in suffered)
        super().touch(order, suffered, effect, until_us)

    def scope(self) -> Scope:
        """The channel, and the items it sold that were not there."""
        skus: list[str] = [self._retailer.world.sku(sku) for sku in sorted(self._oversold)]
        return {"channel": _CHANNEL, "sku": skus}

    def _stop(self) -> None:
        """The last export, by which the channel sells from now on; then the bulk buyer comes."""
        world, stock = self._retailer.world, self._retailer.stock
        self._export = array("i", (a - b for a, b in zip(stock.on_hand["oms"], stock.reserved["oms"], strict=True)))
        size = len(world.catalogue)
        gone = list(range(size - self.parameters.skus, size))
        for node in world.network.nodes:
            for sku in gone:
                left = stock.unreserved(node, sku) if sku < node.carried else 0
                if left > 0:
                    stock.move(node, sku, -left, "other", _BUYER)
        a_minute = self.parameters.orders_per_hour / 60
        surge = Surge(self.begin_us, self.end_us, 0.0, gone, a_minute=a_minute, channel=_CHANNEL)
        self._retailer.customers.surges.append(surge)

    def _export_anew(self) -> None:
        self._export = array("i")

    def _shown(self, node: Node, sku: int) -> int:
        """What the old export says."""
        return self._export[node.first_item + sku] if sku < node.carried else 0

    def _view(self, order: Order) -> Sellable | None:
        return self._shown if self._export and order.channel == _CHANNEL else None

    def _cancelled(self, order: Order, line: Line) -> None:
        if line.sku in self._oversold and self._recent():
            self.touch(order, [line], "lines_cancelled", self._retailer.world.agenda.now)

    def _recent(self) -> bool:
        return self.begin_us <= self._retailer.world.agenda.now < self.end_us + AFTERMATH_US
