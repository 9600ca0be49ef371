"""What all departments of the retailer share: time, the log, the systems, the queues, the places."""

from random import Random

from scenarios.agenda import Agenda
from scenarios.catalogue import Catalogue
from scenarios.journal import Fields, Journal, Source
from scenarios.local_time import LocalTime
from scenarios.middleware import MiddlewareQueue
from scenarios.network import Network, Node
from scenarios.season import Season
from scenarios.settings import SimulationSettings
from schemas.durations import SECOND_US

_SKEW_US = 300_000

#: Queue: (messages for each order at the noon peak, messages for each counter sale, least rate per second).
_QUEUES: dict[str, tuple[float, float, float]] = {
    "orders-in": (1.0, 0.0, 2.0),
    "work-orders": (1.1, 0.0, 2.0),
    "store-reservations": (1.9, 0.0, 2.0),
    "dc-reservations": (1.9, 0.0, 2.0),
    "stock-updates": (1.6, 1.0, 20.0),
    "fulfillment-status": (10.0, 0.0, 5.0),
    "carrier-events": (1.0, 0.0, 2.0),
    "pos-sales": (0.0, 1.0, 2.0),
    "erp-goods-movements": (2.5, 0.0, 0.6),
    "erp-finance": (2.0, 0.0, 2.0),
}
#: The share of a day's orders, and of its counter sales, that comes in the peak hour.
_PEAK_HOUR = 0.08
_HEADROOM = 10


class World:
    """The shared ground the departments work on; each draws from its own seeded stream of random numbers."""

    def __init__(self, settings: SimulationSettings, agenda: Agenda, journal: Journal) -> None:
        self.settings = settings
        self.agenda = agenda
        self.journal = journal
        self.stamp = journal.stamp
        self.catalogue = Catalogue(settings.skus, self.random("catalogue"))
        self.local = LocalTime()
        self.season = Season(self.local)
        self.network = Network(settings, self.random("network"), self.local)
        skews = self.random("clocks")
        #: All systems that send events, by name.
        self.sources: dict[str, Source] = {}

        def source(name: str, system: str) -> Source:
            made = self.sources[name] = Source(name, system, round(skews.uniform(-_SKEW_US, _SKEW_US)))
            return made

        self.shop = source("shop-1", "ecom")
        self.marketplace = source("marketplace-1", "marketplace")
        self.pos = source("pos-1", "pos")
        self.oms = source("oms-1", "oms")
        self.tms = source("tms-1", "tms")
        self.erp = source("erp-1", "erp")
        self.suppliers = source("supplier-gateway-1", "supplier")
        self.middleware = source("middleware-1", "middleware")
        names = {
            node.index: f"wms-stores-{node.region}" if node.is_store else f"wms-{node.name}"
            for node in self.network.nodes
        }
        sources = {name: source(name, "wms") for name in sorted(set(names.values()))}
        self._wms = [sources[names[node.index]] for node in self.network.nodes]
        self.peak_per_s: dict[str, float] = {}
        self.queues: dict[str, MiddlewareQueue] = {}
        for name, (per_order, per_sale, least) in _QUEUES.items():
            hour = settings.orders_per_day * per_order + settings.counter_sales_per_day * per_sale
            peak = hour * _PEAK_HOUR / 3_600
            if name == "stock-updates":
                peak += self.network.items / (settings.level_cycle / SECOND_US)
            self.peak_per_s[name] = peak
            self.queues[name] = MiddlewareQueue(name, max(least, peak * _HEADROOM))

    def random(self, name: str) -> Random:
        """The stream of random numbers of that name; the same for every run with this seed."""
        return Random(f"{self.settings.seed}/{name}")

    def wms(self, node: Node) -> Source:
        """The warehouse system that runs `node`."""
        return self._wms[node.index]

    def sku(self, sku: int) -> str:
        """The name of an item."""
        return self.catalogue.names[sku]

    def send(self, source: Source, kind: str, fields: Fields, queue: str = "", case: object = None) -> int:
        """Send an event now, through a queue of the middleware or straight to the log.

        Returns:
            The instant at which it leaves the queue, which is when its receivers have it.
        """
        now = self.agenda.now
        leaves = self.queues[queue].put(now, case) if queue else now
        self.journal.write(source, kind, now, leaves, fields)
        return leaves

    def clock(self) -> int:
        """Microseconds since midnight by the retailer's clocks."""
        return self.local.day(self.agenda.now)[1]
