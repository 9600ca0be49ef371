"""Orders for items that can't be had: which were refused, could not be picked or were cancelled, by item."""

from collections.abc import Mapping

from operators.detectors.events import Collected, EventDetector, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.records import Impact, scoped
from schemas.durations import to_us
from schemas.events import (
    Arrived,
    EventBase,
    GoodsReceived,
    OrderCancelled,
    PoCreated,
    ReservationRejected,
    TaskRejected,
)


class Unfilled(EventDetector):
    """Counts, by item, orders that a node refused or could not pick and lines that were cancelled; and what is to come.

    With an order those of its lines are cancelled that were not before. A line that the order does not have is none.

    `unfilled` in (sku): the impact's tag is the order's channel.
    `inbound` in (sku): the event time is when it is expected, the impact says of which purchase order and how much;
    less than nothing is what has come of it.

    Memory: none; asks the order book.
    """

    NAME = "unfilled"

    def __init__(self, book: OrderBook) -> None:
        super().__init__()
        self._book = book

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {
            ReservationRejected: self._refused,
            TaskRejected: self._short,
            OrderCancelled: self._cancelled,
            PoCreated: self._bought,
            GoodsReceived: self._came,
        }

    def _refused(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ReservationRejected)
        self._count(event.order_id, event.sku, arrived, out)

    def _short(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskRejected)
        if event.task_type == "pick" and event.sku and event.order_id:
            self._count(event.order_id, event.sku, arrived, out)

    def _cancelled(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderCancelled)
        facts = self._book.get(event.order_id)
        if facts is None:
            return
        line_id = event.line_id
        lines = facts.lines_left if line_id is None else [line for line in facts.lines if line.line_id == line_id]
        for sku in sorted({line.sku for line in lines}):
            self._count(event.order_id, sku, arrived, out)

    def _count(self, order_id: str, sku: str, arrived: Arrived, out: Collected) -> None:
        facts = self._book.get(order_id)
        channel = facts.channel if facts is not None else arrived.event.channel or ""
        impact = self._book.impact(order_id, sku, tag=channel)
        place = (arrived.arrival_us, arrived.occurred_us, arrived.event.event_id)
        out.bad("unfilled", scoped(sku=sku), *place, impact=impact)

    def _bought(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, PoCreated)
        if event.expected_at is None:
            return
        due_us = to_us(event.expected_at)
        for line in event.lines or ():
            impact = Impact(order_id="", case_id=event.po_id, units=line.qty)
            out.bad("inbound", scoped(sku=line.sku), arrived.arrival_us, due_us, event.event_id, impact=impact)

    def _came(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, GoodsReceived)
        for line in event.lines or ():
            impact = Impact(order_id="", case_id=event.po_id, units=-line.qty)
            out.bad("inbound", scoped(sku=line.sku), arrived.arrival_us, 0, event.event_id, impact=impact)
