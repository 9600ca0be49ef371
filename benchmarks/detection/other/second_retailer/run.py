"""One run of the second retailer, put together, and what breakdowns need from it again and again."""

import random
from dataclasses import dataclass

from second_retailer.course import Breakdown, Fault
from second_retailer.dispatch import Dispatch
from second_retailer.journal import Journal
from second_retailer.orders import OrderDesk
from second_retailer.retailer import Channel, Node, Retailer
from second_retailer.trade import Trade
from second_retailer.world import World


@dataclass(slots=True)
class Run:
    """The parts of a run."""

    world: World
    dispatch: Dispatch
    desk: OrderDesk
    trade: Trade

    @property
    def retailer(self) -> Retailer:
        return self.world.retailer

    def simulate(self) -> None:
        self.desk.open()
        self.trade.open()
        self.world.run()

    def popular(self, rng: random.Random, count: int, *, top: int = 15) -> list[int]:
        """Some of the best-selling items."""
        return rng.sample(range(top), count)

    def crowd(self, b: Breakdown, items: list[int], orders: int, channels: list[str], *, region: str = "") -> None:
        """More orders for some items, spread over the breakdown."""
        open_channels = [one for one in self.retailer.channels if one.name in channels]
        for _ in range(orders):
            self.world.at(
                b.rng.uniform(b.begin, b.end), self._join, b.rng.choice(open_channels), b.rng.choice(items), region
            )

    def _join(self, t: float, channel: Channel, item: int, region: str) -> None:
        self.desk.place(t, channel, [item], region=region)

    def empty(self, t: float, items: list[int], keep: float) -> None:
        """A wholesale buyer takes nearly all of some items, at all nodes, over the counter."""
        stock = self.world.stock
        for node in self.retailer.nodes:
            for item in items:
                rest = round(stock.free(node.name, item) - (keep if node.depot else 0.0))
                if item in self.retailer.shelves[node.name] and rest > 0:
                    self.world.move(t, node, item, -float(rest), "sale", "HURT")

    def break_interface(self, b: Breakdown, interface: str, fault: Fault) -> None:
        """Calls of an interface fail while the breakdown lasts; what they are about is touched."""

        def hit(case: str) -> None:
            order = self.world.orders.get(case)
            if order is not None:
                b.touch(order, until=b.end + 1800)
            elif case:
                b.cases.setdefault(case, 0.0)

        fault.hit = hit
        self.world.course.fault = lambda name, t: fault if name == interface and b.on(t) else None

    def busy_depot(self, rng: random.Random) -> Node:
        return rng.choice(self.retailer.depots)


def prepare(retailer: Retailer, begin: float, end: float, seed: int) -> Run:
    world = World(retailer, Journal(begin, end, seed), seed)
    dispatch = Dispatch(world)
    return Run(world, dispatch, OrderDesk(world, dispatch), Trade(world, dispatch))
