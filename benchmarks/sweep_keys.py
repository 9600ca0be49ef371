"""What an event costs, and a key holds, where so many keys are known: one of sweep_fed.py, in a process of its own.

`python sweep_keys.py OPERATOR KEYS [MINUTES]` prints one line of JSON (`Keys`). First every key is made known: an item
by a level from each of three systems, a case by its reservation, an id by its event. Then 10,000 events a minute come
for ten minutes, on keys drawn at random, in each minute each key at most once, so that it is the same work with any
number of keys: an event of an item changes one window, every second event of a case ends it. `whole` has KEYS items
and as many open cases, and a mix as W1's: of ten events six levels, two reservations, two picks. `orders` have come as
far as their invoice, and rest; what comes then is a repeated approval, which wakes one. But for `whole`, events are
decoded from JSON outside of the timer; so is memory gathered into huge pages, as the job does it in a
thirtieth of its time until all is (2.5 ms for 2 MiB, once).
"""

import ctypes
import gc
import os
import random
import statistics
import sys
import time
from array import array
from collections.abc import Iterator
from itertools import chain, count, islice
from pathlib import Path

import msgspec
from stages import quiet_collector
from sweep_fed import CHUNK, Fed, T, fed, texts

from dataflows.huge_pages import HugePages
from schemas.durations import DAY_US, MINUTE_US, Instant, rfc3339

SEED = 4
MINUTES, A_MINUTE = 10, 10_000
NODES = 200
SYSTEMS = ("wms", "erp", "ecom")
START_US = int(Instant.parse("2026-03-02T06:00:00Z"))
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Keys(msgspec.Struct):
    """One run. Microseconds are the processor's, of an event; `low_us` and `high_us` of the best and worst minute.

    `known` is how many keys were held when memory was looked at, `held` when the snapshot was made, at the end.
    """

    operator: str
    keys: int
    known: int
    held: int
    fill_us: float
    event_us: float
    low_us: float
    high_us: float
    rows_an_event: float
    resident_bytes: float
    snapshot_bytes: float
    snapshot_s: float


def measure(operator: str, keys: int, timed: int = MINUTES) -> Keys:
    """Make the keys known, then time the events; the cyclic collector is set as in the job."""
    is_fed = fed(operator, keys)
    fill, minutes = _messages(operator, keys, random.Random(SEED))
    for some in texts(open_cases(CHUNK)):  # what decoding takes for itself is there before memory is looked at
        fed(operator, keys).ready(some)
    with quiet_collector():
        empty = _resident()
        events, seconds = 0, 0.0
        for some in texts(fill):
            seconds += _timed(is_fed, is_fed.ready(some))[0]
            events += len(some)
        del some
        _gather()
        is_fed.pass_time(START_US + 2 * MINUTE_US)
        resident, known = _resident() - empty, is_fed.known()
        times, rows, steady = [], 0, 0
        for minute in islice(minutes, timed):
            taken = [(len(some), *_timed(is_fed, is_fed.ready(some))) for some in texts(iter(minute))]
            length = sum(one for one, _, _ in taken)
            times.append(sum(spent for _, spent, _ in taken) / length * 1e6)
            rows, steady = rows + sum(out for _, _, out in taken), steady + length
        held = is_fed.known()
        began = time.process_time()
        size = len(is_fed.snapshot())
        snapshot_s = time.process_time() - began
    return Keys(
        operator=operator,
        keys=keys,
        known=known,
        held=held,
        fill_us=seconds / events * 1e6,
        event_us=statistics.median(times),
        low_us=min(times),
        high_us=max(times),
        rows_an_event=rows / steady,
        resident_bytes=resident / known,
        snapshot_bytes=size / held,
        snapshot_s=snapshot_s,
    )


def _gather() -> None:
    """What a job does that has held this state for some minutes."""
    HugePages(lambda: 0.0).gather()  # by a clock that stands still it does all at once


def _timed(is_fed: Fed[T], chunk: T) -> tuple[float, int]:
    began_s, untimed_s = time.process_time(), is_fed.untimed_s
    out = is_fed.update(chunk)
    return time.process_time() - began_s - (is_fed.untimed_s - untimed_s), out


def _resident() -> int:
    """Bytes in memory, what was freed given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


# --- events -----------------------------------------------------------------------------------------------------------


def _messages(operator: str, keys: int, rng: random.Random) -> tuple[Iterator[bytes], Iterator[list[bytes]]]:
    """What makes the keys known, in the first minute, and then every minute's messages."""
    if operator in {"stock", "items"}:
        return all_levels(keys), levels(keys, rng)
    if operator == "dedup":
        known = (
            _level(f"l{number}", number % 1_000, 0, START_US + number * MINUTE_US // keys) for number in range(keys)
        )
        return known, levels(1_000_000, rng)
    if operator == "whole":
        return chain(all_levels(keys), open_cases(keys, START_US + MINUTE_US)), mixed(keys, rng)
    if operator == "orders":
        return all_orders(keys), approvals(keys, rng)
    return open_cases(keys), cases(keys, rng)


def all_levels(keys: int) -> Iterator[bytes]:
    return (
        _level(f"l{number}-{system}", number, system, START_US + (system * keys + number) * MINUTE_US // (3 * keys))
        for system in range(len(SYSTEMS))
        for number in range(keys)
    )


def levels(keys: int, rng: random.Random) -> Iterator[list[bytes]]:
    """Minute after minute, levels of different items."""
    for minute in count():
        begin = START_US + (2 + minute) * MINUTE_US
        yield [
            _level(f"m{minute}-{place}", number, rng.randrange(3), begin + place * MINUTE_US // A_MINUTE)
            for place, number in enumerate(rng.sample(range(keys), A_MINUTE))
        ]


def open_cases(keys: int, begin_us: int = START_US) -> Iterator[bytes]:
    return (_reserved(number, begin_us + number * MINUTE_US // keys) for number in range(keys))


def cases(keys: int, rng: random.Random) -> Iterator[list[bytes]]:
    """Minute after minute, in turn a new case and the end of an open one."""
    ends = _Open(keys, rng)
    for minute in count():
        begin = START_US + (2 + minute) * MINUTE_US
        yield [
            _picked(ends.chosen(), at) if place % 2 else _reserved(ends.begun(), at)
            for place, at in enumerate(range(begin, begin + MINUTE_US, MINUTE_US // A_MINUTE))
        ]


def mixed(keys: int, rng: random.Random) -> Iterator[list[bytes]]:
    """Minute after minute, of ten events six levels and two reservations of different items, and two picks."""
    ends = _Open(keys, rng)
    for minute in count():
        begin, made = START_US + (2 + minute) * MINUTE_US, []
        chosen = iter(rng.sample(range(keys), A_MINUTE * 8 // 10))
        for place in range(A_MINUTE):
            at = begin + place * MINUTE_US // A_MINUTE
            if place % 10 < 6:
                made.append(_level(f"m{minute}-{place}", next(chosen), rng.randrange(3), at))
            elif place % 10 < 8:
                made.append(_reserved(ends.begun(), at, next(chosen)))
            else:
                made.append(_picked(ends.chosen(), at))
        yield made


def all_orders(keys: int) -> Iterator[bytes]:
    """Each order's way, from its begin to its invoice; what goes on is that it is delivered, and paid."""
    for order in range(keys):
        begin = START_US + order * MINUTE_US // keys
        yield from (_of_order(order, step, begin + step, *what) for step, what in enumerate(_way(order, begin)))


def approvals(keys: int, rng: random.Random) -> Iterator[list[bytes]]:
    """Minute after minute, approvals of different orders, all of which were approved before."""
    for minute in count():
        begin = START_US + (2 + minute) * MINUTE_US
        yield [
            _of_order(order, 100 + minute, begin + place * MINUTE_US // A_MINUTE, "order.approved", "oms", "")
            for place, order in enumerate(rng.sample(range(keys), A_MINUTE))
        ]


def _way(order: int, begin_us: int) -> Iterator[tuple[str, str, str]]:
    """Type, system and own fields of what comes for an order, but for its id."""
    node, days = f'"node":"node-{order % NODES:04d}"', [rfc3339(begin_us + days * DAY_US) for days in range(4)]
    lines = [f'{{"line_id":"{line}","sku":"sku-{order % 50_000:07d}","qty":1,"unit_price":"19.90"}}' for line in (1, 2)]
    said = f'"currency":"EUR","total":"39.80","promised_at":"{days[3]}","dispatch_by":"{days[1]}"'
    yield "order.created", "ecom", f'"customer_id":"c{order}",{said},"lines":[{",".join(lines)}]'
    yield "order.approved", "oms", ""
    yield "order.allocated", "oms", node
    for line in (1, 2):
        name, sku = f'"reservation_id":"r{order}-{line}","line_id":"{line}"', f'"sku":"sku-{order % 50_000:07d}"'
        yield "reservation.created", "oms", f'{name},{sku},{node},"qty":1'
    for task in ("pick", "pack"):
        for what in ("queued", "completed"):
            yield f"task.{what}", "wms", f'"task_id":"{task}-{order}","task_type":"{task}",{node}'
    carrier = f'"shipment_id":"s{order}","carrier":"carrier-{order % 5}","expected_at":"{days[2]}"'
    yield "shipment.dispatched", "tms", f"{carrier},{node}"
    for posting in ("goods_issue", "invoice"):
        name = f'"posting_id":"{posting}-{order}","posting_type":"{posting}","reference":"order-{order}"'
        yield "posting.recorded", "erp", f'{name},"amount":"39.80","currency":"EUR"'


def _of_order(order: int, step: int, at: int, kind: str, system: str, own: str) -> bytes:
    mine = f'"order_id":"order-{order}"'
    return _message(kind, f"e{order}-{step}", f"{system}-1", system, at, f"{mine},{own}" if own else mine)


class _Open:
    """Numbers of open cases, of which any may be the next to end."""

    def __init__(self, count: int, rng: random.Random) -> None:
        self._still, self._following, self._rng = array("L", range(count)), count, rng

    def begun(self) -> int:
        """One more."""
        self._still.append(self._following)
        self._following += 1
        return self._still[-1]

    def chosen(self) -> int:
        """One less."""
        at = self._rng.randrange(len(self._still))
        self._still[at], self._still[-1] = self._still[-1], self._still[at]
        return self._still.pop()


def _level(event_id: str, item: int, system: int, at: int) -> bytes:
    name = SYSTEMS[system]
    own = f'"sku":"sku-{item // NODES:07d}","node":"node-{item % NODES:04d}","on_hand":{100 + item % 50}'
    return _message("inventory.level", event_id, f"{name}-1", name, at, own)


def _reserved(order: int, at: int, item: int | None = None) -> bytes:
    own = f'"reservation_id":"r{order}",{_order(order, order if item is None else item)}'
    return _message("reservation.created", f"r{order}", "oms-1", "oms", at, own)


def _picked(order: int, at: int) -> bytes:
    own = f'"task_id":"t{order}","task_type":"pick",{_order(order, order)}'
    return _message("task.completed", f"t{order}", "wms-1", "wms", at, own)


def _order(order: int, item: int) -> str:
    return f'"order_id":"o{order}","sku":"sku-{item // NODES:07d}","node":"node-{item % NODES:04d}","qty":1'


def _message(kind: str, event_id: str, source: str, system: str, at: int, own: str) -> bytes:
    head = f'"type":"{kind}","version":1,"event_id":"{event_id}","source":"{source}","system":"{system}"'
    return f'{{{head},"occurred_at":"{rfc3339(at)}",{own}}}'.encode()


if __name__ == "__main__":
    print(msgspec.json.encode(measure(sys.argv[1], *map(int, sys.argv[2:4]))).decode())
