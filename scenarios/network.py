"""Where the retailer works: its stores and distribution centres, their hours, and who is near to whom."""

from bisect import bisect_left
from itertools import accumulate
from random import Random

from scenarios.local_time import LocalTime
from scenarios.settings import SimulationSettings
from schemas.durations import HOUR_US, MINUTE_US

_REGIONS = ("north", "south", "east", "west")
_NEIGHBOURS = 5


class Node:
    """A store or a distribution centre.

    `first_item` is where its items begin in the arrays of stock; it carries the `carried` most wanted items.
    `weight` is its share of the customers (stores only). Work is released from `opens` until `last_release`,
    both in microseconds of the day; what was released is finished, whatever the hour.
    """

    __slots__ = (
        "carried",
        "first_item",
        "index",
        "is_store",
        "last_release",
        "local",
        "name",
        "opens",
        "packers",
        "pickers",
        "pickup_offset",
        "region",
        "weight",
    )

    def __init__(
        self,
        index: int,
        name: str,
        region: str,
        *,
        is_store: bool,
        carried: int,
        first_item: int,
        local: LocalTime,
    ) -> None:
        self.index = index
        self.local = local
        self.name = name
        self.region = region
        self.is_store = is_store
        self.carried = carried
        self.first_item = first_item
        self.weight = 0.0
        self.pickers = self.packers = 1
        self.opens = (8 if is_store else 6) * HOUR_US
        self.last_release = 19 * HOUR_US + 15 * MINUTE_US if is_store else 21 * HOUR_US
        self.pickup_offset = 0

    def release_at(self, now_us: int) -> int:
        """When work that comes in now is given to the floor: at once, or when the next shift begins."""
        day, clock = self.local.day(now_us)
        if clock < self.opens:
            return day + self.opens
        return now_us if clock < self.last_release else self.local.after(day, 1) + self.opens


class Network:
    """All nodes, and the order in which the OMS tries them for a customer's home store."""

    def __init__(self, settings: SimulationSettings, random: Random, local: LocalTime) -> None:
        self._local = local
        regions = _REGIONS[: max(1, min(4, settings.stores // 3))]
        carried = max(10, round(settings.skus * settings.store_range))
        width = max(3, len(str(settings.stores)))
        self.stores: list[Node] = []
        self.centres: list[Node] = []
        self.items = 0
        for number in range(settings.stores):
            name, region = f"store-{number + 1:0{width}d}", regions[number % len(regions)]
            self.stores.append(self._add(name, region, number, carried, is_store=True))
        for number in range(settings.distribution_centres):
            name, region = f"dc-{number + 1:02d}", regions[number % len(regions)]
            self.centres.append(self._add(name, region, settings.stores + number, settings.skus, is_store=False))
        self.nodes = [*self.stores, *self.centres]
        self._weigh(settings, random)
        self._cumulated = list(accumulate(store.weight for store in self.stores))
        self.store_first = {store.index: self._nearest(store, store_first=True) for store in self.stores}
        self.centre_first = {store.index: self._nearest(store, store_first=False) for store in self.stores}

    def home(self, random: Random) -> Node:
        """The store that a customer lives near to."""
        return self.stores[bisect_left(self._cumulated, random.random() * self._cumulated[-1])]

    def _add(self, name: str, region: str, index: int, carried: int, *, is_store: bool) -> Node:
        node = Node(index, name, region, is_store=is_store, carried=carried, first_item=self.items, local=self._local)
        self.items += carried
        return node

    def _weigh(self, settings: SimulationSettings, random: Random) -> None:
        sizes = [(rank % 40 + 1) ** -0.6 for rank in range(len(self.stores))]
        for store, size in zip(self.stores, sizes, strict=True):
            store.weight = size / sum(sizes)
            lines = settings.orders_per_day * 1.6 * 0.75 * store.weight
            store.pickers = 2 + round(lines * 4.0 / 60 / 6)
            store.packers = 1 + round(lines * 3.0 / 60 / 6)
        for centre in self.centres:
            lines = settings.orders_per_day * 1.6 * 0.8 / len(self.centres)
            centre.pickers = 3 + round(lines * 1.5 / 60 / 6)
            centre.packers = 2 + round(lines * 1.5 / 60 / 6)
        for node in self.nodes:
            node.pickup_offset = random.randrange(25) * MINUTE_US + random.randrange(60_000_000)

    def _nearest(self, home: Node, *, store_first: bool) -> tuple[Node, ...]:
        region = [store for store in self.stores if store.region == home.region]
        at = region.index(home)
        near = (region[at:] + region[:at])[: _NEIGHBOURS + 1]
        centres = sorted(self.centres, key=lambda centre: (centre.region != home.region, centre.index))
        return tuple(near + centres if store_first else centres + near)
