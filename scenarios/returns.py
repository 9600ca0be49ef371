"""Returns of orders from before the log: authorised, received, refunded and put back on the shelf."""

from collections.abc import Callable

from scenarios.catalogue import money
from scenarios.ledger import Ledger
from scenarios.network import Node
from scenarios.season import poisson
from scenarios.stock import Stock
from scenarios.world import World
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US

_SHARE = 0.05
_TICK_US = 5 * MINUTE_US


class Return:
    """One item on its way back."""

    __slots__ = ("node", "order_id", "price", "reason", "refunded", "return_id", "sku")

    def __init__(self, return_id: str, order_id: str, sku: int, price: int, node: Node) -> None:
        self.return_id = return_id
        self.order_id = order_id
        self.sku = sku
        self.price = price
        self.node = node
        self.reason = "changed_mind"
        self.refunded = False


class Returns:
    """Half of the returns are brought to a store the same day; half are parcels, authorised before the log.

    `delays` may each add microseconds to the wait for a refund. `early_refunds` are asked about each return that
    is authorised: whether it is refunded right then. `watchers` are told of each step of a return, by name.
    """

    def __init__(self, world: World, stock: Stock, ledger: Ledger) -> None:
        self._world = world
        self._stock = stock
        self._ledger = ledger
        self._random = world.random("returns")
        self._count = 0
        self.delays: list[Callable[[Return], int]] = []
        self.early_refunds: list[Callable[[Return], bool]] = []
        self.watchers: list[Callable[[str, Return], None]] = []

    def send_back(self, sku: int, reason: str) -> None:
        """A customer wants to bring an item of an earlier order back, to the nearest place that sells it."""
        network, self._count = self._world.network, self._count + 1
        home = network.home(self._random)
        node = home if sku < home.carried else network.centres[0]
        price = self._world.catalogue.prices[sku]
        back = Return(f"RET-{self._count}", f"SO-{4_000_000 - self._count}", sku, price, node)
        back.reason = reason
        self._authorize(back)

    def open(self) -> None:
        """Book the first tick."""
        self._world.agenda.at(self._world.agenda.now, self._tick)

    def _tick(self) -> None:
        world, random, agenda = self._world, self._random, self._world.agenda
        mean = world.settings.orders_per_day * _SHARE * world.season.counter(agenda.now) / 12
        for _ in range(poisson(random, mean)):
            self._count += 1
            order_id = f"SO-{4_000_000 - self._count}"
            if random.random() < 0.5:
                node = world.network.home(random)
                back = self._draw(order_id, node)
                agenda.at(agenda.now + random.randrange(_TICK_US), self._authorize, back)
            else:
                node = world.network.centres[random.randrange(len(world.network.centres))]
                agenda.at(agenda.now + random.randrange(_TICK_US), self._receive, self._draw(order_id, node))
        agenda.at(agenda.now + _TICK_US, self._tick)

    def _draw(self, order_id: str, node: Node) -> Return:
        sku = self._world.catalogue.draw(self._random, node.carried)
        return Return(f"RET-{self._count}", order_id, sku, self._world.catalogue.prices[sku], node)

    def _authorize(self, back: Return) -> None:
        self._report("authorized", back)
        if any(early(back) for early in self.early_refunds):
            self._refund(back, int(self._random.uniform(2, 12) * MINUTE_US))
        wait = int(self._random.triangular(0.2, 5, 1) * HOUR_US)
        self._world.agenda.at(self._world.agenda.now + wait, self._receive, back)

    def _receive(self, back: Return) -> None:
        agenda, random = self._world.agenda, self._random
        self._report("received", back)
        agenda.at(agenda.now + int(random.uniform(0.3, 4) * HOUR_US), self._restock, back)
        wait = int(random.uniform(0.4, 5) * HOUR_US)
        if not back.refunded:
            self._refund(back, wait + sum(delay(back) for delay in self.delays))

    def _refund(self, back: Return, wait: int) -> None:
        back.refunded, agenda = True, self._world.agenda
        reference = (back.return_id, back.price, back.order_id, back.node)
        agenda.at(agenda.now + wait, self._ledger.post, "refund", *reference)
        agenda.at(agenda.now + wait + 30 * SECOND_US, self._ledger.post, "credit_memo", *reference)

    def _restock(self, back: Return) -> None:
        self._report("restocked", back)
        self._stock.move(back.node, back.sku, 1, "return", back.return_id)

    def _report(self, what: str, back: Return) -> None:
        world = self._world
        fields = {
            "return_id": back.return_id,
            "order_id": back.order_id,
            "sku": world.sku(back.sku),
            "qty": 1,
            "node": back.node.name,
            "reason": back.reason,
            "amount": money(back.price),
            "currency": world.settings.currency,
        }
        world.send(world.wms(back.node), f"return.{what}", fields, "fulfillment-status")
        for watcher in self.watchers:
            watcher(what, back)
