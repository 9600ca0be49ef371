"""How many orders are placed, cancelled and returned, by channel: counts for the models over series.

Nothing is judged here. `orders:placed` counts orders as they are captured; `orders:cancelled` whole orders that are,
once, where these are cancelled line by line with the last of them; and `orders:returned` returns as they are announced.
Each is counted where the event says its channel, else where the order book knows it.
"""

from collections.abc import Mapping

from operators.detectors.events import Collected, EventDetector, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.records import Scoped, ScopesOf
from schemas.events import Arrived, EventBase, OrderCancelled, OrderCreated, ReturnAuthorized

#: With a colon, so that no rule of a process map has the same name.
ORDERED, CANCELLED, RETURNED = "orders:placed", "orders:cancelled", "orders:returned"


class OrderFlow(EventDetector):
    """Counts. It must stand before the order book: whether a cancellation ends an order is told by what was left of it.

    Memory: one entry a channel. Cost: a dictionary look-up an event of these three types.
    """

    NAME = "order_flow"

    def __init__(self, book: OrderBook) -> None:
        super().__init__()
        self._book, self._channels = book, ScopesOf("channel")

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {OrderCreated: self._ordered, OrderCancelled: self._cancelled, ReturnAuthorized: self._returned}

    def _ordered(self, arrived: Arrived, out: Collected) -> None:
        out.good(ORDERED, self._channels[arrived.event.channel or ""], arrived.arrival_us)

    def _cancelled(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderCancelled)
        known = self._book.get(event.order_id)
        if known.is_ended_by(event.line_id) if known is not None else event.line_id is None:
            out.bad(CANCELLED, self._channel(event), arrived.arrival_us, arrived.occurred_us, total=0.0)

    def _returned(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, ReturnAuthorized)
        out.bad(RETURNED, self._channel(event), arrived.arrival_us, arrived.occurred_us, total=0.0)

    def _channel(self, event: OrderCancelled | ReturnAuthorized) -> Scoped:
        if event.channel:
            return self._channels[event.channel]
        known = self._book.get(event.order_id)
        return self._channels[known.channel if known is not None else ""]
