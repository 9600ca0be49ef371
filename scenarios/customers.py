"""Customers: they order online and are promised a day or an hour, and they buy over the counter."""

from collections.abc import Callable
from random import Random

from scenarios.local_time import LocalTime
from scenarios.orders import Line, Order, OrderManagement
from scenarios.season import poisson
from scenarios.stock import Stock
from scenarios.world import World
from schemas.durations import HOUR_US, MINUTE_US

_TICK_US = MINUTE_US
_SERVICES = (("collect", 0.25), ("same_day", 0.45), ("express", 0.7), ("standard", 1.0))
#: The last instant of the day at which a service can still be had that day.
_COLLECT_UNTIL_US = 15 * HOUR_US
_SAME_DAY_FROM_US, _SAME_DAY_UNTIL_US = 6 * HOUR_US, 14 * HOUR_US
_EXPRESS_UNTIL_US = 15 * HOUR_US
_EVENING_US = 20 * HOUR_US + 30 * MINUTE_US


class Surge:
    """More orders for a while, for `skus`: `extra` times the normal number, or `a_minute`.

    They are to be served from stores if `from_stores`, unless they come by one `channel`. `counter` times the normal
    number of counter sales come on top, in stores that carry the items.
    """

    def __init__(
        self,
        begin_us: int,
        end_us: int,
        extra: float,
        skus: list[int],
        *,
        a_minute: float = 0.0,
        channel: str = "",
        from_stores: bool = True,
        counter: float = 0.0,
    ) -> None:
        self.begin_us = begin_us
        self.end_us = end_us
        self.extra = extra
        self.skus = skus
        self.a_minute = a_minute
        self.channel = channel
        self.from_stores = from_stores and not channel
        self.counter = counter


class Customers:
    """Draws orders and counter sales minute by minute.

    What a customer wants is drawn without looking at the retailer's state: with the same seed the same
    customers come on a clean day and on a broken one.

    `pricing` may each change the prices of an order that is being placed.
    """

    def __init__(self, world: World, stock: Stock, oms: OrderManagement) -> None:
        self._world = world
        self._stock = stock
        self._oms = oms
        self._online = world.random("online")
        self._counter = world.random("counter")
        self._extra = world.random("surge")
        self._orders = 0
        self._bills = 0
        self.surges: list[Surge] = []
        self.pricing: list[Callable[[Order], None]] = []

    def open(self) -> None:
        """Book the first minute."""
        self._world.agenda.at(self._world.agenda.now, self._tick)

    def _tick(self) -> None:
        agenda, settings = self._world.agenda, self._world.settings
        now = agenda.now
        online = settings.orders_per_day * self._world.season.online(now) / 60
        counter = settings.counter_sales_per_day * self._world.season.counter(now) / 60
        for _ in range(poisson(self._online, online)):
            order = self._draw(self._online, now + self._online.randrange(_TICK_US), None)
            agenda.at(order.created, self._oms.take, order)
        for surge in self.surges:
            if surge.begin_us <= now < surge.end_us:
                for _ in range(poisson(self._extra, online * surge.extra + surge.a_minute)):
                    order = self._draw(self._extra, now + self._extra.randrange(_TICK_US), surge)
                    agenda.at(order.created, self._oms.take, order)
                for _ in range(poisson(self._extra, counter * surge.counter) if surge.counter else 0):
                    agenda.at(now + self._extra.randrange(_TICK_US), self._sell, self._extra, surge.skus)
        for _ in range(poisson(self._counter, counter)):
            agenda.at(now + self._counter.randrange(_TICK_US), self._sell, self._counter)
        agenda.at(now + _TICK_US, self._tick)

    def _draw(self, random: Random, created: int, surge: Surge | None) -> Order:
        world, wanted = self._world, None if surge is None else surge.skus
        from_stores = surge is not None and surge.from_stores
        home = world.network.home(random)
        self._orders += 1
        lines: list[Line] = []
        count = 1 if wanted else 1 + (random.random() < 0.35) + (random.random() < 0.2)
        for number in range(1, count + 1):
            sku = wanted[random.randrange(len(wanted))] if wanted else world.catalogue.draw(random)
            if world.catalogue.promoted and not wanted and random.random() < world.catalogue.PULL:
                sku = world.catalogue.promoted[random.randrange(len(world.catalogue.promoted))]
            if all(line.sku != sku for line in lines):
                lines.append(Line(str(number), sku, 1 + (random.random() < 0.12), world.catalogue.prices[sku]))
        chance = random.random()
        service = next(name for name, up_to in _SERVICES if chance < up_to)
        if from_stores and service == "standard":
            service = "same_day"
        channel = "marketplace" if random.random() < world.settings.marketplace_share else "shop"
        if surge is not None and surge.channel:
            channel = surge.channel
        if channel == "marketplace" and service in ("collect", "same_day"):
            service = "express"
        order_id = f"SO-{5_000_000 + self._orders}"
        order = Order(order_id, created, channel=channel, service=service, home=home, lines=lines)
        order.customer = f"C-{random.randrange(1, 40 * world.settings.orders_per_day)}"
        order.luck = 0.0 if from_stores else random.random()
        for price in self.pricing:
            price(order)
        promise(order, world.local)
        return order

    def _sell(self, random: Random, wanted: list[int] | None = None) -> None:
        """Somebody takes an item to the till, unless the shelf has only what is put aside for orders."""
        world = self._world
        store = world.network.home(random)
        sku = wanted[random.randrange(len(wanted))] if wanted else world.catalogue.draw(random, store.carried)
        if sku >= store.carried or self._stock.at_hand(store, sku) < 1:
            return
        self._bills += 1
        fields = {
            "channel": "store",
            "region": store.region,
            "sku": world.sku(sku),
            "node": store.name,
            "qty": 1,
            "unit_price": money_of(world, sku),
            "currency": world.settings.currency,
        }
        world.send(world.pos, "sale.recorded", fields, "pos-sales")
        self._stock.move(store, sku, -1, "sale", f"B-{self._bills}")


def money_of(world: World, sku: int) -> str:
    """The present price of an item as the contract's decimal string."""
    cents = world.catalogue.prices[sku]
    return f"{cents // 100}.{cents % 100:02d}"


def promise(order: Order, local: LocalTime) -> None:
    """What the customer is promised, and until when the node has to have it out, by service and time of day.

    A service that can't be had any more today falls back to the next slower one.
    """
    day, clock = local.day(order.created)
    if order.service == "same_day" and not _SAME_DAY_FROM_US <= clock < _SAME_DAY_UNTIL_US:
        order.service = "express"
    if order.service == "collect":
        ready = max(order.created, day + 8 * HOUR_US) + 4 * HOUR_US
        order.promised = ready if clock < _COLLECT_UNTIL_US else local.after(day, 1) + 12 * HOUR_US
        order.dispatch_by = order.promised - 30 * MINUTE_US
    elif order.service == "same_day":
        order.dispatch_by = max(order.created, day + 8 * HOUR_US) + 4 * HOUR_US
        order.promised = order.dispatch_by + 4 * HOUR_US
    else:
        days = (clock >= _EXPRESS_UNTIL_US) + (order.service == "standard")
        order.dispatch_by = local.after(day, days) + _EVENING_US
        arrives = local.after(day, days + (1 if order.service == "express" else 2))
        order.promised = arrives + 20 * HOUR_US
