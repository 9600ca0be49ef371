"""The retailer: its departments, put together."""

from typing import TYPE_CHECKING

from scenarios.carriers import Carriers
from scenarios.customers import Customers
from scenarios.ledger import Ledger
from scenarios.merchandising import Merchandising
from scenarios.monitoring import Monitoring
from scenarios.orders import OrderManagement
from scenarios.returns import Returns
from scenarios.roster import Roster
from scenarios.stock import Stock
from scenarios.supply import Supply
from scenarios.warehouse import Warehouse
from scenarios.world import World

if TYPE_CHECKING:
    from scenarios.breakdowns.breakdown import Breakdown


class Retailer:
    """All departments over one world. Breakdowns are installed before `open` and reach into it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.breakdowns: list[Breakdown] = []
        self.stock = Stock(world)
        self.ledger = Ledger(world)
        self.carriers = Carriers(world, self.ledger)
        self.warehouse = Warehouse(world, self.stock, self.breakdowns)
        self.oms = OrderManagement(world, self.stock)
        self.customers = Customers(world, self.stock, self.oms)
        self.returns = Returns(world, self.stock, self.ledger)
        self.supply = Supply(world, self.stock, self.ledger)
        self.merchandising = Merchandising(world, self.supply)
        self.monitoring = Monitoring(world)
        self.roster = Roster(world, self.warehouse)
        self.oms.give = self.warehouse.accept
        self.warehouse.ship = self.carriers.collect
        self.warehouse.report_short = self.oms.short
        self.warehouse.report_refused = self.oms.again

    def open(self) -> None:
        """Book what each department begins with."""
        self.stock.open()
        self.carriers.open()
        self.customers.open()
        self.returns.open()
        self.supply.open()
        self.merchandising.open()
        self.monitoring.open()
        self.roster.open()
