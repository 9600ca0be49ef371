"""Days of events for tests of detectors, and a run of some first and second parts over them."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from operators.detectors.events import EventDetector, EventDetectors
from operators.detectors.order_book import OrderBook
from operators.detectors.records import ScopeFinding
from operators.detectors.scopes import ScopeDetector, ScopeDetectors, ScopeDetectorsState
from schemas.durations import HOUR_US, MINUTE_US, rfc3339
from schemas.events import Arrived, Event
from tests.tallies import all_tallies

#: A day that begins at midnight.
DAY_BEGINS_US = 1_772_409_600_000_000


def at(hours: float) -> int:
    """That time of the day."""
    return DAY_BEGINS_US + round(hours * HOUR_US)


class Day:
    """Events in the making; ids are numbers in the order in which they are told."""

    def __init__(self) -> None:
        self.events: list[Arrived] = []

    def tell(self, kind: str, at_us: int, *, arrives_us: int | None = None, **fields: object) -> None:
        """Something happened, and was told at once unless `arrives_us` says when."""
        number = len(self.events)
        body = {"type": kind, "event_id": f"e{number}", "source": "x", "system": "oms", "occurred_at": rfc3339(at_us)}
        event = msgspec.convert(body | fields, Event)  # type: ignore[arg-type] # a union
        self.events.append(Arrived(arrives_us if arrives_us is not None else at_us, "t", 0, number, at_us, event))

    def order(self, order_id: str, at_us: int, *, sku: str = "sku-1", region: str = "north") -> None:
        """An order of one line, for 20.00 EUR."""
        line = {"line_id": "1", "sku": sku, "qty": 2, "unit_price": "10.00"}
        fields = {"order_id": order_id, "currency": "EUR", "channel": "web", "region": region}
        self.tell("order.created", at_us, **fields, lines=[line])


Parts = Callable[[], tuple[Sequence[EventDetector], Sequence[ScopeDetector]]]


def run(
    events: Iterable[Arrived], parts: Parts, until_us: int, *, step_us: int = 20 * MINUTE_US, keep: bool = False
) -> list[ScopeFinding]:
    """All that is found until then, with time told every `step_us`, and everything restarted each time with `keep`."""
    made = parts()
    first, second = EventDetectors(made[0]), ScopeDetectors(made[1])
    out: list[ScopeFinding] = []
    log, upto = sorted(events, key=lambda one: (one.arrival_us, one.offset)), 0
    for told_us in range(DAY_BEGINS_US, until_us + step_us, step_us):
        now = min(told_us, until_us)
        after = upto
        while after < len(log) and log[after].arrival_us < now:
            after += 1
        found = first.update(log[upto:after], [], now)
        upto = after
        second.update(all_tallies(found))
        out += second.advance(now)
        if keep:
            kept, judged = first.snapshot(), msgspec.msgpack.encode(second.snapshot())
            made = parts()
            first, second = EventDetectors(made[0]), ScopeDetectors(made[1])
            first.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=type(kept)))
            second.restore(msgspec.msgpack.decode(judged, type=ScopeDetectorsState))
    assert not any(impact.tag for one in out for impact in one.impacts), "tags are for second parts alone"
    return out


def with_book(of: Callable[[OrderBook], list[EventDetector]], judges: Callable[[], list[ScopeDetector]]) -> Parts:
    """First parts behind an order book, and second parts."""

    def made() -> tuple[list[EventDetector], list[ScopeDetector]]:
        book = OrderBook(48 * HOUR_US)
        return [book, *of(book)], judges()

    return made


def named(findings: Iterable[ScopeFinding]) -> list[str]:
    """The orders that findings name, each as often as it was named."""
    return [impact.order_id for finding in findings for impact in finding.impacts]
