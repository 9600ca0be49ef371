"""One stage of the flow at a time, in this process: what goes into a stage is made by the stages before it, untimed."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from inputs import Work, raw_messages

from dataflows.files import partitions_of
from dataflows.job import pipeline_settings
from dataflows.lane import FileLane, LaneInput
from operators.dedup import Dedup
from operators.group_state import Piece
from operators.groups import make_group
from operators.handoff_changes import PassChanges, PassRun
from operators.handoff_windows import HandoffWindows
from operators.handoffs import HandoffTracker
from operators.lane_state import Merged
from operators.marks import Marks
from operators.ordering import Reorder
from operators.pipeline import CASE, INCIDENT, INTERFACE, ITEM, SITE, group_names
from operators.routing import Router
from operators.slices import Slice
from operators.stock import StockReconciler
from schemas.decode import EventDecoder
from schemas.events import Arrived, Event

Run = Callable[[], "Sample"]


class Sample(msgspec.Struct, frozen=True):
    """What one repetition took, for how many events; `out` is what came out, `note` what else is to be said.

    `seconds` are the processor's: a stage has one thread and waits for nothing, so what others run does not count.
    """

    events: int
    seconds: float
    out: int
    note: str = ""


class Released(msgspec.Struct, frozen=True):
    """What a key group is given at once, and how far time comes with it; repeats are known by the marks."""

    events: list[Arrived]
    clock_us: int
    marks: Marks | None = None


class Prepared(msgspec.Struct, frozen=True):
    """The input of every stage of one work."""

    work: Work
    raws: list[bytes]
    merged: list[Merged]
    slices: dict[str, list[Slice]]
    ordered: dict[str, list[Released]]
    kept: dict[str, list[Released]]
    changes: list[tuple[list[PassRun], int]]
    trackers: list[HandoffTracker]
    stocks: list[StockReconciler]


def prepare(work: Work) -> Prepared:
    """Run the stages one after the other and keep what passes between them."""
    settings = pipeline_settings(work.settings, work.process)
    raws = raw_messages(work)
    merged = list(_merged(work))
    router = Router(settings)
    names = (*group_names(CASE, settings.case_groups), *group_names(ITEM, settings.item_groups), f"{INTERFACE}:0000")
    slices: dict[str, list[Slice]] = {name: [] for name in names}
    for one in merged:
        for name, piece in router.slices(settings.lanes[0], one):
            slices[name].append(piece)
    ordered = {name: list(_released(settings.lanes, pieces)) for name, pieces in slices.items()}
    kept: dict[str, list[Released]] = {}
    for name, batches in ordered.items():
        dedup = Dedup(settings.dedup_horizon_us, settings.dedup_max_ids)
        kept[name] = [Released(dedup.split(batch.events, batch.marks)[0], batch.clock_us) for batch in batches]
    changes: list[tuple[list[PassRun], int]] = []
    correctable_us = settings.handoff_windows.retention_us
    trackers = {
        name: HandoffTracker(settings.process, changes=PassChanges(correctable_us=correctable_us))
        for name in kept
        if name.startswith(CASE)
    }
    for number in range(max(map(len, kept.values()))):
        runs: list[PassRun] = []
        clock_us = 0
        for name, tracker in trackers.items():
            batch = kept[name][number]
            tracker.update(batch.events)
            tracker.advance(batch.clock_us)
            runs.append(tracker.changes.run())
            clock_us = batch.clock_us
        changes.append((runs, clock_us))
    stocks = []
    for name, batches in kept.items():
        if name.startswith(ITEM):
            stock = StockReconciler(settings.stock, settings.stock_windows)
            for batch in batches:
                stock.update(batch.events)
            stocks.append(stock)
    return Prepared(work, raws, merged, slices, ordered, kept, changes, list(trackers.values()), stocks)


def stages(prepared: Prepared) -> dict[str, Run]:
    """The benchmarks of one work, by the last part of their permanent ids."""
    return {
        "msgspec": lambda: _bare(prepared),
        "decode": lambda: _decode(prepared),
        "lane": lambda: _lane(prepared),
        "route": lambda: _route(prepared),
        "reorder": lambda: _reorder(prepared),
        "dedup": lambda: _dedup(prepared),
        "handoffs": lambda: _handoffs(prepared),
        "handoff_windows": lambda: _handoff_windows(prepared),
        "stock": lambda: _stock(prepared),
        "groups": lambda: _groups(prepared),
        "snapshot_cases": lambda: _snapshot(prepared.trackers, "a case"),
        "snapshot_items": lambda: _snapshot(prepared.stocks, "an item"),
    }


@contextmanager
def quiet_collector() -> Iterator[None]:
    """What is made once is out of the cyclic collector's sight, and its thresholds are those of the job."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _bare(prepared: Prepared) -> Sample:
    """The limit: msgspec into the same types, nothing else, nothing kept."""
    decode = msgspec.json.Decoder(Event).decode
    began = time.process_time()
    for raw in prepared.raws:
        decode(raw)
    return Sample(len(prepared.raws), time.process_time() - began, len(prepared.raws))


def _decode(prepared: Prepared) -> Sample:
    decoder, raws, batch = EventDecoder(), prepared.raws, prepared.work.settings.engine.batch
    out = 0
    began = time.process_time()
    for start in range(0, len(raws), batch):
        out += len(decoder.decode(raws[start : start + batch]))
    return Sample(len(raws), time.process_time() - began, out)


def _lane(prepared: Prepared) -> Sample:
    began = time.process_time()
    out = sum(len(merged.events) + len(merged.dead) for merged in _merged(prepared.work))
    return Sample(prepared.work.messages, time.process_time() - began, out)


def _route(prepared: Prepared) -> Sample:
    router = Router(pipeline_settings(prepared.work.settings, prepared.work.process))
    out = 0
    began = time.process_time()
    for merged in prepared.merged:
        for _, piece in router.slices("lane-0000", merged):
            out += len(piece.events)
    seconds = time.process_time() - began
    return Sample(sum(len(merged.events) for merged in prepared.merged), seconds, out)


def _reorder(prepared: Prepared) -> Sample:
    orders = [(Reorder(["lane-0000"]), slices) for slices in prepared.slices.values()]
    out = 0
    began = time.process_time()
    for order, slices in orders:
        for piece in slices:
            order.push(piece)
            out += len(order.release().events)
    seconds = time.process_time() - began
    return Sample(_held(prepared.ordered), seconds, out)


def _dedup(prepared: Prepared) -> Sample:
    settings = pipeline_settings(prepared.work.settings, prepared.work.process)
    out = 0
    began = time.process_time()
    for batches in prepared.ordered.values():
        dedup = Dedup(settings.dedup_horizon_us, settings.dedup_max_ids)
        for batch in batches:
            kept, dropped = dedup.split(batch.events, batch.marks)
            out += len(kept) + len(dropped)
    return Sample(_held(prepared.ordered), time.process_time() - began, out)


def _handoffs(prepared: Prepared) -> Sample:
    process = prepared.work.process
    chosen = {name: batches for name, batches in prepared.kept.items() if name.startswith(CASE)}
    out = 0
    began = time.process_time()
    for batches in chosen.values():
        tracker = HandoffTracker(process)
        for batch in batches:
            out += len(tracker.update(batch.events)) + len(tracker.advance(batch.clock_us)) + len(tracker.changes.run())
    return Sample(_held(chosen), time.process_time() - began, out)


def _handoff_windows(prepared: Prepared) -> Sample:
    settings = pipeline_settings(prepared.work.settings, prepared.work.process)
    windows = HandoffWindows(settings.process.handoff, settings.handoff_windows)
    out = 0
    began = time.process_time()
    for runs, clock_us in prepared.changes:
        windows.update(runs)
        out += len(windows.advance(clock_us))
    seconds = time.process_time() - began
    return Sample(sum(len(run) for runs, _ in prepared.changes for run in runs), seconds, out)


def _stock(prepared: Prepared) -> Sample:
    settings = pipeline_settings(prepared.work.settings, prepared.work.process)
    chosen = {name: batches for name, batches in prepared.kept.items() if name.startswith(ITEM)}
    out = 0
    began = time.process_time()
    for batches in chosen.values():
        stock = StockReconciler(settings.stock, settings.stock_windows)
        for batch in batches:
            out += len(stock.update(batch.events)) + len(stock.advance(batch.clock_us))
    return Sample(_held(chosen), time.process_time() - began, out)


def _groups(prepared: Prepared) -> Sample:
    """Every group of every space with all that it does (detectors, models, incidents), as the flow feeds them."""
    settings = pipeline_settings(prepared.work.settings, prepared.work.process)
    names = [*prepared.slices, *group_names(SITE, settings.site_groups), *group_names(INCIDENT, 1)]
    groups = {name: make_group(name, settings) for name in names}
    spent: dict[str, float] = dict.fromkeys((CASE, ITEM, INTERFACE, SITE, INCIDENT), 0.0)
    rows = 0
    for slices in zip(*prepared.slices.values(), strict=True):
        waiting: dict[str, list[Piece]] = {name: [] for name in names}
        for name, piece in zip(prepared.slices, slices, strict=True):
            waiting[name].append(piece)
        for name, group in groups.items():  # each space after those that feed it
            began = time.process_time()
            emitted = group.on_batch(waiting[name])  # type: ignore[arg-type] # a space's pieces are its own
            spent[name.partition(":")[0]] += time.process_time() - began
            rows += len(emitted.rows)
            for target, given in (*emitted.pieces, *emitted.incidents):
                waiting[target].append(given)
    shares = ", ".join(f"{space} {seconds:.2f}" for space, seconds in spent.items())
    events = sum(len(merged.events) for merged in prepared.merged)
    return Sample(events, sum(spent.values()), rows, f"{rows:,} rows; s by space: {shares}")


def _snapshot(operators: Sequence[HandoffTracker | StockReconciler], what: str) -> Sample:
    """The state of all key groups after the whole input, to bytes; what is counted is cases, or items."""
    known = max(1, sum(map(len, operators)))
    began = time.process_time()
    size = sum(len(msgspec.msgpack.encode(operator.snapshot())) for operator in operators)
    seconds = time.process_time() - began
    return Sample(
        known, seconds, size, f"{size / known:,.0f} bytes {what}, {size / 1e6:,.1f} MB in {seconds * 1e3:,.0f} ms"
    )


def _merged(work: Work) -> Iterator[Merged]:
    settings = pipeline_settings(work.settings, work.process)
    source = LaneInput(
        partitions=tuple(partitions_of(work.files)), rules=work.settings.time.rules(), batch=work.settings.engine.batch
    )
    lane = FileLane(settings.lanes[0], settings.lanes, source, None, _unheard)
    while not lane.ended:
        merged = lane.next()
        if merged is not None:
            yield merged
    lane.close()


def _released(lanes: Sequence[str], pieces: Sequence[Slice]) -> Iterator[Released]:
    order = Reorder(lanes)
    for piece in pieces:
        order.push(piece)
        released = order.release()
        yield Released(released.events, released.clock_us, released.marks)


def _held(batches: dict[str, list[Released]]) -> int:
    return sum(len(batch.events) for of_group in batches.values() for batch in of_group)


def _unheard(_lane: str, _share: float) -> None:
    return
