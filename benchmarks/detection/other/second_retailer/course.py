"""The course of things, and what can be done to it: a record of questions that the retailer's work asks as it goes.

Every answer is the undisturbed one until a breakdown puts its own in its place. A breakdown keeps what it touched.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from second_retailer.journal import iso, money
from second_retailer.retailer import CURRENCY, Channel, Node


@dataclass(slots=True)
class Line:
    """An order line; `item` is the index of the article."""

    line_id: str
    item: int
    sku: str
    qty: int
    price: float
    cost: float
    tries: int = 0


@dataclass(slots=True)
class Order:
    """An order on its way."""

    order_id: str
    channel: Channel
    region: str
    customer: str
    created: float
    fast: bool
    lines: list[Line]
    key: str

    def value(self) -> float:
        return sum(line.qty * line.price for line in self.lines)


@dataclass(slots=True)
class Purchase:
    """A purchase order."""

    po_id: str
    supplier: str
    node: Node
    item: int
    qty: int
    expected: float
    invoice_qty: float = 0.0
    received_qty: float = 0.0
    invoice_cost: float = 0.0


@dataclass(slots=True)
class Fault:
    """How calls fail: which share, how, what is heard of it, and until when they are not tried again."""

    share: float
    status: str
    http: int | None
    parked_until: float = 0.0
    retry_s: tuple[float, float] = (15.0, 45.0)
    code: str = ""
    hit: Callable[[str], None] = lambda _case: None


@dataclass(slots=True)
class Course:
    """The questions. A `t` is seconds since 1970."""

    demand: Callable[[float], float] = lambda _t: 1.0
    payload: Callable[[Order, dict[str, Any]], bool] = lambda _order, _fields: True  # False: nothing follows
    placed: Callable[[Order, float], None] = lambda _order, _t: None
    price: Callable[[Channel, int, float, float], float] = lambda _channel, _item, price, _t: price
    sells_blind: Callable[[Channel, int, float], bool] = lambda _channel, _item, _t: False
    route: Callable[[Order, Node, float], list[Node]] = lambda _order, node, _t: [node]
    service_s: Callable[[str, float], float] = lambda _queue, _t: 0.3
    refuses: Callable[[Order, Line, Node, float, float], str] = lambda _order, _line, _node, _t, _wait: ""
    short: Callable[[Order, Line, Node, float], str] = lambda _order, _line, _node, _t: ""
    pause: Callable[[Node, float], float] = lambda _node, _t: 1.0  # a picker's time for each task, against the task's
    waited: Callable[[Order, Node, float, float], None] = lambda _order, _node, _queued, _start: None
    fault: Callable[[str, float], Fault | None] = lambda _interface, _t: None
    posts: Callable[[str, Order, Node, float], bool] = lambda _type, _order, _node, _t: True
    delivery_s: Callable[[Order, str, float], float] = lambda _order, _carrier, _due: 0.0
    refund_s: Callable[[str, str, float, float], float] = lambda _return, _order, _amount, _t: 0.0
    erp_hears: Callable[[Node, int, float, float], bool] = lambda _node, _item, _delta, _t: True
    supply_s: Callable[[Purchase], float] = lambda _po: 0.0
    asn_comes: Callable[[Purchase], bool] = lambda _po: True
    matched: Callable[[Purchase], None] = lambda _po: None


@dataclass(slots=True)
class Breakdown:
    """One breakdown: when, where, and what it touched so far."""

    kind: str
    begin: float
    end: float
    rng: random.Random
    scope: dict[str, Any] = field(default_factory=dict)
    orders: dict[str, float] = field(default_factory=dict)
    exposed: set[str] = field(default_factory=set)
    cases: dict[str, float] = field(default_factory=dict)
    stock_value: float | None = None
    effects_until: float = 0.0
    strength: dict[str, float] = field(default_factory=dict)

    def on(self, t: float) -> bool:
        return self.begin <= t < self.end

    def draw(self, name: str, low: float, high: float) -> float:
        """A strength, kept for the truth."""
        value = self.strength[name] = round(self.rng.uniform(low, high), 3)
        return value

    def touch(self, order: Order, lines: list[Line] | None = None, *, until: float = 0.0) -> None:
        value = order.value() if lines is None else sum(line.qty * line.price for line in lines)
        self.orders[order.order_id] = max(value, self.orders.get(order.order_id, 0.0))
        self.effects_until = max(self.effects_until, until)

    def add_stock(self, delta: float, cost: float) -> None:
        self.stock_value = (self.stock_value or 0.0) + abs(delta) * cost

    def value(self) -> float:
        if self.stock_value is not None:
            return self.stock_value
        return sum(self.orders.values()) or sum(self.cases.values())

    def truth(self, number: int, log_end: float) -> dict[str, Any]:
        """The line of the truth. `orders_exposed` and `strength` are ours; readers pass over them."""
        line: dict[str, Any] = {
            "breakdown_id": f"{self.kind}-{number}",
            "kind": self.kind,
            "begin": iso(self.begin),
            "end": iso(self.end),
            "cause": {"kind": self.kind, "scope": self.scope},
            "scope": self.scope,
            "orders": sorted(self.orders),
            "cases": sorted(self.cases),
            "value_at_risk": money(self.value()),
            "currency": CURRENCY,
            "orders_exposed": sorted(self.exposed - self.orders.keys()),
            "strength": self.strength,
        }
        if self.effects_until > self.end:
            line["effects_until"] = iso(min(self.effects_until, log_end))
        return line
