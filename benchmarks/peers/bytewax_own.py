"""Bytewax 0.21.1 with its own operators, as its documentation would do it, on one worker.

Output A: `fold_window` over tumbling minutes keyed by item, then `stateful_flat_map` to carry quantities forward.
Output B: `join` by order, then `fold_window` keyed by node. Event time with a wait of 10 minutes: its watermarks go on
with the clock of the wall, so that with a short wait a busy machine would lose levels; and `join` gives out what a
batch completes in order of key, not of arrival, so that the window of a node would drop most picks. Copies: a level
twice changes nothing; a window of picks is a dictionary by order. Snapshots are off. Rows go to files.
"""

import csv
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import bytewax.operators as op
import bytewax.operators.windowing as win
import orjson
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from entry import LONGEST_S, MINUTE_S, SYSTEMS, entry, p95, spread

Levels: TypeAlias = dict[str, tuple[datetime, float]]
_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class CsvSink(DynamicSink[tuple[object, ...]]):
    """Rows into one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "CsvPartition":
        """One worker, one file."""
        del step_id, worker_index, worker_count
        return CsvPartition(self._path)


class CsvPartition(StatelessSinkPartition[tuple[object, ...]]):
    """The file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)

    def write_batch(self, items: list[tuple[object, ...]]) -> None:
        """Write rows."""
        self._writer.writerows(items)

    def close(self) -> None:
        """Have them all in the file."""
        self._file.close()


def decoded(line: str) -> dict[str, Any]:
    """A message with its time."""
    event: dict[str, Any] = orjson.loads(line)
    event["at"] = datetime.fromisoformat(event["occurred_at"])
    return event


def event_time(event: dict[str, Any]) -> datetime:
    """When it happened."""
    at: datetime = event["at"]
    return at


def take_level(levels: Levels, event: dict[str, Any]) -> Levels:
    """The last level of each system in a window."""
    system, at = event["system"], event["at"]
    if system not in levels or levels[system][0] <= at:
        levels[system] = (at, event["on_hand"])
    return levels


def merge_levels(one: Levels, other: Levels) -> Levels:
    """Of two parts of a window the later of each."""
    return {system: max(mine for mine in (one.get(system), other.get(system)) if mine) for system in {*one, *other}}


def carry(known: dict[str, float] | None, window: tuple[int, Levels]) -> tuple[dict[str, float], Iterable[Any]]:
    """A window's row, with what was known before it."""
    known = known or {}
    known.update({system: quantity for system, (_, quantity) in window[1].items()})
    return known, [(window[0], *map(known.get, SYSTEMS), spread(known.values()))]


def stock_row(keyed: tuple[str, tuple[Any, ...]]) -> tuple[object, ...]:
    """As it is compared."""
    sku, _, node = keyed[0].partition("|")
    return (sku, node, *("" if one is None else one for one in keyed[1]))


def latency(joined: tuple[str, tuple[dict[str, Any], dict[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """An order's latency, by the node that picked."""
    order, (reserved, picked) = joined
    taken_us = (picked["at"] - reserved["at"]) // _MICROSECOND
    return picked["node"], {"order": order, "at": picked["at"], "latency_us": taken_us}


def take_latency(latencies: dict[str, int], event: dict[str, Any]) -> dict[str, int]:
    """The latencies of a window, each order once."""
    latencies[event["order"]] = event["latency_us"]
    return latencies


def latency_row(keyed: tuple[str, tuple[int, dict[str, int]]]) -> tuple[object, ...]:
    """As it is compared."""
    node, (minute, latencies) = keyed
    return node, minute, len(latencies), p95(sorted(latencies.values()))


def flow(source: Path, out: Path) -> Dataflow:
    """Both outputs."""
    flow = Dataflow("w1")
    clock: EventClock[dict[str, Any]] = EventClock(event_time, timedelta(seconds=LONGEST_S))
    windower = TumblingWindower(length=timedelta(seconds=MINUTE_S), align_to=_START)
    events = op.map("decode", op.input("read", flow, FileSource(source)), decoded)

    levels = op.filter("levels", events, lambda event: event["type"] == "inventory.level")
    by_item = op.key_on("by_item", levels, lambda event: f"{event['sku']}|{event['node']}")
    minutes = win.fold_window("minutes", by_item, clock, windower, dict, take_level, merge_levels)
    carried = op.stateful_flat_map("carry", op.map_value("minute", minutes.down, in_seconds), carry)
    op.output("a", op.map("stock_row", carried, stock_row), CsvSink(out / "a.csv"))

    reserved = op.filter("reserved", events, lambda event: event["type"] == "reservation.created")
    picked = op.filter("picked", events, lambda event: event["type"] == "task.completed")
    joined = op.join(
        "join",
        op.key_on("reserved_by_order", reserved, lambda event: event["order_id"]),
        op.key_on("picked_by_order", picked, lambda event: event["order_id"]),
        emit_mode="complete",
    )
    by_node = op.map("latency", joined, latency)
    windows = win.fold_window("latencies", by_node, clock, windower, dict, take_latency, dict.__or__)
    op.output(
        "b",
        op.map("latency_row", op.map_value("b_minute", windows.down, in_seconds), latency_row),
        CsvSink(out / "b.csv"),
    )
    return flow


def in_seconds(window: tuple[int, Any]) -> tuple[int, Any]:
    """A window's start in seconds for its number: windows are aligned to 1970."""
    return window[0] * MINUTE_S, window[1]


if __name__ == "__main__":
    run = entry()
    built = flow(run.arrival, run.out)
    with run.timed():
        run_main(built)  # type: ignore[no-untyped-call] # the engine's run functions have no types
    run.done()
