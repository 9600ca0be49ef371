"""What is known of each order: what was ordered, by whom, for how much, promised for when."""

from collections.abc import Mapping, Sequence

import msgspec

from operators.detectors.case_memory import CaseDetector
from operators.detectors.events import Collected, Handler
from operators.detectors.order_facts import OrderFacts, amount, lines_of
from operators.detectors.records import CANCELLED, ORDER_MOVED, Impact, Standing, scoped
from operators.process_map import Handoff, Pattern
from schemas.durations import to_us
from schemas.events import (
    EVENT_TYPES,
    Arrived,
    EventBase,
    OrderAllocated,
    OrderCancelled,
    OrderCreated,
    OrderPromiseChanged,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentException,
    field_of,
)

#: Of how many orders it is kept what was last said of them as a whole.
_MOST_WHOLE = 5_000


class OrderBook(CaseDetector[OrderFacts]):
    """The orders of a key group, whom other detectors ask for impacts.

    Of an order that one asked for, and of one that was captured incomplete, every step further on `path`, the handoffs
    to its promise, is told as a tally `ORDER_MOVED`. What happened earlier on the way than what is known already says
    nothing new.

    An order all of whose lines were cancelled one by one is cancelled with the last of them.

    Memory: some 300 bytes with the key for an order at rest, 20 more for each shipment whose freight is known and for
    each cancelled line, dropped `retention` after its last event; and what was last said of at most 5,000 orders as a
    whole.
    Cost: one look-up for each event of the types that change what is known.
    """

    NAME = "order_book"
    VERSION = 2

    def __init__(self, retention_us: int, path: Sequence[Handoff] = ()) -> None:
        super().__init__(OrderFacts, retention_us)
        #: What was last said of whole orders, until something changes in them: work that grows old asks at each age.
        self._whole: dict[str, Impact] = {}
        #: Type of event → (pattern, handoff of the path that an order comes into by it, field of the scope there).
        self._steps: dict[type[EventBase], list[tuple[Pattern, int, str]]] = {}
        for link, handoff in enumerate(path):
            self._steps.setdefault(EVENT_TYPES[handoff.start.type], []).append((handoff.start, link, handoff.scope))
        if path:
            self._steps.setdefault(EVENT_TYPES[path[-1].end.type], []).append((path[-1].end, len(path), ""))
        self._expects = {record for record in self._steps if "expected_at" in record.__struct_fields__}

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        known: dict[type[EventBase], Handler] = {
            OrderCreated: self._created,
            OrderPromiseChanged: self._promised,
            OrderAllocated: self._allocated,
            OrderCancelled: self._cancelled,
            ShipmentDispatched: self._dispatched,
            ShipmentDelivered: self._delivered,
        }
        if not self._steps:
            return known
        on_the_way = {record: _both(known.get(record), self._step) for record in self._steps}
        return {**known, ShipmentException: self._put_off, **on_the_way}

    def get(self, order_id: str | None) -> OrderFacts | None:
        """What is known of an order; to be read, not changed."""
        return self._cases.get(order_id) if order_id else None

    def ends(self, event: OrderCancelled) -> bool:
        """Whether this leaves nothing of an order: cancelled as a whole, or its last line."""
        facts = self.get(event.order_id)
        return event.line_id is None or (facts is not None and facts.cancelled)

    def whole(self, order_id: str) -> Impact:
        """As `impact` of all lines."""
        return self._whole.get(order_id) or self.impact(order_id)

    def impact(
        self, order_id: str | None, sku: str | None = None, line_id: str | None = None, *, tag: str = ""
    ) -> Impact:
        """What is touched when these lines of an order are; the bare ids where nothing is known of it.

        Cost: a look-up where the whole of an order is asked for again, and nothing has changed in it.
        """
        is_whole = sku is None and line_id is None and not tag
        if is_whole and order_id:
            said = self._whole.get(order_id)
            if said is not None:
                return said
        facts = self.get(order_id)
        if facts is None or not order_id:
            return Impact(order_id=order_id or "", tag=tag)
        impact = facts.impact(order_id, sku, line_id, tag=tag)
        if is_whole:
            if len(self._whole) >= _MOST_WHOLE:
                self._whole.clear()
            self._whole[order_id] = impact
        return impact

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """As `EventDetector`: orders of which nothing was heard for long are forgotten."""
        del out
        if self._cases.due(key, due_us):
            self._whole.clear()

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        super().restore(state)
        self._whole.clear()

    def _changing(self, order_id: str, now_us: int) -> OrderFacts:
        """An order of which something was heard that changes what is said of it."""
        self._whole.pop(order_id, None)
        return self._cases.heard(order_id, now_us)

    def _created(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderCreated)
        facts = self._changing(event.order_id, arrived.arrival_us)
        if facts.created_us is not None:
            return
        facts.created_us = arrived.occurred_us
        facts.channel, facts.region = event.channel or "", event.region or facts.region
        facts.customer_id, facts.currency = event.customer_id or "", event.currency or ""
        facts.lines = lines_of(event)
        if facts.promised_us is None and event.promised_at is not None:
            facts.promised_us = to_us(event.promised_at)
        if event.dispatch_by is not None:
            facts.dispatch_by_us = to_us(event.dispatch_by)
        if not facts.dispatched:
            facts.freight_charged = amount(event.freight_charged)
        if facts.promised_us is not None and facts.is_incomplete:
            facts.is_named = True  # the interface group may name it, which can't ask here
        if facts.cancelled_lines:  # heard of before it
            before, facts.cancelled_lines = facts.cancelled_lines, {}
            for line_id in before:
                self._cancel(event.order_id, facts, line_id, arrived, out)

    def _promised(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderPromiseChanged)
        facts = self._changing(event.order_id, arrived.arrival_us)
        facts.promised_us = to_us(event.promised_at)
        _tell(event.order_id, facts, arrived, out)

    def _allocated(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, OrderAllocated)
        facts = self._cases.heard(event.order_id, arrived.arrival_us)
        facts.node = event.node
        facts.region = facts.region or event.region or ""

    def _cancelled(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderCancelled)
        facts = self._changing(event.order_id, arrived.arrival_us)
        self._cancel(event.order_id, facts, event.line_id, arrived, out)

    def _cancel(self, order_id: str, facts: OrderFacts, line_id: str | None, arrived: Arrived, out: Collected) -> None:
        is_over = line_id is None or facts.is_ended_by(line_id)
        facts.cancel(line_id)
        if is_over and self._steps:
            facts.standing = Standing(arrived.arrival_us, CANCELLED, arrived.occurred_us)
            _tell(order_id, facts, arrived, out)

    def _dispatched(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, ShipmentDispatched)
        self._cases.heard(event.order_id, arrived.arrival_us).ship(event)

    def _delivered(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, ShipmentDelivered)
        self._cases.heard(event.order_id, arrived.arrival_us).delivered = True

    def _step(self, arrived: Arrived, out: Collected) -> None:
        """An order comes into a handoff of the way, or to its end; the event may mean neither."""
        event = arrived.event
        order_id: str | None = getattr(event, "order_id", None)
        if not order_id:
            return
        facts: OrderFacts | None = None
        for pattern, link, scope_by in self._steps[type(event)]:
            if pattern.where and not pattern.matches(event):
                continue
            if facts is None:
                facts = self._cases.heard(order_id, arrived.arrival_us)
            before = facts.standing
            if before is not None and (before.link == CANCELLED or before.link > link):
                continue
            if before is not None and before.link == link and (not scope_by or link == 0):
                continue  # said once more: the first end counts, as in the handoffs
            self._whole.pop(order_id, None)
            facts.standing = Standing(
                arrived.arrival_us,
                link,
                arrived.occurred_us,
                field_of(event, scope_by) if scope_by else "",
                facts.dispatch_by_us,
                _expected_us(event) if type(event) in self._expects else None,
            )
            _tell(order_id, facts, arrived, out)

    def _put_off(self, arrived: Arrived, out: Collected) -> None:
        """Something went wrong on the way; the carrier may say when it will deliver instead."""
        event = arrived.event
        assert isinstance(event, ShipmentException)
        facts, expected_us = self.get(event.order_id), _expected_us(event)
        if facts is None or expected_us is None or facts.standing is None or facts.standing.link < 0:
            return
        self._whole.pop(event.order_id, None)
        facts.standing = msgspec.structs.replace(
            facts.standing, arrival_us=arrived.arrival_us, expected_us=expected_us, is_put_off=True
        )
        _tell(event.order_id, facts, arrived, out)


def _tell(order_id: str, facts: OrderFacts, arrived: Arrived, out: Collected) -> None:
    """Say where an order now stands, if anybody asked for it."""
    if not facts.is_named or facts.standing is None:
        return
    impact = Impact(order_id=order_id, promised_us=facts.promised_us, standing=facts.standing)
    scope, event_id = scoped(order=order_id), arrived.event.event_id
    out.bad(ORDER_MOVED, scope, arrived.arrival_us, arrived.occurred_us, event_id, impact=impact)


def _expected_us(event: EventBase) -> int | None:
    said = getattr(event, "expected_at", None)
    return None if said is None else to_us(said)


def _both(first: "Handler | None", then: Handler) -> Handler:
    """Two handlers for one type of event."""
    if first is None:
        return then

    def call(arrived: Arrived, out: Collected) -> None:
        first(arrived, out)
        then(arrived, out)

    return call
