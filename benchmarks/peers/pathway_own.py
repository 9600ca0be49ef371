"""Pathway with its own operators, in its bounded mode (`mode="static"`): it may take in all of the input at once.

Output A: the last level of each system in each minute of each item by `groupby` and `max` over (time, quantity); what
is known is carried forward over the item's minutes in order (`sorted_tuple`, a function, `flatten`). Output B:
reservations and picks each made one by `groupby(order_id)`, joined, then minutes by node.
One worker. Rows go to CSV files.
"""

import csv
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pathway as pw
from entry import MINUTE_S, SECOND_US, SYSTEMS, Entry, entry, p95, spread

_MINUTE_US = MINUTE_S * SECOND_US


class Message(pw.Schema):  # type: ignore[misc] # ships no usable types
    """What is read of a message."""

    type: str
    system: str
    occurred_at: str
    sku: str
    node: str
    on_hand: float | None = pw.column_definition(default_value=None)
    order_id: str | None = pw.column_definition(default_value=None)


def micros(text: str) -> int:
    """RFC 3339 as microseconds."""
    return round(datetime.fromisoformat(text).timestamp() * SECOND_US)


def carry(minutes: Sequence[tuple[int, str, tuple[int, float]]]) -> list[str]:
    """One item's rows, from the last (time, quantity) of each minute and system, by minute."""
    known: dict[str, float] = {}
    rows: dict[int, str] = {}
    for minute, system, (_, quantity) in minutes:
        known[system] = quantity
        quantities = [str(known.get(one, "")) for one in SYSTEMS]
        rows[minute] = ",".join([str(minute * MINUTE_S), *quantities, str(spread(known.values()))])
    return list(rows.values())


def rank(latencies: Sequence[int]) -> int:
    """The p95 of sorted latencies."""
    return p95(latencies)


def stock(events: Any) -> Any:  # noqa: ANN401 - a table; the library ships no usable types
    """Output A."""
    this = pw.this
    levels = events.filter(this.type == "inventory.level").select(
        this.sku, this.node, this.system, minute=this.at // _MINUTE_US, last=pw.make_tuple(this.at, this.on_hand)
    )
    lasts = levels.groupby(this.sku, this.node, this.system, this.minute).reduce(
        this.sku, this.node, one=pw.make_tuple(this.minute, this.system, pw.reducers.max(this.last))
    )
    items = lasts.groupby(this.sku, this.node).reduce(this.sku, this.node, minutes=pw.reducers.sorted_tuple(this.one))
    return items.select(this.sku, this.node, row=pw.apply_with_type(carry, list[str], this.minutes)).flatten(this.row)


def latency(events: Any) -> Any:  # noqa: ANN401 - as above
    """Output B."""
    this = pw.this
    reserved = events.filter(this.type == "reservation.created")
    reserved = reserved.groupby(this.order_id).reduce(this.order_id, at=pw.reducers.min(this.at))
    picked = events.filter(this.type == "task.completed")
    picked = picked.groupby(this.order_id, this.node).reduce(this.order_id, this.node, at=pw.reducers.min(this.at))
    joined = picked.join(reserved, pw.left.order_id == pw.right.order_id).select(
        pw.left.node, minute=pw.left.at // _MINUTE_US, latency_us=pw.left.at - pw.right.at
    )
    windows = joined.groupby(this.node, this.minute).reduce(
        this.node, this.minute, picks=pw.reducers.count(), ordered=pw.reducers.sorted_tuple(this.latency_us)
    )
    return windows.select(
        this.node, minute_s=this.minute * MINUTE_S, picks=this.picks, p95_us=pw.apply_with_type(rank, int, this.ordered)
    )


def main(run: Entry, folder: Path) -> None:
    """Run it to its end, and spell the rows as they are compared."""
    messages = pw.io.jsonlines.read(str(run.arrival), schema=Message, mode="static")
    events = messages.select(
        pw.this.type,
        pw.this.system,
        pw.this.sku,
        pw.this.node,
        pw.this.on_hand,
        pw.this.order_id,
        at=pw.apply_with_type(micros, int, pw.this.occurred_at),
    )
    pw.io.csv.write(stock(events), str(folder / "a.csv"))
    pw.io.csv.write(latency(events), str(folder / "b.csv"))
    with run.timed():
        pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    run.write("a", ((row["sku"], row["node"], *row["row"].split(",")) for row in _read(folder / "a.csv")))
    run.write("b", ([row[name] for name in ("node", "minute_s", "picks", "p95_us")] for row in _read(folder / "b.csv")))


def _read(path: Path) -> Iterator[dict[str, str]]:
    """Rows that were given out and not taken back."""
    with path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["diff"] != "1":
                raise ValueError(f"{path.name} takes rows back")  # a bounded run has no reason to
            yield row


if __name__ == "__main__":
    this_run = entry()
    with tempfile.TemporaryDirectory() as made:
        main(this_run, Path(made))
    this_run.done()
