"""Prices change before the shops open, and a promotion runs through the day, bought for in advance."""

from scenarios.catalogue import money
from scenarios.supply import Supply
from scenarios.world import World
from schemas.durations import DAY_US, HOUR_US, MINUTE_US

_CHANGED = 0.03
_LEAST_PROMOTED, _SKUS_PER_PROMOTED = 4, 50
#: How long before a promotion its goods come.
_AHEAD_US = 14 * HOUR_US


class Merchandising:
    """The commercial side: it changes prices and demand, and buys what a promotion will need."""

    def __init__(self, world: World, supply: Supply) -> None:
        self._world = world
        self._supply = supply
        self._random = world.random("merchandising")

    def open(self) -> None:
        """Book the days of the log."""
        settings, agenda, size = self._world.settings, self._world.agenda, len(self._world.catalogue)
        promoted = min(size // 2, max(_LEAST_PROMOTED, size // _SKUS_PER_PROMOTED))
        units = settings.orders_per_day * 1.6 * self._world.catalogue.PULL / promoted
        for day, noon in enumerate(range(int(settings.start) + DAY_US // 2, settings.end + DAY_US // 2, DAY_US)):
            begin, _ = self._world.local.day(noon)
            for sku in self._random.sample(range(size), max(1, round(size * _CHANGED))):
                agenda.at(begin + 4 * HOUR_US + self._random.randrange(30 * MINUTE_US), self._reprice, sku)
            skus, opens = self._random.sample(range(size // 2), promoted), begin + 9 * HOUR_US
            self._supply.buy(dict.fromkeys(skus, round(units)), opens - _AHEAD_US)
            self.announce(f"promo-{day + 1}", skus, opens, begin + 21 * HOUR_US)
            agenda.at(opens, self._feature, skus)
            agenda.at(begin + 21 * HOUR_US, self._feature, [])

    def announce(self, promotion: str, skus: list[int], begin_us: int, end_us: int) -> None:
        """Tell of a promotion when it starts and when it ends; what it does to demand is up to the customers."""
        self._world.agenda.at(begin_us, self._tell, promotion, skus, "started")
        self._world.agenda.at(end_us, self._tell, promotion, skus, "ended")

    def publish(self, sku: int, cents: int, channel: str = "") -> None:
        """Tell of the price of an item, everywhere or on one channel."""
        world = self._world
        fields = {"sku": world.sku(sku), "price": money(cents), "currency": world.settings.currency}
        if channel:
            fields["channel"] = channel
        world.send(world.erp, "price.changed", fields)

    def _reprice(self, sku: int) -> None:
        prices, costs = self._world.catalogue.prices, self._world.catalogue.costs
        prices[sku] = max(costs[sku] + 20, round(prices[sku] * self._random.uniform(0.9, 1.1)))
        self.publish(sku, prices[sku])

    def _feature(self, skus: list[int]) -> None:
        self._world.catalogue.promoted = skus

    def _tell(self, promotion: str, skus: list[int], what: str) -> None:
        world = self._world
        fields = {"promotion_id": promotion, "skus": [world.sku(sku) for sku in skus], "channel": "shop"}
        world.send(world.shop, f"promotion.{what}", fields)
