"""What an event costs, and a key holds, where so many keys are known: one operator, in a process of its own.

`python sweep_keys.py OPERATOR KEYS [MINUTES]` prints one line of JSON (`Keys`). First every key is made known: an item
by a level from each of three systems, a case by its reservation, an id by its event. Then 10,000 events a minute come
for ten minutes, on keys drawn at random, in each minute each key at most once, so that it is the same work with any
number of keys: an event of an item changes one window, every second event of a case ends it. Events are decoded from
JSON, as in a lane, in chunks, outside of the timer, and so is memory gathered into huge pages, as the job does it in a
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
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, islice
from pathlib import Path
from typing import Protocol

import msgspec
from stages import quiet_collector

from dataflows.huge_pages import HugePages
from dataflows.job import pipeline_settings
from dataflows.settings import Settings
from operators.dedup import Dedup
from operators.groups import make_group
from operators.handoffs import HandoffTracker
from operators.lane_state import Merged
from operators.pipeline import CASE, ITEM, PipelineSettings, group_names
from operators.process_lint import read_process_map
from operators.routing import Router
from operators.stock import StockReconciler
from schemas.durations import DAY_US, MINUTE_US, Duration, Instant, rfc3339
from schemas.events import Arrived, Event

SEED = 4
MINUTES, A_MINUTE = 10, 10_000
CHUNK = 5_000
NODES = 200
SYSTEMS = ("wms", "erp", "ecom")
START_US = int(Instant.parse("2026-03-02T06:00:00Z"))
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LANE = "lane-0000"
#: As W1's, but that no deadline comes up within the run. No case is forgotten in it, nor asked whether it is over.
_MAP = """
name = "sweep"
window = "1m"
[case.order_id]
retention = "20m"
[[handoff]]
name = "reservation_to_pick"
case = "order_id"
start = {type = "reservation.created"}
end = {type = "task.completed", where = {task_type = "pick"}}
scope = "node"
deadline = "1d"
"""


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


class Fed(Protocol):
    """An operator, or all groups of a key space, as the sweep feeds it."""

    def update(self, events: Sequence[Arrived]) -> int:
        """Take a chunk, time coming to its last event; how many rows and changes that gave."""

    def pass_time(self, to_us: int) -> None:
        """Let time pass without an event."""

    def known(self) -> int:
        """How many keys it holds."""

    def snapshot(self) -> bytes:
        """Its state, as it is kept."""


class _Operator:
    """One instance for all keys."""

    def __init__(self, operator: StockReconciler | HandoffTracker) -> None:
        self._operator = operator

    def update(self, events: Sequence[Arrived]) -> int:
        out = len(self._operator.update(events)) + len(self._operator.advance(events[-1].arrival_us))
        return out + len(self._operator.changes.run()) if isinstance(self._operator, HandoffTracker) else out

    def pass_time(self, to_us: int) -> None:
        self._operator.advance(to_us)

    def known(self) -> int:
        return len(self._operator)

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self._operator.snapshot())


class _Dedup:
    def __init__(self, dedup: Dedup) -> None:
        self._dedup = dedup

    def update(self, events: Sequence[Arrived]) -> int:
        return len(self._dedup.split(events)[1])

    def pass_time(self, to_us: int) -> None:
        """Time comes with events."""

    def known(self) -> int:
        return len(self._dedup)

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self._dedup.snapshot())


class _Groups:
    """All key groups of a space, with order, dedup and whatever else they hold; routing is not in the time."""

    def __init__(self, space: str, count: int, what: tuple[str, str], settings: PipelineSettings) -> None:
        self._groups = {name: make_group(name, settings) for name in group_names(space, count)}
        self._router, self._what = Router(settings), what
        self.routing_s = 0.0

    def update(self, events: Sequence[Arrived]) -> int:
        began = time.process_time()
        now = events[-1].arrival_us
        pieces = self._router.slices(_LANE, Merged(list(events), [], [], now, now, final=False))
        self.routing_s += time.process_time() - began
        out = 0
        for name, piece in pieces:
            group = self._groups.get(name)
            if group is not None:
                emitted = group.on_batch([piece])  # type: ignore[list-item] # a slice is what these groups take
                out += len(emitted.rows) + sum(len(run) for _, piece in emitted.pieces for run in piece.changes)
        return out

    def pass_time(self, to_us: int) -> None:
        for name, piece in self._router.slices(_LANE, Merged([], [], [], to_us, to_us - 1, final=False)):
            if name in self._groups:
                self._groups[name].on_batch([piece])  # type: ignore[list-item] # as above

    def known(self) -> int:
        return sum(group.sizes()[self._what] for group in self._groups.values())

    def snapshot(self) -> bytes:
        return b"".join(group.snapshot() for group in self._groups.values())


def sweep_settings(keys: int) -> PipelineSettings:
    """Default settings but for windows of a minute, and dedup that forgets nothing of so many keys."""
    declared = read_process_map(_MAP, "sweep.toml")
    if declared.value is None:
        raise ValueError(declared.problems)
    settings = Settings()
    engine = msgspec.structs.replace(settings.engine, dedup_max_ids=max(1_000_000, 4 * keys))
    stock = msgspec.structs.replace(settings.stock, window=Duration(MINUTE_US))
    return pipeline_settings(msgspec.structs.replace(settings, engine=engine, stock=stock), declared.value)


def _fed(operator: str, keys: int) -> Fed:
    pipeline = sweep_settings(keys)
    made: dict[str, Callable[[], Fed]] = {
        "stock": lambda: _Operator(StockReconciler(pipeline.stock, pipeline.stock_windows)),
        "handoffs": lambda: _Operator(HandoffTracker(pipeline.process)),
        "dedup": lambda: _Dedup(Dedup(DAY_US, pipeline.dedup_max_ids)),
        "items": lambda: _Groups(ITEM, pipeline.item_groups, ("stock", "items"), pipeline),
        "cases": lambda: _Groups(CASE, pipeline.case_groups, ("handoffs", "cases"), pipeline),
    }
    return made[operator]()


OPERATORS = {
    "stock": "StockReconciler, per item",
    "handoffs": "HandoffTracker, per open case",
    "dedup": "Dedup, per id",
    "items": "item groups all in, per item with its three events' ids",
    "cases": "case groups all in, per open case with its event's id",
}


def measure(operator: str, keys: int, timed: int = MINUTES) -> Keys:
    """Make the keys known, then time the events; the cyclic collector is set as in the job."""
    fed = _fed(operator, keys)
    fill, minutes = _messages(operator, keys, random.Random(SEED))
    for chunk in chunks(open_cases(CHUNK)):  # what decoding takes for itself is there before memory is looked at
        del chunk
    with quiet_collector():
        empty = _resident()
        events, seconds = 0, 0.0
        for chunk in chunks(fill):
            seconds += _timed(fed, chunk)[0]
            events += len(chunk)
        del chunk
        _gather()
        fed.pass_time(START_US + 2 * MINUTE_US)
        resident, known = _resident() - empty, fed.known()
        times, rows, steady = [], 0, 0
        for minute in islice(minutes, timed):
            taken = [(len(chunk), *_timed(fed, chunk)) for chunk in chunks(iter(minute))]
            length = sum(one for one, _, _ in taken)
            times.append(sum(spent for _, spent, _ in taken) / length * 1e6)
            rows, steady = rows + sum(out for _, _, out in taken), steady + length
        held = fed.known()
        began = time.process_time()
        size = len(fed.snapshot())
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


def _timed(fed: Fed, chunk: Sequence[Arrived]) -> tuple[float, int]:
    routing = getattr(fed, "routing_s", 0.0)
    began = time.process_time()
    out = fed.update(chunk)
    return time.process_time() - began - (getattr(fed, "routing_s", 0.0) - routing), out


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


def open_cases(keys: int) -> Iterator[bytes]:
    return (_reserved(number, START_US + number * MINUTE_US // keys) for number in range(keys))


def cases(keys: int, rng: random.Random) -> Iterator[list[bytes]]:
    """Minute after minute, in turn a new case and the end of an open one."""
    still, following = array("L", range(keys)), keys
    for minute in count():
        begin, made = START_US + (2 + minute) * MINUTE_US, []
        for place in range(A_MINUTE):
            at = begin + place * MINUTE_US // A_MINUTE
            if place % 2:
                chosen = rng.randrange(len(still))
                still[chosen], still[-1] = still[-1], still[chosen]
                made.append(_picked(still.pop(), at))
            else:
                still.append(following)
                made.append(_reserved(following, at))
                following += 1
        yield made


def _level(event_id: str, item: int, system: int, at: int) -> bytes:
    name = SYSTEMS[system]
    own = f'"sku":"sku-{item // NODES:07d}","node":"node-{item % NODES:04d}","on_hand":{100 + item % 50}'
    return _message("inventory.level", event_id, f"{name}-1", name, at, own)


def _reserved(order: int, at: int) -> bytes:
    own = f'"reservation_id":"r{order}",{_order(order)}'
    return _message("reservation.created", f"r{order}", "oms-1", "oms", at, own)


def _picked(order: int, at: int) -> bytes:
    own = f'"task_id":"t{order}","task_type":"pick",{_order(order)}'
    return _message("task.completed", f"t{order}", "wms-1", "wms", at, own)


def _order(order: int) -> str:
    return f'"order_id":"o{order}","sku":"sku-{order % 7919:07d}","node":"node-{order % NODES:04d}","qty":1'


def _message(kind: str, event_id: str, source: str, system: str, at: int, own: str) -> bytes:
    head = f'"type":"{kind}","version":1,"event_id":"{event_id}","source":"{source}","system":"{system}"'
    return f'{{{head},"occurred_at":"{rfc3339(at)}",{own}}}'.encode()


def chunks(messages: Iterator[bytes]) -> Iterator[list[Arrived]]:
    """Decoded, at the place in the log that their own time gives them."""
    decode = msgspec.json.Decoder(Event).decode
    offset = 0
    for first in messages:
        events = [decode(text) for text in chain((first,), islice(messages, CHUNK - 1))]
        chunk = []
        for event in events:
            at = round(event.occurred_at.timestamp() * 1e6)
            chunk.append(Arrived(at, "log", 0, offset, at, event))
            offset += 1
        yield chunk


if __name__ == "__main__":
    print(msgspec.json.encode(measure(sys.argv[1], *map(int, sys.argv[2:4]))).decode())
