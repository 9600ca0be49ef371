"""The answer worked out plainly: all events in memory, copies dropped, sorted by event time, one thing after another.

It shares nothing with Andon and none of the contestants, and is in no hurry.
`python oracle.py --inputs W1 --out FOLDER`.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from entry import SYSTEMS, entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MINUTE_US = 60_000_000


def events_of(path: Path) -> list[dict[str, Any]]:
    """Every event once, by event time; of one instant, by id."""
    by_id: dict[tuple[str, str], dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        event["at"] = (datetime.fromisoformat(event["occurred_at"]) - _EPOCH) // _MICROSECOND
        by_id[event["source"], event["event_id"]] = event
    return sorted(by_id.values(), key=lambda event: (event["at"], event["event_id"]))


def stock_rows(events: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    """Output A."""
    levels_of_item = defaultdict(list)
    for event in events:
        if event["type"] == "inventory.level":
            levels_of_item[event["sku"], event["node"]].append(event)
    for (sku, node), levels in levels_of_item.items():
        known: dict[str, float] = {}
        in_minute: dict[int, dict[str, float]] = {}
        for level in levels:
            known[level["system"]] = level["on_hand"]
            in_minute[level["at"] // _MINUTE_US] = dict(known)
        for minute, quantities in in_minute.items():
            delta = max(quantities.values()) - min(quantities.values())
            yield sku, node, minute * 60, *(quantities.get(system, "") for system in SYSTEMS), delta


def latency_rows(events: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    """Output B."""
    reserved = {event["order_id"]: event["at"] for event in events if event["type"] == "reservation.created"}
    latencies_of_window = defaultdict(list)
    for event in events:
        if event["type"] == "task.completed" and event["task_type"] == "pick" and event["order_id"] in reserved:
            latency_us = event["at"] - reserved[event["order_id"]]
            latencies_of_window[event["node"], event["at"] // _MINUTE_US].append(latency_us)
    for (node, minute), latencies in latencies_of_window.items():
        rank = math.ceil(len(latencies) * 95 / 100)
        yield node, minute * 60, len(latencies), sorted(latencies)[rank - 1]


if __name__ == "__main__":
    run = entry()
    with run.timed():
        everything = events_of(run.arrival)
        run.write("a", stock_rows(everything))
        run.write("b", latency_rows(everything))
    run.done()
