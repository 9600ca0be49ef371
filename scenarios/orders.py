"""The order management system: approves orders and gives them to nodes by its own view of stock."""

from collections.abc import Callable

from scenarios.catalogue import money
from scenarios.network import Node
from scenarios.stock import Stock
from scenarios.world import World
from schemas.durations import HOUR_US, SECOND_US

#: While the centres are at their limit, most parcels ship from stores.
_NOON_US = (11 * HOUR_US, 14 * HOUR_US)
_STORE_SHARE_AT_NOON = 0.65
_STORE_SHARE = 0.15


class Line:
    """One line of an order; `price` in cents, as it was when ordered."""

    __slots__ = ("line_id", "price", "qty", "sku")

    def __init__(self, line_id: str, sku: int, qty: int, price: int) -> None:
        self.line_id = line_id
        self.sku = sku
        self.qty = qty
        self.price = price


class Order:
    """An order on its way. `luck` (0 to 1) decides whether it ships from a store when either would do."""

    __slots__ = (
        "channel",
        "created",
        "customer",
        "dispatch_by",
        "home",
        "invoiced",
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


class OrderManagement:
    """Approval, allocation and re-allocation, knowing of stock and reservations only what feeds tell it.

    `give` hands lines to a node's warehouse.
    """

    def __init__(self, world: World, stock: Stock) -> None:
        self._world = world
        self._stock = stock
        self._random = world.random("oms")
        self.give: Callable[[Order, list[Line], Node], None]

    def take(self, order: Order) -> None:
        """A customer ordered: the channel sends it, the OMS approves it some time after it got it."""
        world, random = self._world, self._random
        source = world.marketplace if order.channel == "marketplace" else world.shop
        self._call("marketplace-import" if order.channel == "marketplace" else "payment-gateway", order)
        fields = {
            "channel": order.channel,
            "region": order.home.region,
            "order_id": order.order_id,
            "customer_id": order.customer,
            "currency": world.settings.currency,
            "total": money(sum(line.qty * line.price for line in order.lines)),
            "promised_at": world.stamp(order.promised),
            "dispatch_by": world.stamp(order.dispatch_by),
            "idempotency_key": f"k-{order.order_id}",
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
        leaves = world.send(source, "order.created", fields, "orders-in", order)
        checks = random.uniform(120, 540) if random.random() < 0.03 else random.uniform(4, 75)
        world.agenda.at(leaves + int(checks * SECOND_US), self._approve, order)

    def short(self, order: Order, line: Line, node: Node) -> None:
        """A node could not do a line: try another one."""
        order.tried.add(node.index)
        delay = int(self._random.uniform(5, 60) * SECOND_US)
        self._world.agenda.at(self._world.agenda.now + delay, self._allocate, order, [line])

    def _approve(self, order: Order) -> None:
        self._world.send(self._world.oms, "order.approved", {"order_id": order.order_id})
        delay = int(self._random.uniform(2, 40) * SECOND_US)
        self._world.agenda.at(self._world.agenda.now + delay, self._allocate, order, order.lines)

    def _allocate(self, order: Order, lines: list[Line]) -> None:
        """Give all lines to the first node that seems to have them, else each to the first that has it."""
        sellable, candidates = self._stock.sellable, self._candidates(order)
        for node in candidates:
            if all(sellable(node, line.sku) >= line.qty for line in lines):
                self._assign(order, lines, node, whole=lines is order.lines)
                return
        lost: list[Line] = []
        for line in lines:
            taker = next((node for node in candidates if sellable(node, line.sku) >= line.qty), None)
            if taker is None:
                lost.append(line)
            else:
                self._assign(order, [line], taker, whole=False)
        for line in lost:
            self._cancel(order, line, alone=len(lost) == order.open_lines)
            if len(lost) == order.open_lines:
                break

    def _candidates(self, order: Order) -> list[Node]:
        clock = self._world.clock()
        share = _STORE_SHARE_AT_NOON if _NOON_US[0] <= clock < _NOON_US[1] else _STORE_SHARE
        from_store = order.service in ("collect", "same_day") or order.luck < share
        network = self._world.network
        nodes = (network.store_first if from_store else network.centre_first)[order.home.index]
        return [node for node in nodes if node.index not in order.tried] if order.tried else list(nodes)

    def _assign(self, order: Order, lines: list[Line], node: Node, *, whole: bool) -> None:
        world = self._world
        for line in lines if not whole else lines[:1]:
            fields = {"order_id": order.order_id, "node": node.name, "expected_node": node.name}
            if not whole:
                fields["line_id"] = line.line_id
            world.send(world.oms, "order.allocated", fields)
        leaves = world.queues["work-orders"].put(world.agenda.now, order)
        self._call("oms-wms", order)
        world.agenda.at(leaves + int(self._random.uniform(0.9, 2.5) * SECOND_US), self.give, order, lines, node)

    def _cancel(self, order: Order, line: Line, *, alone: bool) -> None:
        fields = {"order_id": order.order_id, "reason": "out_of_stock"}
        if alone:
            order.open_lines = 0
        else:
            order.open_lines -= 1
            order.lines = [other for other in order.lines if other is not line]
            fields["line_id"] = line.line_id
        self._world.send(self._world.oms, "order.cancelled", fields)

    def _call(self, interface: str, order: Order) -> None:
        """One call over an interface; a few fail in transport and are repeated at once."""
        random, world = self._random, self._world
        while True:
            failed = random.random() < 0.003
            fields = {
                "interface": interface,
                "status": "transport_error" if failed else "ok",
                "http_status": 503 if failed else 200,
                "latency_ms": round(random.lognormvariate(4.6, 0.5), 1),
                "case_id": order.order_id,
            }
            world.send(world.middleware, "call.completed", fields)
            if not failed:
                return
