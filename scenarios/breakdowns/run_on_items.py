"""Breakdowns in which some items are wanted far more than there is of them."""

from abc import abstractmethod

from scenarios.breakdowns.breakdown import Breakdown
from scenarios.customers import Surge
from scenarios.orders import Line, Order
from scenarios.retailer import Retailer
from schemas.durations import HOUR_US

#: How long before the run the items' stock is given away, and nobody buys any more of them.
_FORGOTTEN_US = 12 * HOUR_US


class RunOnItems(Breakdown):
    """Demand multiplies for items of which little is left, and which nobody buys.

    An order is touched when a line of it could not be had: cancelled, refused by a centre, or short at the pick.
    """

    @abstractmethod
    def items(self, retailer: Retailer) -> list[int]:
        """The items."""

    @abstractmethod
    def lift(self) -> float:
        """How many times as much of them is wanted."""

    @abstractmethod
    def cover(self) -> float:
        """The share of their usual stock that there is when the run begins."""

    def install(self, retailer: Retailer) -> None:
        """Book the run, and that the items are short."""
        self._retailer = retailer
        self._skus = self.items(retailer)
        catalogue, network, more = retailer.world.catalogue, retailer.world.network, self.lift() - 1
        carried = network.stores[0].carried
        online = sum(catalogue.share(sku) for sku in self._skus)
        counter = sum(catalogue.share(sku, carried) for sku in self._skus if sku < carried)
        surge = Surge(self.begin_us, self.end_us, more * online, self._skus, from_stores=False, counter=more * counter)
        retailer.customers.surges.append(surge)
        retailer.supply.forget(self._skus, self.begin_us - _FORGOTTEN_US, self.end_us)
        retailer.world.agenda.at(self.begin_us - _FORGOTTEN_US, self._give_away)
        retailer.oms.cancelled.append(self._cancelled)

    def promised(self, order: Order, line: Line) -> bool:  # noqa: ARG002 - any order for the items
        """Two orders are after the last piece at once."""
        return line.sku in self._skus and self._retailer.world.agenda.now >= self.begin_us

    def _give_away(self) -> None:
        """Most of what there is goes back to the supplier: the item was to be sold out."""
        stock = self._retailer.stock
        for node in self._retailer.world.network.nodes:
            for sku in self._skus:
                there = stock.unreserved(node, sku) if sku < node.carried else 0
                gone = there - int(there * self.cover())
                if gone > 0:
                    stock.move(node, sku, -gone, "transfer_out", f"RTV-{node.name}")

    def _cancelled(self, order: Order, line: Line) -> None:
        now = self._retailer.world.agenda.now
        if line.sku in self._skus and now >= self.begin_us:
            self.touch(order, [line], "lines_cancelled", now)
