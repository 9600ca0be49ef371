"""Stock: what is really there, and the three views of it that the WMS, the OMS and the ERP have.

A movement changes the real stock and the node's WMS at once. The WMS's message about it goes through the
queue `stock-updates`; the OMS follows when it leaves there, the ERP some seconds later. Only what is picked
for an order reaches the OMS by another way: it takes it off when it hears that the reservation was consumed.
Each system tells of each change, and sends the level of every item once in a cycle, node by node, slice by
slice.
"""

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from scenarios.catalogue import money
from scenarios.journal import Fields
from scenarios.network import Node
from scenarios.world import World
from schemas.durations import MINUTE_US, SECOND_US

if TYPE_CHECKING:
    from scenarios.breakdowns.breakdown import Breakdown

_SLICE_US = 15 * MINUTE_US
_STORE_SAFETY = 1

#: How long after the OMS the ERP hears of a movement.
_ERP_LEAST_US, _ERP_SPREAD_US = 5 * SECOND_US, 30 * SECOND_US

#: What a WMS has to say about stock: when it happened, type, fields, node, item, and the change (0: a level).
_Held = tuple[int, str, Fields, Node, int, int]


class Stock:
    """All stock, in arrays by item (`node.first_item + sku`). Quantities are whole units.

    `physical` is the truth. `blamed` remembers which breakdown made the OMS promise an item it no longer had,
    `vanished` which one took an item away without a word.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = world.random("stock").random
        self.physical = array("i", self._opening(world))
        self.on_hand = {system: array("i", self.physical) for system in ("wms", "oms", "erp")}
        self.reserved = {system: array("i", bytes(4 * len(self.physical))) for system in ("wms", "oms")}
        self.blamed: dict[int, Breakdown] = {}
        self.vanished: dict[int, Breakdown] = {}
        #: Asked for each adjustment on its way to the ERP; what it swallows never gets there.
        self.erp_swallows: list[Callable[[Node, int, int], bool]] = []
        self._stopped: dict[int, list[_Held] | None] = {}
        self._parts = max(1, world.settings.level_cycle // _SLICE_US)

    def open(self) -> None:
        """Book the opening export of all levels, and the cycle of levels after it."""
        start = self._world.settings.start
        for node in self._world.network.nodes:
            for system in self.on_hand:
                offset = int(self._draw() * 8 * MINUTE_US)
                self._world.agenda.at(start + offset, self._export, node, system)
                self._world.agenda.at(start + _SLICE_US + offset, self._cycle, node, system, 0)

    def sellable(self, node: Node, sku: int) -> int:
        """What the OMS would still promise of an item, by its own view; 0 where the node doesn't carry it."""
        if sku >= node.carried:
            return 0
        item = node.first_item + sku
        return self.on_hand["oms"][item] - self.reserved["oms"][item] - (_STORE_SAFETY if node.is_store else 0)

    def unreserved(self, node: Node, sku: int) -> int:
        """What the node itself has left beyond its reservations."""
        item = node.first_item + sku
        return self.on_hand["wms"][item] - self.reserved["wms"][item]

    def at_hand(self, node: Node, sku: int) -> int:
        """What somebody at the shelf could take beyond the reservations; less than the WMS thinks if some vanished."""
        return min(self.unreserved(node, sku), self.physical[node.first_item + sku])

    def to_blame(self, item: int) -> "Breakdown | None":
        """Which breakdown left the shelf without an item that was promised."""
        return self.vanished.get(item) or self.blamed.get(item)

    def vanish(self, node: Node, sku: int, qty: int, culprit: "Breakdown") -> None:
        """Goods are gone, and no system is told."""
        item = node.first_item + sku
        self.physical[item] -= qty
        self.vanished[item] = culprit

    def count(self, node: Node, sku: int) -> int:
        """Somebody counts an item and corrects the WMS; returns by how much."""
        item = node.first_item + sku
        self.vanished.pop(item, None)
        delta = self.physical[item] - self.on_hand["wms"][item]
        if delta:
            self.on_hand["wms"][item] += delta
            fields = self._adjustment(node, sku, delta, "count", "recount")
            self._publish((self._world.agenda.now, "inventory.adjusted", fields, node, sku, delta))
        return delta

    def move(self, node: Node, sku: int, delta: int, reason: str, reference: str) -> None:
        """Something was taken from, or put to, a shelf."""
        item = node.first_item + sku
        self.physical[item] += delta
        self.on_hand["wms"][item] += delta
        fields = self._adjustment(node, sku, delta, reason, reference)
        self._publish((self._world.agenda.now, "inventory.adjusted", fields, node, sku, delta))

    def stop_feed(self, node: Node, *, keep: bool) -> None:
        """Let nothing out any more of what the node's WMS says about stock: keep it for later, or lose it."""
        self._stopped[node.index] = [] if keep else None

    def resume_feed(self, node: Node) -> None:
        """The feed is back: what was kept comes now, in order; if lost, the OMS takes all levels over."""
        kept = self._stopped.pop(node.index)
        if kept is None:
            for sku in range(node.carried):
                item = node.first_item + sku
                leaves = self._level(node, "wms", sku)
                self._world.agenda.at(leaves, self._resync_oms, node, item, self.on_hand["wms"][item])
        for held in kept or ():
            self._publish(held)

    def consume(self, node: Node, sku: int, qty: int, order_id: str) -> None:
        """The OMS hears that a reservation was consumed: the piece is neither there nor reserved any more."""
        item = node.first_item + sku
        self.reserved["oms"][item] -= qty
        self._follow("oms", item, -qty, self._adjustment(node, sku, -qty, "pick", order_id))

    def _publish(self, message: _Held, *, queued: bool = True) -> int:
        """Send a WMS's message about stock unless its feed is stopped; returns when its receivers have it."""
        occurred, kind, fields, node, sku, delta = message
        agenda = self._world.agenda
        if node.index in self._stopped:
            kept = self._stopped[node.index]
            if kept is not None:
                kept.append(message)
            return agenda.now
        leaves = self._world.queues["stock-updates"].put(agenda.now) if queued else agenda.now
        self._world.journal.write(self._world.wms(node), kind, occurred, leaves, fields)
        if delta:
            item = node.first_item + sku
            if fields["reason"] != "pick":
                agenda.at(leaves, self._follow, "oms", item, delta, fields)
            if not self._swallowed(node, sku, delta):
                later = _ERP_LEAST_US + int(_ERP_SPREAD_US * self._draw())
                agenda.at(leaves + later, self._follow, "erp", item, delta, fields)
        return leaves

    def _swallowed(self, node: Node, sku: int, delta: int) -> bool:
        """Whether something keeps a movement from the ERP; all of them are asked."""
        return sum(swallow(node, sku, delta) for swallow in self.erp_swallows) > 0

    def _follow(self, system: str, item: int, delta: int, fields: Fields) -> None:
        """The OMS or the ERP books a movement that it heard of."""
        self.on_hand[system][item] += delta
        self._world.send(self._world.oms if system == "oms" else self._world.erp, "inventory.adjusted", fields)

    def _resync_oms(self, node: Node, item: int, on_hand: int) -> None:
        """The OMS takes a level of the WMS for the truth."""
        delta = on_hand - self.on_hand["oms"][item]
        if delta:
            fields = self._adjustment(node, item - node.first_item, delta, "count", "resync")
            self._follow("oms", item, delta, fields)

    def _adjustment(self, node: Node, sku: int, delta: int, reason: str, reference: str) -> Fields:
        return {
            "sku": self._world.sku(sku),
            "node": node.name,
            "delta": delta,
            "reason": reason,
            "reference": reference,
        }

    def _export(self, node: Node, system: str) -> None:
        """The opening export of all levels: a bulk file, which doesn't pass through the queues."""
        for sku in range(node.carried):
            self._level(node, system, sku, queued=False)

    def _cycle(self, node: Node, system: str, part: int) -> None:
        for sku in range(part, node.carried, self._parts):
            self._level(node, system, sku)
        self._world.agenda.at(self._world.agenda.now + _SLICE_US, self._cycle, node, system, (part + 1) % self._parts)

    def _level(self, node: Node, system: str, sku: int, *, queued: bool = True) -> int:
        item, world = node.first_item + sku, self._world
        on_hand = self.on_hand[system][item]
        fields: Fields = {"sku": world.sku(sku), "node": node.name, "on_hand": on_hand}
        if system == "erp":
            fields["unit_cost"] = money(world.catalogue.costs[sku])
            return world.send(world.erp, "inventory.level", fields)
        free = on_hand - self.reserved[system][item]
        fields["reserved"] = self.reserved[system][item]
        if system == "wms":
            fields["available"] = free
            return self._publish((world.agenda.now, "inventory.level", fields, node, sku, 0), queued=queued)
        safety = _STORE_SAFETY if node.is_store else 0
        fields["available"] = max(min(free, 0), free - safety)
        return world.send(world.oms, "inventory.level", fields)

    def _opening(self, world: World) -> list[int]:
        """Stores have a day or two of their own demand, lean on purpose; centres several days of all."""
        settings, catalogue, units = world.settings, world.catalogue, []
        for node in world.network.nodes:
            for sku in range(node.carried):
                online = settings.orders_per_day * 1.8 * catalogue.share(sku)
                if node.is_store:
                    counter = settings.counter_sales_per_day * 1.1 * catalogue.share(sku, node.carried)
                    units.append(3 + int(1.1 * (counter + 0.4 * online) * node.weight + 2 * self._draw()))
                else:
                    units.append(12 + int(4 * online / len(world.network.centres)))
        return units
