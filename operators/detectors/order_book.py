"""What is known of each order: what was ordered, by whom, for how much, promised for when."""

from collections.abc import Mapping

import msgspec

from operators.detectors.case_memory import CaseMemory
from operators.detectors.events import Collected, EventDetector, Handler
from operators.detectors.records import Impact
from schemas.durations import to_us
from schemas.events import (
    Arrived,
    EventBase,
    OrderAllocated,
    OrderCancelled,
    OrderCreated,
    OrderPromiseChanged,
    ShipmentDelivered,
    ShipmentDispatched,
)


class Line(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One line: what, how many, and what one sells for and costs (None where that was not said)."""

    line_id: str
    sku: str
    qty: float
    price: float | None
    cost: float | None


class OrderFacts(msgspec.Struct, array_like=True):
    """An order as its events told it. Times are event times in microseconds, None where nothing was said.

    `node` is where it was last allocated as a whole or in part. An order whose `order.created` was not seen has no
    lines.
    """

    channel: str = ""
    region: str = ""
    customer_id: str = ""
    currency: str = ""
    lines: tuple[Line, ...] = ()
    created_us: int | None = None
    promised_us: int | None = None
    node: str = ""
    dispatched: bool = False
    delivered: bool = False
    cancelled: bool = False
    last_us: int = 0

    def lines_of(self, sku: str | None = None, line_id: str | None = None) -> list[Line]:
        """The lines of an item, or the one of an id; all where neither is given or none is like that."""
        some = [
            line
            for line in self.lines
            if (line_id is None or line.line_id == line_id) and (sku is None or line.sku == sku)
        ]
        return some or list(self.lines)

    def impact(
        self,
        order_id: str,
        sku: str | None = None,
        line_id: str | None = None,
        *,
        case_id: str = "",
        refund: float = 0.0,
    ) -> Impact:
        """What is touched when these lines are: units, what they sell for, and the margin where costs are known."""
        lines = self.lines_of(sku, line_id)
        value = sum((line.qty * line.price for line in lines if line.price is not None), 0.0)
        costs = [
            line.qty * (line.price - line.cost) for line in lines if line.price is not None and line.cost is not None
        ]
        return Impact(
            order_id=order_id,
            case_id=case_id,
            customer_id=self.customer_id,
            units=sum(line.qty for line in lines),
            value=round(value, 2),
            margin=round(sum(costs), 2) if costs and len(costs) == len(lines) else None,
            refund=refund,
            currency=self.currency,
            promised_us=self.promised_us,
        )


class OrderBook(EventDetector):
    """The orders of a key group, whom other detectors ask for impacts.

    Memory: some 250 bytes with the key for an order at rest, dropped `retention` after its last event.
    Cost: one look-up for each event of the types that change what is known.
    """

    NAME = "order_book"
    VERSION = 2

    def __init__(self, retention_us: int) -> None:
        super().__init__()
        self._orders = CaseMemory(OrderFacts, self.VERSION, retention_us, self)

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {
            OrderCreated: self._created,
            OrderPromiseChanged: self._promised,
            OrderAllocated: self._allocated,
            OrderCancelled: self._cancelled,
            ShipmentDispatched: self._dispatched,
            ShipmentDelivered: self._delivered,
        }

    def get(self, order_id: str | None) -> OrderFacts | None:
        """What is known of an order; to be read, not changed."""
        return self._orders.get(order_id) if order_id else None

    def impact(
        self, order_id: str | None, sku: str | None = None, line_id: str | None = None, *, case_id: str = ""
    ) -> Impact:
        """What is touched when these lines of an order are; the bare ids where nothing is known of it."""
        facts = self.get(order_id)
        if facts is None:
            return Impact(order_id=order_id or "", case_id=case_id)
        return facts.impact(order_id or "", sku, line_id, case_id=case_id)

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """As `EventDetector`: orders of which nothing was heard for long are forgotten."""
        del out
        self._orders.due(key, due_us)

    def sizes(self) -> Mapping[str, int]:
        """As `EventDetector`."""
        return {"orders": len(self._orders)}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return self._orders.snapshot()

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        self._orders.restore(state)

    def _created(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, OrderCreated)
        facts = self._orders.heard(event.order_id, arrived.arrival_us)
        if facts.created_us is not None:
            return
        facts.created_us = arrived.occurred_us
        facts.channel, facts.region = event.channel or "", event.region or facts.region
        facts.customer_id, facts.currency = event.customer_id or "", event.currency or ""
        facts.lines = tuple(
            Line(line.line_id, line.sku, line.qty, amount(line.unit_price), amount(line.unit_cost))
            for line in event.lines
        )
        if facts.promised_us is None and event.promised_at is not None:
            facts.promised_us = to_us(event.promised_at)

    def _promised(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, OrderPromiseChanged)
        self._orders.heard(event.order_id, arrived.arrival_us).promised_us = to_us(event.promised_at)

    def _allocated(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, OrderAllocated)
        facts = self._orders.heard(event.order_id, arrived.arrival_us)
        facts.node = event.node
        facts.region = facts.region or event.region or ""

    def _cancelled(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, OrderCancelled)
        if event.line_id is None:
            self._orders.heard(event.order_id, arrived.arrival_us).cancelled = True

    def _dispatched(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, ShipmentDispatched)
        self._orders.heard(event.order_id, arrived.arrival_us).dispatched = True

    def _delivered(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, ShipmentDelivered)
        self._orders.heard(event.order_id, arrived.arrival_us).delivered = True


def amount(money: str | None) -> float | None:
    """Money as a number, None where nothing was said."""
    return None if money is None else float(money)
