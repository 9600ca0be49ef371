"""Carriers: they collect at each node at their hours, and deliver; most of the time when they said."""

from collections.abc import Callable

from scenarios.catalogue import money
from scenarios.freight import tariff, weight_g
from scenarios.journal import Fields
from scenarios.ledger import Ledger
from scenarios.network import Node
from scenarios.orders import Order
from scenarios.warehouse import Job
from scenarios.world import World
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US

_COUNTER, _COURIER, _PARCELS = "counter", "courier-1", ("parcel-1", "parcel-2")
#: Those who drive: what is collected at the counter does not.
CARRIERS = (_COURIER, *_PARCELS)
_FAILED = 0.008
#: First and last collection of the day.
_HOURS_STORE_US = (8 * HOUR_US + 30 * MINUTE_US, 20 * HOUR_US + 15 * MINUTE_US)
_HOURS_CENTRE_US = (7 * HOUR_US, 22 * HOUR_US + 30 * MINUTE_US)
#: Parcels from before the log that are delivered in it, as shares of a day's orders, by day of the log.
_UNDER_WAY = (0.45, 0.3)


class LineHaul:
    """A span in which what `carrier` would deliver is held up on the way, once.

    `hold` says for how long, and whether the carrier tells of it (`shipment.exception`).
    """

    def __init__(self, carrier: str, begin_us: int, end_us: int, hold: Callable[["Parcel"], tuple[int, bool]]) -> None:
        self.carrier = carrier
        self.begin_us, self.end_us = begin_us, end_us
        self.hold = hold


#: Carrier, order, shipment, and what the tariff says (cents): what is charged.
Billing = Callable[[str, Order, str, int], int]


class Parcel:
    """A parcel on its way, and until when the carrier means to deliver it; `job` is empty for one of before the log."""

    __slots__ = ("expected", "fields", "held_up", "job")

    def __init__(self, fields: Fields, job: Job | None, expected: int) -> None:
        self.fields = fields
        self.job = job
        self.expected = expected
        self.held_up = False


class Carriers:
    """Dispatch at the next collection, then delivery. What is collected only crosses the store's counter.

    For breakdowns: `line_hauls` hold up deliveries; `billing` may charge something else than the tariff.
    """

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger
        self._random = world.random("carriers")
        self._shipments = 0
        self.line_hauls: list[LineHaul] = []
        self.billing: list[Billing] = []

    def open(self) -> None:
        """Book the deliveries of what was dispatched long before the log begins."""
        settings, random = self._world.settings, self._world.random("under way")
        for day, share in enumerate(_UNDER_WAY):
            for number in range(round(settings.orders_per_day * share)):
                at = settings.start + day * DAY_US + int(random.triangular(8.5, 19, 12) * HOUR_US)
                if at < settings.end:
                    node = random.choice(self._world.network.nodes)
                    fields: Fields = {
                        "shipment_id": f"SH-{900_000 + day * 1_000_000 + number}",
                        "order_id": f"SO-{4_900_000 - day * settings.orders_per_day - number}",
                        "node": node.name,
                        "region": node.region,
                        "carrier": random.choice(_PARCELS),
                    }
                    self._world.agenda.at(at, self._deliver, Parcel(fields, None, at))

    def collect(self, job: Job) -> None:
        """A parcel is packed: it leaves with the next collection."""
        order, random, now = job.order, self._random, self._world.agenda.now
        if order.service == "collect":
            carrier, leaves = _COUNTER, now + int(random.uniform(10, 90) * SECOND_US)
        else:
            courier = order.service == "same_day"
            carrier = _COURIER if courier else _PARCELS[random.random() < 0.4]
            every = 20 if courier else 60 if job.node.is_store else 30
            leaves = _next_collection(job.node, now, every * MINUTE_US) + int(random.uniform(5, 150) * SECOND_US)
        self._world.agenda.at(leaves, self._dispatch, job, carrier)

    def _dispatch(self, job: Job, carrier: str) -> None:
        world, order, now = self._world, job.order, self._world.agenda.now
        delivered, expected = self._plan(order, now)
        self._shipments += 1
        base: Fields = {
            "shipment_id": f"SH-{5_000_000 + self._shipments}",
            "order_id": order.order_id,
            "node": job.node.name,
            "region": job.node.region,
            "carrier": carrier,
        }
        lines = [{"line_id": line.line_id, "sku": world.sku(line.sku), "qty": line.qty} for line in job.picked]
        fields = {**base, "expected_at": world.stamp(expected), "lines": lines, **self._freight(base, job)}
        leaves = world.send(world.wms(job.node), "shipment.dispatched", fields, "fulfillment-status", order)
        self._ledger.goods_issue(job, leaves)
        if carrier != _COUNTER and self._random.random() < _FAILED:
            again = delivered + (2 * HOUR_US if order.service == "same_day" else DAY_US)
            failure = {**base, "reason": "recipient_absent", "expected_at": world.stamp(again + HOUR_US)}
            world.agenda.at(delivered, self._report, "exception", failure)
            delivered = again
            expected = again + HOUR_US
        world.agenda.at(delivered, self._deliver, Parcel(base, job, expected))

    def _freight(self, base: Fields, job: Job) -> Fields:
        """What the carrier charges for a parcel; nothing is said of what is collected."""
        carrier, order, world = base["carrier"], job.order, self._world
        grams = sum(line.qty * weight_g(world.sku(line.sku)) for line in job.picked)
        cents = tariff(carrier, grams, same_region=job.node.region == order.home.region)
        if cents is None:
            return {}
        for bill in self.billing:
            cents = bill(carrier, order, base["shipment_id"], cents)
        return {"freight_cost": money(cents), "currency": world.settings.currency}

    def _deliver(self, parcel: Parcel) -> None:
        """The parcel is with the customer, unless the line haul kept it."""
        now = self._world.agenda.now
        for haul in self.line_hauls:
            if haul.begin_us <= now < haul.end_us and parcel.fields["carrier"] == haul.carrier and not parcel.held_up:
                parcel.held_up = True
                self._hold(parcel, haul)
                return
        self._report("delivered", parcel.fields)

    def _hold(self, parcel: Parcel, haul: LineHaul) -> None:
        world = self._world
        delay, told = haul.hold(parcel)
        delivered = world.agenda.now + delay
        if told:
            late = {"reason": "line_haul_delay", "expected_at": world.stamp(delivered + 30 * MINUTE_US)}
            self._report("exception", {**parcel.fields, **late})
        world.agenda.at(delivered, self._deliver, parcel)

    def _plan(self, order: Order, now: int) -> tuple[int, int]:
        """When it will be delivered, and when the carrier expects to."""
        random, next_day = self._random, self._world.local.after(self._world.local.day(now)[0], 1)
        if order.service == "collect":
            return now + int(random.uniform(60, 600) * SECOND_US), now + 30 * MINUTE_US
        if order.service == "same_day":
            return now + int(random.triangular(0.6, 2.6, 1.3) * HOUR_US), now + 3 * HOUR_US
        if order.service == "standard" and random.random() < 0.6:
            next_day += DAY_US
        return next_day + int(random.triangular(8.5, 17.5, 12) * HOUR_US), next_day + 18 * HOUR_US

    def _report(self, what: str, fields: dict[str, object]) -> None:
        self._world.send(self._world.tms, f"shipment.{what}", fields, "carrier-events")


def _next_collection(node: Node, now: int, every: int) -> int:
    """The first collection at `node` after `now`, on a grid of `every` microseconds of its own."""
    first, last = _HOURS_STORE_US if node.is_store else _HOURS_CENTRE_US
    day, _ = node.local.day(now)
    begin = day + first + node.pickup_offset % every
    at = begin if now <= begin else begin + -(-(now - begin) // every) * every
    return at if at <= day + last else node.local.after(day, 1) + first + node.pickup_offset % every
