"""Orders that come again: under their own id in a new event, or under a new id with the same content.

The same event twice is dropped before any detector sees it and is no finding. Metric `duplicate_order` by channel; the
repeated orders and those they repeat are named.
"""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from operators.detectors.capture import impact_of, order_signal
from operators.detectors.events import Collected, EventDetector, Handler
from operators.detectors.kept import read_kept
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, RateWatch, Seen
from operators.detectors.records import Impact, Scoped, ScopesOf, scoped
from operators.findings import joined
from schemas.durations import MINUTE_US, people_duration
from schemas.events import Arrived, EventBase, OrderCreated

METRIC = "duplicate_order"


class RepeatedOrders(EventDetector):
    """Counts orders whose id came again under another event id (case groups; must stand before the order book).

    Memory: none, the order book knows which orders there are. Cost: one look-up an order.
    """

    NAME = "repeated_orders"

    def __init__(self, book: OrderBook) -> None:
        super().__init__()
        self._book = book

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {OrderCreated: self._created}

    def _created(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderCreated)
        facts = self._book.get(event.order_id)
        if facts is None or facts.created_us is None:
            return
        scope = scoped(channel=event.channel or facts.channel)
        impact = facts.impact(event.order_id)
        out.bad(METRIC, scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact, total=0.0)


class First(msgspec.Struct, array_like=True, gc=False):
    """The first order of a content, and when (event time) an order of that content was last placed."""

    order_id: str
    event_id: str
    source: str
    last_us: int
    chunk: int
    scope: Scoped
    impact: Impact | None


class SameContentState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `SameContent`."""

    version: int
    firsts: dict[str, First]
    chunks: dict[int, list[str]]


class SameContent(EventDetector):
    """Finds orders with the content of another one placed shortly before or after (interface group).

    Memory: two keys for each order of the last `within` to three times as long. Cost: two hashes an order.
    """

    NAME = "same_content"
    VERSION = 1

    def __init__(self, within: int) -> None:
        super().__init__()
        self._within_us = within
        self._chunk_us = max(MINUTE_US, within)
        self._scopes = ScopesOf("channel")
        self._firsts: dict[str, First] = {}
        self._chunks: dict[int, list[str]] = {}

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {OrderCreated: self._created}

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """A span of time whose orders are too old to be repeated."""
        del due_us, out
        chunk = int(key)
        for content in self._chunks.pop(chunk, []):
            first = self._firsts.get(content)
            if first is not None and first.chunk == chunk:
                del self._firsts[content]

    def sizes(self) -> Mapping[str, int]:
        """As `EventDetector`."""
        return {"contents": len(self._firsts)}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return msgspec.msgpack.encode(SameContentState(self.VERSION, self._firsts, self._chunks))

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        kept = read_kept(state, SameContentState, self.VERSION, self.NAME)
        self._firsts, self._chunks = dict(kept.firsts), {chunk: list(keys) for chunk, keys in kept.chunks.items()}

    def _created(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderCreated)
        scope = self._scopes[event.channel or ""]
        out.good(METRIC, scope, arrived.arrival_us)
        repeats: First | None = None
        impact = impact_of(event)
        for content in contents_of(event):
            first = self._firsts.get(content)
            if first is None or abs(arrived.occurred_us - first.last_us) > self._within_us:
                self._remember(content, arrived, event, scope, impact)
            elif first.order_id != event.order_id:
                first.last_us = max(first.last_us, arrived.occurred_us)
                repeats = repeats or first
        if repeats is not None:
            self._said(repeats, arrived, event, scope, impact, out)

    def _remember(self, content: str, arrived: Arrived, event: OrderCreated, scope: Scoped, impact: Impact) -> None:
        chunk = arrived.arrival_us // self._chunk_us
        keys = self._chunks.get(chunk)
        if keys is None:
            keys = self._chunks[chunk] = []
            self.set_timer((chunk + 3) * self._chunk_us, str(chunk))
        keys.append(content)
        self._firsts[content] = First(
            event.order_id, event.event_id, event.source, arrived.occurred_us, chunk, scope, impact
        )

    def _said(
        self, first: First, arrived: Arrived, event: OrderCreated, scope: Scoped, impact: Impact, out: Collected
    ) -> None:
        now, at = arrived.arrival_us, arrived.occurred_us
        if first.impact is not None:  # named once, with the first order that repeats it
            out.bad(METRIC, scope, now, at, first.event_id, impact=first.impact, total=0.0)
            first.impact = None
        out.bad(METRIC, scope, now, at, event.event_id, impact=impact, total=0.0)
        within = people_duration(self._within_us)
        sentence = f"Order {event.order_id} has the content of order {first.order_id}, placed within {within} of it."
        words = ("an order once", f"the content of order {first.order_id} again", sentence)
        out.signal(order_signal(self.NAME, METRIC, arrived, words, [first.event_id, event.event_id]))


def contents_of(event: OrderCreated) -> list[str]:
    """What tells the content of an order from another's: its idempotency key, and its customer with the lines."""
    found = []
    channel = event.channel or ""
    if event.idempotency_key:
        found.append(_digest("key", channel, event.idempotency_key))
    if event.customer_id and event.lines:
        lines = sorted((line.sku, repr(line.qty)) for line in event.lines)
        found.append(_digest("lines", channel, event.customer_id, *(part for line in lines for part in line)))
    return found


def _digest(*parts: str) -> str:
    return blake2b(joined(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def duplicate_watch(policy: Policy[RateRule]) -> RateWatch:
    """The second part: too many orders of a channel come again."""
    return RateWatch("duplicate_orders", "duplicate_orders", METRIC, policy, _words)


def _words(seen: Seen) -> tuple[str, str, str]:
    where = seen.where or "orders"
    expected = f"{seen.usual:.1%} of orders again"
    observed = f"{seen.bad:.0f} repeated or repeating orders beside {seen.total:.0f} captured in {seen.within}"
    if seen.closed:
        return expected, observed, f"Orders of {where} no longer come twice; {seen.cases} orders were touched."
    sentence = (
        f"Orders of {where} come again, under the same or a new order id: "
        f"{seen.cases} orders are repeated or repeat another one."
    )
    return expected, observed, sentence
