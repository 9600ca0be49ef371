"""Prices change before the shops open, and a promotion runs through the day."""

from scenarios.catalogue import money
from scenarios.world import World
from schemas.durations import DAY_US, HOUR_US, MINUTE_US

_CHANGED = 0.03
_PROMOTED = 4


class Merchandising:
    """The commercial side: it changes prices and demand, nothing else."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random("merchandising")

    def open(self) -> None:
        """Book the days of the log."""
        settings, agenda, size = self._world.settings, self._world.agenda, len(self._world.catalogue)
        begin, day = int(settings.start), 0
        while begin < settings.end:
            for sku in self._random.sample(range(size), max(1, round(size * _CHANGED))):
                agenda.at(begin + 4 * HOUR_US + self._random.randrange(30 * MINUTE_US), self._reprice, sku)
            skus = self._random.sample(range(size // 2), min(_PROMOTED, size // 2))
            agenda.at(begin + 9 * HOUR_US, self._promote, f"promo-{day + 1}", skus, "started")
            agenda.at(begin + 21 * HOUR_US, self._promote, f"promo-{day + 1}", skus, "ended")
            begin, day = begin + DAY_US, day + 1

    def _reprice(self, sku: int) -> None:
        world, random = self._world, self._random
        prices, costs = world.catalogue.prices, world.catalogue.costs
        prices[sku] = max(costs[sku] + 20, round(prices[sku] * random.uniform(0.9, 1.1)))
        fields = {"sku": world.sku(sku), "price": money(prices[sku]), "currency": world.settings.currency}
        world.send(world.erp, "price.changed", fields)

    def _promote(self, promotion: str, skus: list[int], what: str) -> None:
        world = self._world
        world.catalogue.promoted = skus if what == "started" else []
        fields = {"promotion_id": promotion, "skus": [world.sku(sku) for sku in skus], "channel": "shop"}
        world.send(world.shop, f"promotion.{what}", fields)
