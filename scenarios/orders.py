"""The order management system: approves orders and gives them to nodes by its own view of stock."""

from collections.abc import Callable

from scenarios.catalogue import money
from scenarios.freight import charged
from scenarios.interfaces import Interfaces
from scenarios.journal import Fields, Source
from scenarios.network import Node
from scenarios.stock import Stock
from scenarios.world import World
from schemas.durations import HOUR_US, SECOND_US

#: While the centres are at their limit, most parcels ship from stores.
_NOON_US = (11 * HOUR_US, 14 * HOUR_US)
_STORE_SHARE_AT_NOON = 0.65
_STORE_SHARE = 0.15

#: How many of an item (by number) can be promised at a node.
Sellable = Callable[[Node, int], int]


class Line:
    """One line of an order; `price` in cents, as it was when ordered."""

    __slots__ = ("line_id", "price", "qty", "sku")

    def __init__(self, line_id: str, sku: int, qty: int, price: int) -> None:
        self.line_id = line_id
        self.sku = sku
        self.qty = qty
        self.price = price


class Order:
    """An order on its way. `luck` (0 to 1) decides whether it ships from a store when either would do.

    `key` is the idempotency key its channel gave it: one for each time that the customer pressed the button.
    """

    __slots__ = (
        "channel",
        "created",
        "customer",
        "dispatch_by",
        "home",
        "invoiced",
        "key",
        "lines",
        "luck",
        "open_lines",
        "order_id",
        "promised",
        "service",
        "tried",
    )

    def __init__(
        self, order_id: str, created: int, *, channel: str, service: str, home: Node, lines: list[Line]
    ) -> None:
        self.order_id = order_id
        self.key = f"k-{order_id}"
        self.created = created
        self.channel = channel
        self.service = service
        self.home = home
        self.lines = lines
        self.open_lines = len(lines)
        self.customer = ""
        self.luck = 1.0
        self.promised = self.dispatch_by = 0
        self.tried: set[int] = set()
        self.invoiced = False

    def again(self, order_id: str, now_us: int) -> "Order":
        """The same order by the same customer, under the same key, as another one."""
        lines = [Line(line.line_id, line.sku, line.qty, line.price) for line in self.lines]
        copy = Order(order_id, now_us, channel=self.channel, service=self.service, home=self.home, lines=lines)
        copy.key = self.key
        copy.customer, copy.luck = self.customer, self.luck
        copy.promised, copy.dispatch_by = self.promised, self.dispatch_by
        return copy


class OrderManagement:
    """Approval, allocation and re-allocation, knowing of stock and reservations only what feeds tell it.

    `give` hands lines to a node's warehouse. For breakdowns: `payloads` may change what a channel sends of an order;
    `taken` are told of each order that was sent; `views` may give an order other figures of what can be sold than the
    OMS's own; `tables` may put other nodes in the place of those that routing would try; `allocated` and `cancelled`
    are told of what became of it.
    """

    def __init__(self, world: World, stock: Stock) -> None:
        self._world = world
        self._stock = stock
        self._random = world.random("oms")
        self.interfaces = Interfaces(world)
        self.give: Callable[[Order, list[Line], Node], None]
        self.payloads: list[Callable[[Order, Fields], None]] = []
        self.taken: list[Callable[[Order, Source, Fields], None]] = []
        self.views: list[Callable[[Order], Sellable | None]] = []
        self.tables: list[Callable[[Order, list[Node]], list[Node]]] = []
        self.allocated: list[Callable[[Order, list[Line], Node, Node], None]] = []
        self.cancelled: list[Callable[[Order, Line], None]] = []

    def take(self, order: Order) -> None:
        """A customer ordered: the channel sends it, the OMS approves it some time after it got it."""
        world = self._world
        goods = sum(line.qty * line.price for line in order.lines)
        fields: Fields = {
            "channel": order.channel,
            "region": order.home.region,
            "order_id": order.order_id,
            "customer_id": order.customer,
            "currency": world.settings.currency,
            "total": money(goods),
            "freight_charged": money(charged(order.channel, order.service, goods)),
            "promised_at": world.stamp(order.promised),
            "dispatch_by": world.stamp(order.dispatch_by),
            "idempotency_key": order.key,
            "lines": [
                {
                    "line_id": line.line_id,
                    "sku": world.sku(line.sku),
                    "qty": line.qty,
                    "unit_price": money(line.price),
                    "unit_cost": money(world.catalogue.costs[line.sku]),
                }
                for line in order.lines
            ],
        }
        for change in self.payloads:
            change(order, fields)
        imported = order.channel == "marketplace"
        source = world.marketplace if imported else world.shop
        held = self.interfaces.call("marketplace-import" if imported else "payment-gateway", order, order.lines)
        if held is None:
            self._receive(order, source, fields, world.agenda.now)
        elif held.broken is not None:
            world.send(source, "order.created", held.broken(fields), "orders-in")
            world.agenda.at(held.until_us, self._receive, order, source, fields, held.until_us)
        elif imported:
            world.agenda.at(held.until_us, self._receive, order, source, fields, held.until_us)
        else:
            self._receive(order, source, fields, held.until_us)

    def short(self, order: Order, line: Line, node: Node) -> None:
        """A node could not do a line: try another one."""
        order.tried.add(node.index)
        self.again(order, [line])

    def again(self, order: Order, lines: list[Line]) -> None:
        """Lines came back from a node: allocate them once more."""
        delay = int(self._random.uniform(5, 60) * SECOND_US)
        self._world.agenda.at(self._world.agenda.now + delay, self._allocate, order, lines)

    def _receive(self, order: Order, source: Source, fields: Fields, paid_us: int) -> None:
        """The order is on its way to the OMS, which approves it when it has it and the payment is authorised."""
        world, random, now = self._world, self._random, self._world.agenda.now
        leaves = world.queues["orders-in"].put(now, order)
        world.journal.write(source, "order.created", order.created, leaves, fields)
        for watcher in self.taken:
            watcher(order, source, fields)
        checks = random.uniform(120, 540) if random.random() < 0.03 else random.uniform(4, 75)
        world.agenda.at(max(leaves, paid_us) + int(checks * SECOND_US), self._approve, order)

    def _approve(self, order: Order) -> None:
        self._world.send(self._world.oms, "order.approved", _about(order))
        delay = int(self._random.uniform(2, 40) * SECOND_US)
        self._world.agenda.at(self._world.agenda.now + delay, self._allocate, order, order.lines)

    def _allocate(self, order: Order, lines: list[Line]) -> None:
        """Give all lines to the first node that seems to have them, else each to the first that has it."""
        sellable: Sellable = self._stock.sellable
        planned = self._candidates(order)
        if not planned:
            self._give_up(order, lines)
            return
        # Sourcing rules know what a node carries, not what it has today.
        expected = next((node for node in planned if all(line.sku < node.carried for line in lines)), planned[0])
        for view in self.views:
            sellable = view(order) or sellable
        candidates = planned
        for table in self.tables:
            candidates = table(order, candidates)
        for node in candidates:
            if all(sellable(node, line.sku) >= line.qty for line in lines):
                self._assign(order, lines, node, expected, whole=lines is order.lines)
                return
        lost: list[Line] = []
        for line in lines:
            taker = next((node for node in candidates if sellable(node, line.sku) >= line.qty), None)
            if taker is None:
                lost.append(line)
            else:
                self._assign(order, [line], taker, expected, whole=False)
        if lost:
            self._give_up(order, lost)

    def _candidates(self, order: Order) -> list[Node]:
        clock = self._world.clock()
        share = _STORE_SHARE_AT_NOON if _NOON_US[0] <= clock < _NOON_US[1] else _STORE_SHARE
        from_store = order.service in ("collect", "same_day") or order.luck < share
        network = self._world.network
        nodes = (network.store_first if from_store else network.centre_first)[order.home.index]
        return [node for node in nodes if node.index not in order.tried] if order.tried else list(nodes)

    def _assign(self, order: Order, lines: list[Line], node: Node, expected: Node, *, whole: bool) -> None:
        world, sent = self._world, list[Fields]()
        for line in lines if not whole else lines[:1]:
            fields = _about(order)
            fields["node"] = node.name
            fields["expected_node"] = expected.name
            if not whole:
                fields["line_id"] = line.line_id
            sent.append(fields)
        for watcher in self.allocated:
            watcher(order, lines, node, expected)
        held = self.interfaces.call("oms-wms", order, lines)
        if held is None:
            self._instruct(order, lines, node, sent)
            return
        for fields in sent:
            world.send(world.oms, "order.allocated", fields if held.broken is None else held.broken(fields))
        again = [] if held.broken is None else sent
        world.agenda.at(held.until_us, self._instruct, order, lines, node, again)

    def _instruct(self, order: Order, lines: list[Line], node: Node, sent: list[Fields]) -> None:
        """Tell of the allocation what is left to tell, and send the work order to the node."""
        world = self._world
        for fields in sent:
            world.send(world.oms, "order.allocated", fields)
        leaves = world.queues["work-orders"].put(world.agenda.now, order)
        world.agenda.at(leaves + int(self._random.uniform(0.9, 2.5) * SECOND_US), self.give, order, lines, node)

    def _give_up(self, order: Order, lost: list[Line]) -> None:
        """Nobody has these lines: cancel them, or the order when nothing else of it is left."""
        for watcher in self.cancelled:
            for line in lost:
                watcher(order, line)
        alone = len(lost) == order.open_lines
        for line in lost[:1] if alone else list(lost):
            self._cancel(order, line, alone=alone)

    def _cancel(self, order: Order, line: Line, *, alone: bool) -> None:
        fields = _about(order)
        fields["reason"] = "out_of_stock"
        if alone:
            order.open_lines = 0
        else:
            order.open_lines -= 1
            order.lines = [other for other in order.lines if other is not line]
            fields["line_id"] = line.line_id
        self._world.send(self._world.oms, "order.cancelled", fields)


def _about(order: Order) -> Fields:
    """What the OMS says in each message about an order."""
    return {"channel": order.channel, "region": order.home.region, "order_id": order.order_id}
