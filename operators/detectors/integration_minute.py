"""What came from whom in a minute, over all lanes: what feeds, clocks and delays are judged by.

Lanes add up what they hear by source, topic and (for stock, and work that moves it) node, each event once, wherever its
events go; the interface group puts the parts of all lanes together when the minute is over. It is the one place that
sees all sources, and can tell one that is late from a log that is late.
"""

from collections.abc import Iterable

import msgspec

from operators.detectors.events import CELL_US
from operators.slices import Heard
from schemas.durations import BEGIN_OF_TIME_US, MINUTE_US
from schemas.events import (
    TOPIC_OF,
    TOPICS,
    Arrived,
    InventoryAdjusted,
    InventoryLevel,
    SaleRecorded,
    ShipmentDispatched,
    TaskCompleted,
    TaskRejected,
    TaskStarted,
    type_name,
)

_TOPIC = {record: TOPIC_OF[type_name(record)] for records in TOPICS.values() for record in records}
#: Events that tell of a node's stock, or of work there that moves it: they name a node in what is heard.
_OF_NODE = frozenset(
    {InventoryLevel, InventoryAdjusted, TaskStarted, TaskCompleted, TaskRejected, ShipmentDispatched, SaleRecorded}
)
#: The topic of a type, and whether it names a node in what is heard.
_KINDS = {record: (topic, record in _OF_NODE) for record, topic in _TOPIC.items()}
#: Stands among the sources that spoke of a node's stock for work that was done there.
WORK = ""
#: Everything came later than this: it was held back on the way into the log.
_HELD_BACK_US = MINUTE_US
#: This share of the systems being late, of at least so many, is everything.
_ALL, _SYSTEMS = 0.8, 3


class _Sum:
    """The sums of one key, from its first event on."""

    __slots__ = ("count", "early", "first", "late", "least", "system")

    def __init__(self, system: str, event_id: str, delay: int) -> None:
        self.system, self.first, self.least = system, event_id, delay
        self.count, self.late, self.early = 0, 0, 0


def heard_of(events: Iterable[Arrived], late_us: int, early_us: int) -> list[Heard]:
    """What a lane's events, in order of arrival, add up to. Cost: some 0.5 µs an event."""
    minutes: list[tuple[int, dict[tuple[str, str, str], _Sum]]] = []
    sums: dict[tuple[str, str, str], _Sum] = {}
    kinds, too_early, end_us = _KINDS, -early_us, BEGIN_OF_TIME_US
    for arrived in events:
        now = arrived.arrival_us
        if now >= end_us:
            minute, sums = now // CELL_US, {}
            minutes.append((minute, sums))
            end_us = (minute + 1) * CELL_US
        event = arrived.event
        topic, has_node = kinds[type(event)]
        key = (event.source, topic, (event.node or "") if has_node else "")  # type: ignore[union-attr] # those have one
        delay = now - arrived.occurred_us
        found = sums.get(key)
        if found is None:
            found = sums[key] = _Sum(event.system, event.event_id, delay)
        found.count += 1
        if delay > late_us:
            found.late += 1
        elif delay < too_early:
            found.early += 1
        if delay < found.least:  # noqa: PLR1730 - faster than min
            found.least = delay
        if event.event_id < found.first:  # noqa: PLR1730 - faster than min
            found.first = event.event_id
    return [
        Heard(minute, *key, one.system, one.count, one.late, one.early, one.least, one.first)
        for minute, sums in minutes
        for key, one in sums.items()
    ]


def both_of(one: Heard, other: Heard) -> Heard:
    """Two parts of one minute about one source, topic and node, added up."""
    return Heard(
        one.minute,
        one.source,
        one.topic,
        one.node,
        min(one.system, other.system),
        one.count + other.count,
        one.late + other.late,
        one.early + other.early,
        min(one.least_us, other.least_us),
        min(one.first, other.first),
    )


class SourceMinute(msgspec.Struct):
    """One source in one minute: how many events, how many dated ahead, the least delay, and one of their ids."""

    system: str
    count: int
    early: int
    least_us: int
    shown: str


class Minute(msgspec.Struct):
    """One minute of the log, all in sorted order.

    `sources` by name; (late, all) events by topic and source; for each node the sources that spoke of its stock, and
    `WORK` where work was done that moves it.
    `held_back` says that everything came late.
    """

    number: int
    sources: dict[str, SourceMinute]
    topics: dict[str, dict[str, tuple[int, int]]]
    stock: dict[str, set[str]]
    held_back: bool

    @property
    def end_us(self) -> int:
        """The last instant of the minute: what is said of it is counted in it."""
        return (self.number + 1) * CELL_US - 1


def minute_of(number: int, parts: Iterable[Heard]) -> Minute:
    """The parts of all lanes of one minute, put together in an order of their own."""
    sources: dict[str, SourceMinute] = {}
    topics: dict[str, dict[str, tuple[int, int]]] = {}
    stock: dict[str, set[str]] = {}
    for part in sorted(parts):
        source = sources.get(part.source)
        if source is None:
            sources[part.source] = SourceMinute(part.system, part.count, part.early, part.least_us, part.first)
        else:
            source.count += part.count
            source.early += part.early
            source.least_us = min(source.least_us, part.least_us)
            source.shown = min(source.shown, part.first)
        late, total = topics.setdefault(part.topic, {}).get(part.source, (0, 0))
        topics[part.topic][part.source] = (late + part.late, total + part.count)
        if part.node:
            stock.setdefault(part.node, set()).add(part.source if part.topic == "inventory" else WORK)
    return Minute(number, sources, topics, stock, _held_back(sources))


def _held_back(sources: dict[str, SourceMinute]) -> bool:
    """Whether (nearly) every system was late: then the log was, and not they."""
    least: dict[str, int] = {}
    for source in sources.values():
        if not source.system:
            continue
        least[source.system] = min(source.least_us, least.get(source.system, source.least_us))
    late = sum(delay > _HELD_BACK_US for delay in least.values())
    return len(least) >= _SYSTEMS and late >= _ALL * len(least)
