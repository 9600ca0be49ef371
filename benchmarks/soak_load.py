"""The input of `make soak`: a simulated retailer, live, for as long as it takes.

One day of the simulator is the template. All cases that begin in it are played to their end, days later, and what
belongs to no case (stock, sales, queues) for that day. `ZONES` copies of the retailer, each with its own nodes, are
played a fraction of a day apart, so that noon here is night there and the rate is steady; each begins the day again
when it is over, under fresh ids. A day is squeezed into minutes, and so are the deadlines of the process map: cases
begin, end and are forgotten many times over in an hour. The wall clock is not squeezed: `occurred_at` is 20 to 200 ms
before the message's timestamp, which is now (0.3 % are held up for up to 5 s).

`python soak_load.py FEED.msgpack` plays until SIGTERM. A line of JSON (`Told`) a second says what was sent; the last
one is `final`.
"""

import heapq
import json
import random
import re
import signal
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from scenarios.journal import Stamps
from scenarios.simulate import SimulationSettings, simulate
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, Instant, rfc3339
from schemas.events import BUSINESS_TOPICS

ZONES = 6
SEED = 11
#: What stands in every message that is to be a dead letter.
MARK = "soak-injected"
#: Events for an order: what sizes the retailer.
_PER_ORDER = 55
#: Simulated days: one to get under way, the template, and what its cases take to end.
_DAYS = 6
_DAYS_BACK = _DAYS - 1
_HELD_SHARE, _HELD_S = 0.003, 5.0
_INJECT_EVERY = 2_000
_FLUSH_S = 120.0

_WAVE, _ZONE = 1 << 62, (1 << 62) + 1
_HOLE = re.compile(r"@(?:(W)|(Z)|T(-?\d+))@")
_OF_WAVE = frozenset({
    "event_id", "order_id", "reservation_id", "task_id", "shipment_id", "return_id", "po_id", "posting_id", "reference",
    "correlation_id", "case_id", "idempotency_key", "customer_id", "document_id", "promotion_id",
})  # fmt: skip
_OF_ZONE = frozenset({"node", "expected_node"})
_TIMES = frozenset({"occurred_at", "promised_at", "dispatch_by", "expected_at", "expires_at"})
#: What is counted, by the field that holds its id.
_COUNTED = {"order.created": "order_id", "shipment.dispatched": "shipment_id"}


class Line(msgspec.Struct, array_like=True):
    """A message of the template.

    `at_us` is when it is sent, from the beginning of its day; `text` has a `%s` for each of `holes`: the day's tag, the
    zone's, or a time from the beginning of its day. `key` (with the tag) decides the partition. `counted` is the kind
    of id, and the id, under which the message is counted. `first_us` is set of a message that is there for the second
    time: when the first was sent.
    """

    at_us: int
    topic: int
    text: str
    holes: tuple[int, ...]
    key: str
    counted: tuple[str, str] | None = None
    first_us: int | None = None


class Feed(msgspec.Struct):
    """All that the player needs. `producer` are properties of the client library."""

    partitions: int
    day_us: int
    lines: list[Line]
    topics: list[str] = []
    producer: dict[str, str | int | bool] = {}


class Told(msgspec.Struct):
    """What was sent so far. `ids` and `sums` are the number of ids and the sum of their CRC-32, by kind of id."""

    sent: int = 0
    acked: int = 0
    failed: int = 0
    waiting: int = 0
    repeated: int = 0
    behind_s: float = 0.0
    injected: dict[str, int] = {}
    ids: dict[str, int] = {}
    sums: dict[str, int] = {}
    error: str = ""
    final: bool = False


# --- making it --------------------------------------------------------------------------------------------------------


def make_feed(folder: Path, rate: float, day_s: float, partitions: int) -> Feed:
    """Simulate a retailer of which days of about `day_s` seconds give `rate` messages a second."""
    orders = max(8, round(rate * day_s / ZONES / _PER_ORDER))
    settings = SimulationSettings(
        seed=SEED,
        duration=Duration(_DAYS * DAY_US),
        orders_per_day=orders,
        counter_sales_per_day=orders + orders // 2,
        stores=max(2, min(40, orders // 60)),
        skus=max(20, min(600, orders // 8)),
        queue_sample=Duration(30 * MINUTE_US),
        level_cycle=Duration(6 * HOUR_US),
    )
    simulate(settings, folder)
    begin_us = settings.start + DAY_US
    kept = _template(folder, begin_us)
    day_us = round(len(kept) * ZONES / rate * SECOND_US)
    return Feed(partitions, day_us, _lines(kept, begin_us, day_us))


def _template(folder: Path, begin_us: int) -> list[tuple[int, int, dict[str, Any]]]:
    """(when recorded, topic, message) of all cases that begin in the day, and of what belongs to none."""
    messages = []
    for number, topic in enumerate(BUSINESS_TOPICS):
        path = folder / f"{topic}.jsonl"
        for line in path.read_bytes().splitlines():
            message = json.loads(line)
            messages.append((int(Instant.parse(message.pop("recorded_at"))), number, message))
        path.unlink()
    messages.sort(key=lambda one: one[:2])
    begun: dict[str, int] = {}
    kept = []
    for at, number, message in messages:
        case = _case_of(message)
        first = at if case is None else begun.setdefault(case, at)
        if begin_us <= first < begin_us + DAY_US:
            kept.append((at, number, message))
    return kept


def _case_of(message: dict[str, Any]) -> str | None:
    if message["type"].startswith("inventory."):
        return None
    names = ("return_id", "po_id", "reference", "order_id", "case_id")
    return next((message[name] for name in names if message.get(name)), None)


def _lines(kept: list[tuple[int, int, dict[str, Any]]], begin_us: int, day_us: int) -> list[Line]:
    chance = random.Random(SEED)
    made = []
    for at, number, message in kept:
        delay_s = chance.uniform(0.02, 0.2)
        if chance.random() < _HELD_SHARE:
            delay_s += chance.random() * _HELD_S
        sent_us = _squeezed(at, begin_us, day_us) + round(delay_s * SECOND_US)
        encoded = json.dumps(_with_holes(message, begin_us, day_us), separators=(",", ":"), ensure_ascii=False)
        holes = tuple(_hole(found) for found in _HOLE.finditer(encoded))
        text = _HOLE.sub("%s", encoded.replace("%", "%%"))
        key = f"{message.get('order_id') or message.get('sku') or message['event_id']}."
        field = _COUNTED.get(message["type"])
        counted = None if field is None else (field, f"{message[field]}.")
        made.append((message["event_id"], Line(sent_us, number, text, holes, key, counted)))
    made.sort(key=lambda one: one[1].at_us)
    firsts: dict[str, int] = {}
    for event_id, line in made:
        if event_id in firsts:
            line.first_us = firsts[event_id]
        else:
            firsts[event_id] = line.at_us
    return [line for _, line in made]


def _squeezed(instant_us: int, begin_us: int, day_us: int) -> int:
    return (instant_us - begin_us) * day_us // DAY_US


def _with_holes(message: dict[str, Any], begin_us: int, day_us: int) -> dict[str, Any]:
    out = {}
    for name, value in message.items():
        if name in _OF_WAVE:
            out[name] = f"{value}.@W@"
        elif name in _OF_ZONE:
            out[name] = f"{value}.@Z@"
        elif name in _TIMES:
            out[name] = f"@T{_squeezed(Instant.parse(value), begin_us, day_us)}@"
        else:
            out[name] = value
    return out


def _hole(found: re.Match[str]) -> int:
    if found[1]:
        return _WAVE
    return _ZONE if found[2] else int(found[3])


# --- playing it -------------------------------------------------------------------------------------------------------


class Player:
    """Sends the feed; keeps nothing of what it sent but counts."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._stamp = Stamps()
        self._begin_us = time.time_ns() // 1_000
        self.told = Told(injected=dict.fromkeys(("transport", "schema", "rule"), 0))
        self.stopped = False
        self._producer = Producer({"acks": "all", "queue.buffering.max.messages": 1_000_000, **feed.producer})

    def play(self) -> None:
        """Until `stopped`."""
        due = self._due()
        at, zone, wave, line = next(due)
        last_s = 0.0
        while not self.stopped:
            now_us = time.time_ns() // 1_000
            while at <= now_us and not self.stopped:
                self._send(zone, wave, line, now_us)
                at, zone, wave, line = next(due)
            self._producer.poll(0)
            if time.monotonic() - last_s >= 1.0:
                last_s = time.monotonic()
                self.told.behind_s = max(0.0, (time.time_ns() // 1_000 - at) / SECOND_US)
                self.tell()
            time.sleep(min(0.02, max(0.0, at / SECOND_US - time.time())))
        self._producer.flush(_FLUSH_S)
        self.told.final = True
        self.tell()

    def tell(self) -> None:
        """One line of JSON."""
        self.told.waiting = len(self._producer)
        print(msgspec.json.encode(self.told).decode(), flush=True)

    def _due(self) -> Iterator[tuple[int, int, int, Line]]:
        """(when, zone, day, line) in order, for ever. At the beginning, earlier days are under way."""
        lines, day_us = self._feed.lines, self._feed.day_us
        starts = [line.at_us for line in lines]

        def begin_of(zone: int, wave: int) -> int:
            return self._begin_us + wave * day_us + zone * day_us // ZONES

        heap: list[tuple[int, int, int, int]] = []
        for zone in range(ZONES):
            for wave in range(-_DAYS_BACK, 1):
                index = bisect_left(starts, self._begin_us - begin_of(zone, wave))
                if index < len(lines):
                    heap.append((begin_of(zone, wave) + starts[index], zone, wave, index))
        heapq.heapify(heap)
        while True:
            at, zone, wave, index = heap[0]
            if index + 1 < len(lines):
                heapq.heapreplace(heap, (begin_of(zone, wave) + starts[index + 1], zone, wave, index + 1))
            else:
                heapq.heappop(heap)
            if index == 0:
                heapq.heappush(heap, (begin_of(zone, wave + 1) + starts[0], zone, wave + 1, 0))
            yield at, zone, wave, lines[index]

    def _send(self, zone: int, wave: int, line: Line, now_us: int) -> None:
        feed, told = self._feed, self.told
        base_us = self._begin_us + wave * feed.day_us + zone * feed.day_us // ZONES
        tag = f"{wave + _DAYS_BACK}z{zone}"
        values = tuple(
            [
                tag if hole == _WAVE else f"z{zone}" if hole == _ZONE else self._stamp(base_us + hole)
                for hole in line.holes
            ]
        )
        partition = crc32((line.key + tag).encode()) % feed.partitions
        self._produce(feed.topics[line.topic], partition, (line.text % values).encode(), now_us)
        again = line.first_us is not None and base_us + line.first_us >= self._begin_us
        told.repeated += again
        if line.counted is not None and not again:
            kind, name = line.counted
            told.ids[kind] = told.ids.get(kind, 0) + 1
            told.sums[kind] = told.sums.get(kind, 0) + crc32((name + tag).encode())
        if told.sent % _INJECT_EVERY == 0:
            self._inject(now_us)

    def _inject(self, now_us: int) -> None:
        """A message that can't be used, for each of the reasons in turn."""
        number = sum(self.told.injected.values())
        reason = list(self.told.injected)[number % 3]
        head = {"type": "price.changed", "event_id": f"{MARK}-{number}", "source": "soak", "system": "erp"}
        whole = json.dumps(
            {**head, "occurred_at": rfc3339(now_us + 2 * HOUR_US), "sku": "s", "price": "1.00", "currency": "EUR"}
        )
        text = {"transport": whole[:-9], "schema": whole.replace('"1.00"', "1"), "rule": whole}[reason]
        self.told.injected[reason] += 1
        topics = self._feed.topics
        self._produce(topics[number % len(topics)], number % self._feed.partitions, text.encode(), now_us)

    def _produce(self, topic: str, partition: int, value: bytes, now_us: int) -> None:
        while True:
            try:
                self._producer.produce(
                    topic, value, partition=partition, timestamp=now_us // 1_000, on_delivery=self._delivered
                )
                break
            except BufferError:  # the broker has been away for long: what happens meanwhile is sent later
                self._producer.poll(0.1)
        self.told.sent += 1

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        del message
        if error is None:
            self.told.acked += 1
        else:
            self.told.failed += 1
            self.told.error = str(error)


def main() -> None:
    """Play until SIGTERM."""
    player = Player(msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Feed))

    def stop(*_: object) -> None:
        player.stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    player.play()


if __name__ == "__main__":
    main()
