"""Quix Streams with its own windows, join and state, over the broker.

Output A: a tumbling minute keyed by item (`reduce`, then `final` with the partition's time), then a stateful `apply`
to carry quantities forward. Output B: an interval join by order, `group_by` node, a tumbling minute that collects.
The join is made by time of arrival, and its outcome put back to event time: by event time `join_interval` does not
find a pick that came before its reservation. Copies: a level twice changes nothing; picks are counted by order.
No changelog topics, so nothing to recover from: that spares it most of its writing. Rows go to files. The time
begins with the first message: the broker of the tests takes half a minute to let a consumer into its group.
"""

import csv
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from entry import COPIES_S, DISORDER_S, LONGEST_S, MINUTE_S, SECOND_US, SYSTEMS, Entry, entry, p95, spread
from quixstreams import Application, State
from quixstreams.dataframe import StreamingDataFrame
from quixstreams.dataframe.windows import Collect

_MS = 1_000


class CsvFile:
    """Rows into one file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)

    def write(self, row: list[object]) -> None:
        """Write one."""
        self._writer.writerow(row)

    def close(self) -> None:
        """Have them all in the file."""
        self._file.close()


def micros(text: str) -> int:
    """RFC 3339 as microseconds."""
    return round(datetime.fromisoformat(text).timestamp() * SECOND_US)


def event_time(value: Any, _headers: object, _timestamp: float, _kind: object) -> int:  # noqa: ANN401 - any JSON
    """When it happened, in milliseconds."""
    return micros(value["occurred_at"]) // _MS


def first_level(event: dict[str, Any]) -> dict[str, Any]:
    """A window's beginning."""
    return last_level({}, event)


def last_level(levels: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """The last level of each system in a window."""
    if "system" not in event or "on_hand" not in event:
        return levels
    system, at = event["system"], micros(event["occurred_at"])
    if system not in levels or levels[system][0] <= at:
        levels[system] = [at, event["on_hand"]]
    return levels


def carry(window: dict[str, Any], key: str, _timestamp: int, _headers: object, state: State) -> list[object]:
    """A window's row, with what was known before it."""
    known: dict[str, float] = state.get("known", {})
    known |= {system: quantity for system, (_, quantity) in window["value"].items()}
    state.set("known", known)
    sku, _, node = key.partition("|")
    return [sku, node, window["start"] // _MS, *(known.get(system, "") for system in SYSTEMS), spread(known.values())]


def matched(picked: dict[str, Any] | None, reserved: dict[str, Any] | None) -> dict[str, Any]:
    """An order's latency at the node that picked it; a pick without a reservation so far has none."""
    if picked is None:
        return {"node": "", "at": 0}
    at = micros(picked["occurred_at"])
    joined = {"node": picked["node"], "order": picked["order_id"], "at": at}
    return joined | ({} if reserved is None else {"latency_us": at - micros(reserved["occurred_at"])})


def latency_row(window: dict[str, Any], key: str, *_: object) -> list[object]:
    """As it is compared."""
    latencies = {one["order"]: one["latency_us"] for one in window["value"] if "latency_us" in one}
    ordered = sorted(latencies.values())
    return [key, window["start"] // _MS, len(ordered), p95(ordered)]


def stock(app: Application, topic: str, write: Callable[[list[object]], None]) -> None:
    """Output A."""
    levels = app.dataframe(app.topic(topic, key_deserializer="str", timestamp_extractor=event_time))
    minutes = levels.tumbling_window(timedelta(seconds=MINUTE_S), grace_ms=timedelta(seconds=COPIES_S))
    windows = minutes.reduce(last_level, first_level).final(closing_strategy="partition")
    windows = windows.filter(lambda window: bool(window["value"]))
    windows.apply(carry, stateful=True, metadata=True).update(write)


def latency(app: Application, topics: tuple[str, str], write: Callable[[list[object]], None]) -> None:
    """Output B."""
    reserved, picked = (app.dataframe(app.topic(topic, key_deserializer="str")) for topic in topics)
    joined: StreamingDataFrame = picked.join_interval(
        reserved,
        how="left",
        on_merge=matched,
        grace_ms=timedelta(seconds=LONGEST_S + 2 * COPIES_S),
        backward_ms=timedelta(seconds=LONGEST_S + COPIES_S),
        forward_ms=timedelta(seconds=DISORDER_S),
    )
    joined = joined.filter(lambda one: "latency_us" in one or one["node"] == "end")
    joined = joined.set_timestamp(lambda one, *_: one["at"] // _MS)
    minutes = joined.group_by("node").tumbling_window(
        timedelta(seconds=MINUTE_S), grace_ms=timedelta(seconds=2 * COPIES_S)
    )
    windows = minutes.agg(value=Collect()).final(closing_strategy="partition")
    windows = windows.filter(lambda window: any("latency_us" in one for one in window["value"]))
    windows.apply(latency_row, metadata=True).update(write)


def main(run: Entry, folder: str) -> None:
    """Consume everything, and stop."""
    left = run.messages + len(run.topics)
    began, first_s, first_cpu_s = time.perf_counter(), 0.0, 0.0

    def processed(_topic: str, _partition: int, _offset: int) -> None:
        nonlocal left, first_s, first_cpu_s
        left -= 1
        if not first_s:
            first_s, first_cpu_s = time.perf_counter(), time.process_time()
        if left == 0:
            app.stop()

    files = [CsvFile(run.out / f"{output}.csv") for output in ("a", "b")]
    app = Application(
        broker_address=run.bootstrap,
        consumer_group=f"quix-{time.time_ns()}",
        auto_offset_reset="earliest",
        consumer_extra_config={"fetch.queue.backoff.ms": 10},  # its default of a second costs much over a fast broker
        state_dir=folder,
        use_changelog_topics=False,
        on_message_processed=processed,
        loglevel=logging.ERROR,
    )
    stock(app, run.topics[0], files[0].write)
    latency(app, (run.topics[1], run.topics[2]), files[1].write)
    app.run()
    for file in files:
        file.close()
    run.seconds, run.cpu_s = time.perf_counter() - first_s, time.process_time() - first_cpu_s
    run.notes.append(f"{first_s - began:.0f} s to the first message not counted")
    if left:
        sys.exit(f"{left} messages were not processed")


if __name__ == "__main__":
    this = entry()
    with tempfile.TemporaryDirectory() as made:
        main(this, made)
    this.done()
