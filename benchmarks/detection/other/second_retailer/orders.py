"""Orders from the click to the shelf: capture, approval, allocation, reservation, picking.

Shops of the customer's region take a share of the orders by day, depots the rest. A line that a node refuses or can't
find is allocated anew, twice; then it is cancelled.
"""

import heapq
from typing import Any

from second_retailer.course import Line, Order
from second_retailer.dispatch import Dispatch, Parcel
from second_retailer.journal import iso, money
from second_retailer.retailer import (
    CURRENCY,
    DAY,
    HOUR,
    PICK_MEDIAN_S,
    REGIONS,
    STORE_HOURS,
    STORE_SHARE,
    Channel,
    Node,
    local_hour,
)
from second_retailer.world import WARM_UP, World


class OrderDesk:
    """Takes orders and gets them picked."""

    def __init__(self, world: World, dispatch: Dispatch) -> None:
        self.world, self.dispatch = world, dispatch
        self.retailer, self.journal, self.rng = world.retailer, world.journal, world.rng
        self._pickers = {node.name: [0.0] * node.pickers for node in self.retailer.nodes}
        self._stores = {name: [one for one in self.retailer.stores if one.region == name] for name in REGIONS}
        self._shelves = {name: frozenset(kept) for name, kept in self.retailer.shelves.items()}

    def open(self) -> None:
        """Put customers on the agenda, from the warm-up to the end."""
        world = self.world
        t = world.begin - WARM_UP
        while t < world.end:
            rate = self.retailer.orders_per_day / DAY * world.season(t)
            t += self.rng.expovariate(rate)
            world.at(t, self._arrive)

    def _arrive(self, t: float) -> None:
        channel = self.rng.choices(self.retailer.channels, [one.share for one in self.retailer.channels])[0]
        self.place(t, channel)

    def place(self, t: float, channel: Channel, wanted: list[int] | None = None, *, region: str = "") -> Order | None:
        """A customer orders; `wanted` items if given. None where nothing they want can be sold."""
        world, rng = self.world, self.rng
        count = 1 if wanted else rng.choices((1, 2, 3, 4), (64, 22, 9, 5))[0]
        items = wanted or [self.retailer.draw_item(rng) for _ in range(count)]
        sellable = [
            at for at in dict.fromkeys(items) if world.stock.total[at] > 3 or world.course.sells_blind(channel, at, t)
        ]
        if not sellable:
            return None
        number = world.number()
        lines = []
        for place, at in enumerate(sellable):
            item, qty = self.retailer.items[at], rng.choices((1, 2, 3), (86, 11, 3))[0]
            price = world.course.price(channel, at, round(world.price(at) * (0.95 if rng.random() < 0.1 else 1), 2), t)
            lines.append(Line(str(place + 1), at, item.sku, qty, round(price, 2), item.cost))
        order_id = f"{channel.prefix}{number:08x}" if channel.name == "bazario" else f"{channel.prefix}{number}"
        fast = 6.5 <= local_hour(t) < 14 and rng.random() < 0.55
        order = Order(
            order_id,
            channel,
            region or rng.choice(REGIONS),
            f"K{rng.randrange(10**6):06d}",
            t,
            fast,
            lines,
            f"kl-{number:x}",
        )
        self.take(t, order)
        return order

    def take(self, t: float, order: Order) -> None:
        """The order is captured."""
        world = self.world
        world.orders[order.order_id] = order
        fields = self.fields(order)
        goes_on = world.course.payload(order, fields)
        self.journal.emit(
            "order.created", order.channel.source, t, fields, channel=order.channel.name, region=order.region
        )
        world.course.placed(order, t)
        if goes_on:
            world.call(
                t + 0.2, order.channel.interface, order.channel.source, order.order_id, lambda at: self._pay(at, order)
            )

    def fields(self, order: Order) -> dict[str, Any]:
        """What `order.created` says."""
        promise, dispatch_by = (11 * HOUR, 4.5 * HOUR) if order.fast else (76 * HOUR, 14 * HOUR)
        lines = [
            {
                "line_id": one.line_id,
                "sku": one.sku,
                "qty": one.qty,
                "unit_price": money(one.price),
                "unit_cost": money(one.cost),
            }
            for one in order.lines
        ]
        return {
            "order_id": order.order_id,
            "customer_id": order.customer,
            "currency": CURRENCY,
            "total": money(order.value()),
            "promised_at": iso(order.created + promise),
            "dispatch_by": iso(order.created + dispatch_by),
            "idempotency_key": order.key,
            "lines": lines,
        }

    def _pay(self, t: float, order: Order) -> None:
        world = self.world
        late = self.rng.random() < 0.01
        wait = self.rng.uniform(0.3, 2.5) * HOUR if late else world.about(10 if order.channel.name == "bazario" else 35)
        world.call(t + wait, "bramka-platnicza", self.retailer.oms, order.order_id, lambda at: self._approve(at, order))

    def _approve(self, t: float, order: Order) -> None:
        fields: dict[str, Any] = {"order_id": order.order_id}
        if self.rng.random() < 0.008:
            self._say("order.cancelled", t, order, fields | {"reason": "klient"})
            return
        self._say("order.approved", t, order, fields)
        self.world.at(t + self.world.about(40), self.allocate, order, order.lines, ())

    def allocate(self, t: float, order: Order, lines: list[Line], without: tuple[str, ...]) -> None:
        """Find a node for each of the lines."""
        groups: dict[str, tuple[Node, list[Line]]] = {}
        for line in lines:
            first = next(iter(groups.values()))[0] if groups else None
            node = self._plan(t, order, line, without, first)
            groups.setdefault(node.name, (node, []))[1].append(line)
        for expected, part in groups.values():
            hops = self.world.course.route(order, expected, t)
            if hops == [expected] and self.rng.random() < 0.012:  # a planner's choice
                hops = [self.rng.choice(self.retailer.depots)]
            at = t
            for hop in hops:
                for line in part:
                    fields: dict[str, Any] = {"order_id": order.order_id, "node": hop.name}
                    if len(order.lines) > 1:
                        fields["line_id"] = line.line_id
                    if order.channel.plans:
                        fields["expected_node"] = expected.name
                    self._say("order.allocated", at, order, fields)
                at += self.rng.uniform(240, 900)
            last = at if len(hops) > 1 else t
            self.world.at(
                last + self.rng.uniform(0.5, 3), self._reserve, Parcel(order, hops[-1], list(part)), list(part)
            )

    def _plan(self, t: float, order: Order, line: Line, without: tuple[str, ...], first: Node | None) -> Node:
        """The node that should do it: where the other lines are, a shop of the region, or the depot with most of it."""
        stock, qty = self.world.stock, line.qty
        if first is not None and stock.free(first.name, line.item) >= qty:
            return first
        if STORE_HOURS[0] <= local_hour(t) < STORE_HOURS[1] and self.rng.random() < STORE_SHARE:
            near = [
                one
                for one in self._stores[order.region]
                if line.item in self._shelves[one.name]
                and one.name not in without
                and stock.free(one.name, line.item) >= qty + 2
            ]
            if near:
                return self.rng.choices(near, [one.weight for one in near])[0]
        depots = [one for one in self.retailer.depots if one.name not in without] or self.retailer.depots
        held = [max(0.0, stock.free(one.name, line.item)) + 0.01 for one in depots]
        return self.rng.choices(depots, held)[0]

    def _reserve(self, t: float, parcel: Parcel, lines: list[Line]) -> None:
        world, node = self.world, parcel.node
        queue = "q.rez.magazyny" if node.depot else "q.rez.sklepy"
        for line in lines:
            world.stock.reserve(node.name, line.item, line.qty)
            out = world.queues[queue].put(t, lambda start: world.course.service_s(queue, start))
            reservation = f"R{world.number():x}"
            fields = self._reservation(reservation, parcel, line) | {"line_id": line.line_id}
            self.journal.emit(
                "reservation.created", self.retailer.oms, t, fields, wait=out - t, channel=parcel.order.channel.name
            )
            world.at(out + 1.0, self._answer, parcel, line, reservation, out - t)

    @staticmethod
    def _reservation(reservation: str, parcel: Parcel, line: Line) -> dict[str, Any]:
        return {
            "reservation_id": reservation,
            "order_id": parcel.order.order_id,
            "sku": line.sku,
            "node": parcel.node.name,
            "qty": line.qty,
        }

    def _answer(self, t: float, parcel: Parcel, line: Line, reservation: str, wait: float) -> None:
        """The node has the reservation: it takes it as work, or refuses."""
        world, node, order = self.world, parcel.node, parcel.order
        reason = world.course.refuses(order, line, node, t, wait)
        if not reason and world.stock.free(node.name, line.item) < 0:
            reason = "brak_stanu"
        if not reason and self.rng.random() < 0.005:
            reason = "polka_zamknieta"
        if reason:
            at = t + world.about(6)
            fields = self._reservation(reservation, parcel, line) | {"reason": reason}
            self.journal.emit("reservation.rejected", node.source, at, fields, region=node.region)
            self._again(at, parcel, line)
            return
        world.call(
            t, "oms-polka", self.retailer.bus, order.order_id, lambda at: self._queue(at, parcel, line, reservation)
        )

    def _again(self, t: float, parcel: Parcel, line: Line) -> None:
        """A line lost its node."""
        order, stock = parcel.order, self.world.stock
        stock.reserve(parcel.node.name, line.item, -line.qty)
        parcel.drop(line)
        self.dispatch.consider(t, parcel)
        line.tries += 1
        if line.tries < 3 and stock.total[line.item] >= line.qty:
            self.world.at(t + self.world.about(200), self.allocate, order, [line], (parcel.node.name,))
            return
        stock.owe(parcel.node.name, line.item, line.qty)
        self.world.at(t + self.rng.uniform(1200, 7200), self._give_up, parcel, line)

    def _give_up(self, t: float, parcel: Parcel, line: Line) -> None:
        order = parcel.order
        self.world.stock.owe(parcel.node.name, line.item, -line.qty)
        fields: dict[str, Any] = {"order_id": order.order_id, "reason": "brak_towaru"}
        if len(order.lines) > 1:
            fields["line_id"] = line.line_id
        self._say("order.cancelled", t, order, fields)

    def _queue(self, t: float, parcel: Parcel, line: Line, reservation: str) -> None:
        world, node, order = self.world, parcel.node, parcel.order
        task = self._task(f"{node.name}/p{world.number()}", parcel, line)
        self.journal.emit("task.queued", node.source, t, task, region=node.region)
        crew = self._pickers[node.name]
        start = max(t + world.about(420 if node.depot else 600, 0.6), heapq.heappop(crew))
        taken = world.about(PICK_MEDIAN_S, 0.5)
        done = start + taken
        heapq.heappush(crew, start + taken * world.course.pause(node, start))
        world.course.waited(order, node, t, start)
        if not node.silent_start:
            world.at(start, lambda at: self.journal.emit("task.started", node.source, at, task, region=node.region))
        world.at(done, self._picked, parcel, line, reservation, task)

    @staticmethod
    def _task(task_id: str, parcel: Parcel, line: Line) -> dict[str, Any]:
        return {
            "task_id": task_id,
            "task_type": "pick",
            "node": parcel.node.name,
            "order_id": parcel.order.order_id,
            "sku": line.sku,
            "qty": line.qty,
        }

    def _picked(self, t: float, parcel: Parcel, line: Line, reservation: str, task: dict[str, Any]) -> None:
        world, node, order = self.world, parcel.node, parcel.order
        fields = self._reservation(reservation, parcel, line)
        reason = world.course.short(order, line, node, t)
        if not reason and self.rng.random() < 0.01:
            reason = "nie_ma_na_polce"
        if reason:
            self.journal.emit("task.rejected", node.source, t, task | {"reason": reason}, region=node.region)
            self.journal.emit("reservation.released", self.retailer.oms, t + 2, fields, channel=order.channel.name)
            self._again(t + 2, parcel, line)
            return
        self.journal.emit("task.completed", node.source, t, task, region=node.region)
        self.journal.emit("reservation.consumed", node.source, t + self.rng.uniform(0.2, 4), fields, region=node.region)
        world.stock.reserve(node.name, line.item, -line.qty)
        world.move(t + 0.1, node, line.item, -line.qty, "pick", order.order_id)
        parcel.picked.append(line)
        self.dispatch.consider(t, parcel)

    def _say(self, kind: str, t: float, order: Order, fields: dict[str, Any]) -> None:
        self.journal.emit(kind, self.retailer.oms, t, fields, channel=order.channel.name, region=order.region)
