"""What the sweep over keys feeds: one operator, all groups of a key space, or all that a message goes through.

Each is given chunks of messages, made ready (outside of the timer) into what it takes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Protocol, TypeVar

import msgspec
from inputs import W1_MAP

from dataflows.job import pipeline_settings
from dataflows.process_maps import load_process_map
from dataflows.settings import Settings
from operators.dedup import Dedup
from operators.group_state import SitePiece
from operators.groups import make_group
from operators.handoffs import HandoffTracker
from operators.lane_state import Merged, Reads
from operators.lanes import LaneMerge
from operators.partitions import PartitionQueue
from operators.pipeline import CASE, ITEM, SITE, PipelineSettings, group_names
from operators.process_lint import read_process_map
from operators.routing import Router
from operators.stock import StockReconciler
from schemas.decode import EventDecoder
from schemas.durations import DAY_US, MINUTE_US, Duration
from schemas.events import Arrived, Event

CHUNK = 5_000
_LANE = "lane-0000"
OPERATORS = {
    "stock": "StockReconciler, per item",
    "handoffs": "HandoffTracker, per open case",
    "orders": "HandoffTracker, default process map, per order that has gone its way and rests",
    "dedup": "Dedup, per id",
    "items": "item groups all in, per item with its three events' ids",
    "cases": "case groups all in, per open case with its event's id",
    "whole": "messages to rows, as many items as open cases, per one of these",
}
T = TypeVar("T")


class Fed(Protocol[T]):
    """An operator, or more, as the sweep feeds it; a chunk is a `T`."""

    def ready(self, messages: list[bytes]) -> T:
        """A chunk of messages as it is taken; not in the time."""

    def update(self, chunk: T) -> int:
        """Take a chunk, time coming to its last event; how many rows and changes that gave."""

    def pass_time(self, to_us: int) -> None:
        """Let time pass without an event."""

    def known(self) -> int:
        """How many keys it holds."""

    def snapshot(self) -> bytes:
        """Its state, as it is kept."""

    @property
    def untimed_s(self) -> float:
        """Seconds of all updates that don't count."""


class _Events:
    """Decoded, at the place in the log that their own time gives them."""

    untimed_s = 0.0

    def __init__(self) -> None:
        self._offset = 0
        self._decode = msgspec.json.Decoder(Event).decode

    def ready(self, messages: list[bytes]) -> list[Arrived]:
        events = [self._decode(text) for text in messages]
        chunk = []
        for event in events:
            at = round(event.occurred_at.timestamp() * 1e6)
            chunk.append(Arrived(at, "log", 0, self._offset, at, event))
            self._offset += 1
        return chunk


class _Operator(_Events):
    """One instance for all keys."""

    def __init__(self, operator: StockReconciler | HandoffTracker) -> None:
        super().__init__()
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


class _Orders(_Operator):
    """Cases that rest soon: only those of the last one or two chunks are objects, as of the last half hour in a job."""

    def __init__(self, tracker: HandoffTracker) -> None:
        super().__init__(tracker)
        self._tracker = tracker

    def update(self, events: Sequence[Arrived]) -> int:
        out = super().update(events)
        began = time.process_time()
        self._tracker.rest()
        self.untimed_s += time.process_time() - began
        return out

    def pass_time(self, to_us: int) -> None:
        super().pass_time(to_us)
        for _ in range(2):
            self._tracker.rest()


class _Dedup(_Events):
    def __init__(self, dedup: Dedup) -> None:
        super().__init__()
        self._dedup = dedup

    def update(self, events: Sequence[Arrived]) -> int:
        return len(self._dedup.split(events)[1])

    def pass_time(self, to_us: int) -> None:
        """Time comes with events."""

    def known(self) -> int:
        return len(self._dedup)

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self._dedup.snapshot())


class _Groups(_Events):
    """All key groups of a space, with order, dedup and whatever else they hold; routing is not in the time."""

    def __init__(self, space: str, count: int, what: tuple[str, str], settings: PipelineSettings) -> None:
        super().__init__()
        self._groups = {name: make_group(name, settings) for name in group_names(space, count)}
        self._router, self._what = Router(settings), what

    def update(self, events: Sequence[Arrived]) -> int:
        began = time.process_time()
        now = events[-1].arrival_us
        pieces = self._router.slices(_LANE, Merged(list(events), [], [], now, now, final=False))
        self.untimed_s += time.process_time() - began
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


class _Whole:
    """Bytes to rows: decoding, stamping, routing, all groups; without the engine, and nothing is written."""

    untimed_s = 0.0

    def __init__(self, settings: PipelineSettings) -> None:
        rules = msgspec.structs.replace(Settings().time.rules(), guard_leaps=False)  # as of a live log
        self._queue = PartitionQueue("log", 0, rules)
        self._lane, self._decoder, self._router = LaneMerge([self._queue]), EventDecoder(), Router(settings)
        names = [*self._router.names, *group_names(SITE, settings.site_groups)]
        self._groups = {name: make_group(name, settings) for name in names}
        self._offset = 0

    def ready(self, messages: list[bytes]) -> list[bytes]:
        return messages

    def update(self, messages: list[bytes]) -> int:
        offsets = list(range(self._offset, self._offset + len(messages)))
        self._offset += len(messages)
        self._queue.add(Reads(offsets, offsets, messages, self._decoder.decode(messages)), ended=False)
        merged = self._lane.release()
        return 0 if merged is None else self._released(merged)

    def _released(self, merged: Merged) -> int:
        rows, sites = len(merged.dead) + len(merged.health), dict[str, list[SitePiece]]()
        for name, piece in self._router.slices(_LANE, merged):
            emitted = self._groups[name].on_batch([piece])  # type: ignore[list-item] # a slice is what these groups take
            rows += len(emitted.rows)
            for site, part in emitted.pieces:
                sites.setdefault(site, []).append(part)
        return rows + sum(
            len(self._groups[site].on_batch(parts).rows)  # type: ignore[arg-type] # pieces for sites, as above
            for site, parts in sites.items()
        )

    def pass_time(self, to_us: int) -> None:
        self._queue.raise_to(to_us)
        merged = self._lane.release(to_us)
        if merged is not None:
            self._released(merged)

    def known(self) -> int:
        sizes = [group.sizes() for group in self._groups.values()]
        return sum(one.get(("stock", "items"), 0) + one.get(("handoffs", "cases"), 0) for one in sizes)

    def snapshot(self) -> bytes:
        return b"".join(group.snapshot() for group in self._groups.values())


def sweep_settings(keys: int) -> PipelineSettings:
    """Default settings but for windows of a minute, and dedup that forgets nothing of so many keys."""
    declared = read_process_map(W1_MAP, "w1.toml")
    if declared.value is None:
        raise ValueError(declared.problems)
    # No deadline comes up within the run. No case is forgotten in it, nor asked whether it is over.
    far = [msgspec.structs.replace(handoff, deadline=Duration(DAY_US)) for handoff in declared.value.handoff]
    process = msgspec.structs.replace(declared.value, handoff=far)
    settings = Settings()
    engine = msgspec.structs.replace(settings.engine, dedup_max_ids=max(1_000_000, 4 * keys))
    stock = msgspec.structs.replace(settings.stock, window=Duration(MINUTE_US))
    return pipeline_settings(msgspec.structs.replace(settings, engine=engine, stock=stock), process)


def fed(operator: str, keys: int) -> Fed:
    """One of `OPERATORS`, empty."""
    pipeline = sweep_settings(keys)
    alone = msgspec.structs.replace(
        pipeline,
        detectors=msgspec.structs.replace(pipeline.detectors, enabled=False),
        models=msgspec.structs.replace(pipeline.models, enabled=False),
    )
    made: dict[str, Callable[[], Fed]] = {
        "stock": lambda: _Operator(StockReconciler(pipeline.stock, pipeline.stock_windows)),
        "handoffs": lambda: _Operator(HandoffTracker(pipeline.process)),
        "orders": lambda: _Orders(HandoffTracker(load_process_map("default"))),
        "dedup": lambda: _Dedup(Dedup(DAY_US, pipeline.dedup_max_ids)),
        "items": lambda: _Groups(ITEM, pipeline.item_groups, ("stock", "items"), pipeline),
        "cases": lambda: _Groups(CASE, pipeline.case_groups, ("handoffs", "cases"), pipeline),
        "whole": lambda: _Whole(alone),
    }
    return made[operator]()


def texts(messages: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Messages by the chunk."""
    for first in messages:
        yield list(chain((first,), islice(messages, CHUNK - 1)))


def chunks(messages: Iterator[bytes]) -> Iterator[list[Arrived]]:
    """Messages by the chunk, decoded."""
    events = _Events()
    for some in texts(messages):
        yield events.ready(some)
