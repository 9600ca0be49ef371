"""Messages that come late while the rest of the log is in time: what a saturated queue does to what it carries.

The interface group counts them by topic (`late_messages`, scope topic), leaving out what a wrong clock or a log that
was held back explains. Case groups name the orders that they are about (`late_order`, same scope).
"""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import CELL_US, Collected, EventDetector, Handler
from operators.detectors.integration_minute import Minute
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, RateState, RateWatch, Seen
from operators.detectors.records import Scoped, ScopeFinding, Tally, scoped
from operators.detectors.scopes import Cell
from schemas.durations import MINUTE_US, Duration
from schemas.events import TOPICS, Arrived, EventBase

_LATE, _ORDER = "late_messages", "late_order"
_TOPIC_WORDS = {"fulfillment": "work and parcels"}


class DelaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which messages are late (`after` their event time), and when too many of a topic are.

    Late ones must come in at least `minutes` minutes of the window: a batch that was sent in later comes at once. Only
    topics whose messages queues carry: an order that waits for its payment is told of late, too.
    """

    after: Duration = Duration(5 * MINUTE_US)
    rate: RateRule = RateRule(least=6.0, share=0.03, times=4.0, score=6.0, usual=0.002)
    minutes: int = 4
    topics: tuple[str, ...] = ("reservations", "fulfillment")


class LateOrders(EventDetector):
    """Names the orders whose messages came late (case groups). Memory: none. Cost: a subtraction an event."""

    NAME = "late_orders"

    def __init__(self, settings: DelaySettings, book: OrderBook) -> None:
        super().__init__()
        self._after_us, self._book = settings.after, book
        self._scopes = {
            record: scoped(topic=topic)
            for topic in settings.topics
            for record in TOPICS[topic]
            if "order_id" in record.__struct_fields__
        }

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return dict.fromkeys(self._scopes, self._heard)

    def _heard(self, arrived: Arrived, out: Collected) -> None:
        if arrived.arrival_us - arrived.occurred_us <= self._after_us:
            return
        event = arrived.event
        order_id: str | None = getattr(event, "order_id", None)
        if order_id is not None:
            impact = self._book.impact(order_id)
            scope = self._scopes[type(event)]
            out.bad(_ORDER, scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact, total=0.0)


def count_late(minute: Minute, topics: Iterable[str], suspects: set[str], out: Collected, *, unsettled: bool) -> None:
    """Count a minute's messages of `topics`, without those of sources whose clocks are suspects."""
    for topic in topics:
        of_sources = minute.topics.get(topic)
        if of_sources is None:
            continue
        counted = [counts for source, counts in of_sources.items() if source not in suspects]
        late, total = sum(one[0] for one in counted), sum(one[1] for one in counted)
        if total:
            late = 0 if unsettled else late
            scope, since_us = scoped(topic=topic), minute.number * CELL_US
            out.tallies.append(Tally(_LATE, scope, minute.end_us, since_us, float(late), float(total)))


class LateWatch(RateWatch):
    """The second part: too many messages of a topic come late, over a while."""

    METRICS = (_LATE, _ORDER)

    def __init__(self, settings: DelaySettings, policy: Policy[RateRule]) -> None:
        super().__init__("late_messages", "queue_saturation", _LATE, policy, _words)
        self.METRICS = (_LATE, _ORDER)
        self._minutes = settings.minutes

    def judge(
        self, scope: Scoped, state: RateState, cells: Mapping[str, Cell], end_us: int, *, barred: bool = False
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        counted, orders = cells.get(_LATE), cells.get(_ORDER)
        late_minutes = sum(bad > 0 for _, bad, _ in state.cells)
        if counted is not None:
            late_minutes += counted.bad > 0
            members = orders.members if orders is not None and counted.bad else []
            cells = {_LATE: msgspec.structs.replace(counted, members=members)}
        else:
            cells = {}
        return super().judge(scope, state, cells, end_us, barred=barred or late_minutes < self._minutes)


def _words(seen: Seen) -> tuple[str, str, str]:
    topic = _TOPIC_WORDS.get(dict(seen.scope)["topic"], dict(seen.scope)["topic"])
    expected = f"{seen.usual:.1%} of {topic} late"
    observed = f"{seen.bad:.0f} of {seen.total:.0f} in {seen.within}"
    if seen.closed:
        return expected, observed, f"Messages about {topic} come in time again; {seen.cases} orders waited for theirs."
    sentence = (
        f"Messages about {topic} come minutes late while others are in time, as from a queue that is too slow: "
        f"{observed}, about {seen.cases} orders."
    )
    return expected, observed, sentence
