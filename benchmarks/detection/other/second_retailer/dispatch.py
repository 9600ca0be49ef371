"""From the shelf to the customer and into the books: packing, carriers, postings."""

from dataclasses import dataclass, field
from typing import Any

from second_retailer.course import Line, Order
from second_retailer.journal import iso, money
from second_retailer.retailer import CURRENCY, HOUR, Node, local_hour
from second_retailer.world import World

POSTING_INTERFACE = "fala-ksiegowania"


@dataclass(slots=True)
class Parcel:
    """What one node does of an order. `waiting` are the lines that are not yet picked or lost."""

    order: Order
    node: Node
    waiting: list[Line]
    picked: list[Line] = field(default_factory=list)
    gone: bool = False

    def drop(self, line: Line) -> None:
        self.waiting.remove(line)

    def ready(self) -> bool:
        return bool(self.picked) and not self.gone and len(self.picked) == len(self.waiting)


class Dispatch:
    """Packs what is picked, ships it and has it posted."""

    def __init__(self, world: World) -> None:
        self.world, self.retailer, self.journal, self.rng = world, world.retailer, world.journal, world.rng

    def consider(self, t: float, parcel: Parcel) -> None:
        """Ship the parcel if all that it waits for is there."""
        if not parcel.ready():
            return
        parcel.gone = True
        node = parcel.node
        if not node.depot:
            self.world.at(t + self.world.about(1500), self._hand_over, parcel)
            return
        task = {
            "task_id": f"{node.name}/k{self.world.number()}",
            "task_type": "pack",
            "node": node.name,
            "order_id": parcel.order.order_id,
        }
        self.journal.emit("task.queued", node.source, t + 5, task, region=node.region)
        self.world.at(t + 5 + self.world.about(480), self._packed, parcel, task)

    def _packed(self, t: float, parcel: Parcel, task: dict[str, Any]) -> None:
        self.journal.emit("task.completed", parcel.node.source, t, task, region=parcel.node.region)
        self.world.at(t + self.world.about(1500), self._hand_over, parcel)

    def _hand_over(self, t: float, parcel: Parcel) -> None:
        self.world.call(t, "spedytor-api", parcel.node.source, parcel.order.order_id, lambda at: self._ship(at, parcel))

    def _ship(self, t: float, parcel: Parcel) -> None:
        world, order, node = self.world, parcel.order, parcel.node
        carriers = [one for one in self.retailer.carriers if one.fast == order.fast]
        carrier = self.rng.choices(carriers, [one.share for one in carriers])[0]
        if carrier.fast:
            due, expected = t + self.rng.uniform(1.2, 3.2) * HOUR, t + 4.5 * HOUR
        else:
            due, expected = t + self.rng.uniform(15, 32) * HOUR, t + 48 * HOUR
            if not 8 <= local_hour(due) < 20:
                due += (32 - local_hour(due)) % 24 * HOUR + self.rng.uniform(0, 4) * HOUR
        shipment: dict[str, Any] = {
            "shipment_id": f"P{world.number()}",
            "order_id": order.order_id,
            "node": node.name,
            "carrier": carrier.name,
            "expected_at": iso(expected),
        }
        content = [{"line_id": one.line_id, "sku": one.sku, "qty": one.qty} for one in parcel.picked]
        self._say("shipment.dispatched", t, order, shipment | {"lines": content})
        late = world.course.delivery_s(order, carrier.name, due)
        trouble = self.rng.random() < (0.15 if late else 0.007)
        if trouble:
            world.at(due, self._exception, order, shipment)
            due += self.rng.uniform(1, 5) * HOUR
        world.at(due + late, self._deliver, order, shipment)
        self._post_later(t + world.about(150), "goods_issue", parcel)
        billed = t + self.rng.uniform(600, 1500)
        self._post_later(billed, "invoice", parcel)
        self._post_later(billed + self.rng.uniform(900, 2400), "payment", parcel)

    def _exception(self, t: float, order: Order, shipment: dict[str, Any]) -> None:
        self._say("shipment.exception", t, order, shipment | {"reason": "nieobecny"})

    def _deliver(self, t: float, order: Order, shipment: dict[str, Any]) -> None:
        self._say("shipment.delivered", t, order, shipment)
        self.world.delivered.append(order)

    def _post_later(self, t: float, posting_type: str, parcel: Parcel) -> None:
        amount = sum(one.qty * (one.cost if posting_type == "goods_issue" else one.price) for one in parcel.picked)
        self.world.at(t, self._post_order, posting_type, parcel.order, parcel.node, amount)

    def _post_order(self, t: float, posting_type: str, order: Order, node: Node, amount: float) -> None:
        if self.world.course.posts(posting_type, order, node, t):
            self.post(t, posting_type, order.order_id, amount, order_id=order.order_id, node=node.name)

    def post(
        self, t: float, posting_type: str, reference: str, amount: float, *, order_id: str = "", node: str = ""
    ) -> None:
        """Have it posted; tried again until the ERP takes it."""
        world, erp = self.world, self.retailer.erp
        fields: dict[str, Any] = {"posting_type": posting_type, "reference": reference}
        late = False

        def refused(at: float, code: str) -> None:
            nonlocal late
            world.unposted += not late
            late = True
            failure = {"interface": POSTING_INTERFACE, "error_code": code or self.rng.choice(("F-012", "F-207"))}
            self.journal.emit("posting.failed", erp, at, fields | failure)

        def taken(at: float) -> None:
            world.unposted -= late
            more: dict[str, Any] = {"posting_id": f"D{world.number()}", "amount": money(amount), "currency": CURRENCY}
            if order_id:
                more["order_id"] = order_id
            if node:
                more["node"] = node
            self.journal.emit("posting.recorded", erp, at, fields | more)

        world.call(t, POSTING_INTERFACE, self.retailer.bus, reference, taken, failed=refused, fails=0.005)

    def _say(self, kind: str, t: float, order: Order, shipment: dict[str, Any]) -> None:
        self.journal.emit(kind, self.retailer.tms, t, shipment, region=order.region)
