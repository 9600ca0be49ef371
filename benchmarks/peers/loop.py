"""A loop without an engine, as one would write it by hand for just this work, in one pass over the merged file.

It knows that nothing comes more than 5 s out of order (copies later, but they change nothing): a minute is finished
once an event has come that is 5 s past its end. Nothing survives a crash, nothing is corrected later, and bad input
stops it.

Variants: `ids` drops copies by remembering the id of every event; `orders` remembers only orders (a copy of a level
changes nothing, one of a reservation or a pick finds its order done). `-rows` behind it: rows are made, not stored.
"""

import gc
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
import orjson
from entry import DISORDER_S, MINUTE_S, SECOND_US, SYSTEMS, Entry, entry, p95

_BLOCK_ROWS = 50_000
_MINUTE_US = MINUTE_S * SECOND_US
_TABLES = {
    "stock": (
        (
            "sku String, node LowCardinality(String), window_start DateTime('UTC'), ecom Nullable(Float64),"
            " erp Nullable(Float64), wms Nullable(Float64), delta Float64"
        ),
        "(sku, node, window_start)",
    ),
    "latency": (
        "node LowCardinality(String), window_start DateTime('UTC'), completed UInt32, p95_s Float64",
        "(node, window_start)",
    ),
}


class Rows:
    """Rows of one table, by columns; blocks go to the store, if there is one."""

    def __init__(self, client: Any, table: str, width: int) -> None:  # noqa: ANN401 - the driver's own type
        self._client, self._table, self._width = client, table, width
        self._rows: list[tuple[Any, ...]] = []
        self.kept: list[tuple[Any, ...]] = []

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Take rows; a full block goes out."""
        self._rows += rows
        if len(self._rows) >= _BLOCK_ROWS:
            self.flush()

    def flush(self) -> None:
        """Have everything in the store."""
        if self._client is None:
            self.kept += self._rows
        elif self._rows:
            self._client.insert(self._table, list(zip(*self._rows, strict=True)), column_oriented=True)
        self._rows = []


class Loop:
    """What is remembered between events."""

    def __init__(self, stock: Rows, latency: Rows) -> None:
        self._stock, self._latency = stock, latency
        self._known: dict[tuple[str, str], list[float | None]] = {}
        self._levels: dict[int, dict[tuple[str, str], list[tuple[int, float] | None]]] = defaultdict(dict)
        self._picks: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._over = 0

    def run(self, path: Path, *, ids: bool) -> None:  # noqa: C901, PLR0912 - one loop, as a hand-written one is
        """Read everything."""
        seen: set[tuple[str, str]] = set()
        orders: dict[str, int | tuple[int, str] | None] = {}
        place = {system: number for number, system in enumerate(SYSTEMS)}
        levels, picks, loads, fromisoformat = self._levels, self._picks, orjson.loads, datetime.fromisoformat
        closes_us = 0
        with path.open("rb") as lines:
            for line in lines:
                event = loads(line)
                if ids:
                    name = (event["source"], event["event_id"])
                    if name in seen:
                        continue
                    seen.add(name)
                kind = event["type"]
                at = round(fromisoformat(event["occurred_at"]).timestamp() * SECOND_US)
                if at >= closes_us:
                    closes_us = self._close(at)
                if kind == "inventory.level":
                    minute, item, number = at // _MINUTE_US, (event["sku"], event["node"]), place[event["system"]]
                    if minute < self._over:
                        continue  # a copy of what is written long since
                    touched = levels[minute].get(item)
                    if touched is None:
                        touched = levels[minute][item] = [None, None, None]
                    last = touched[number]
                    if last is None or last[0] <= at:
                        touched[number] = (at, event["on_hand"])
                elif kind == "reservation.created":
                    order = event["order_id"]
                    held = orders.get(order, 0)
                    if held == 0:
                        orders[order] = at
                    elif isinstance(held, tuple):  # the pick was here first
                        picks[held[0] // _MINUTE_US][held[1]].append(held[0] - at)
                        orders[order] = None
                elif kind == "task.completed" and event["task_type"] == "pick":
                    order = event["order_id"]
                    held = orders.get(order, 0)
                    if held == 0:
                        orders[order] = (at, event["node"])
                    elif isinstance(held, int):
                        picks[at // _MINUTE_US][event["node"]].append(at - held)
                        orders[order] = None
        self._write(sorted({*levels, *picks}))

    def _close(self, at: int) -> int:
        """Write the minutes that nothing can come for any more; when the next one is due."""
        over = self._over = (at - DISORDER_S * SECOND_US) // _MINUTE_US
        self._write(sorted(minute for minute in {*self._levels, *self._picks} if minute < over))
        return (over + 1) * _MINUTE_US + DISORDER_S * SECOND_US

    def _write(self, minutes: list[int]) -> None:
        for minute in minutes:
            start = datetime.fromtimestamp(minute * MINUTE_S, UTC)
            rows: list[tuple[Any, ...]] = []
            for (sku, node), touched in self._levels.pop(minute, {}).items():
                known = self._known.get((sku, node))
                if known is None:
                    known = self._known[sku, node] = [None, None, None]
                for number, last in enumerate(touched):
                    if last is not None:
                        known[number] = last[1]
                quantities = [quantity for quantity in known if quantity is not None]
                rows.append((sku, node, start, *known, max(quantities) - min(quantities)))
            self._stock.add(rows)
            self._latency.add(
                [
                    (node, start, len(latencies), p95(sorted(latencies)) / SECOND_US)
                    for node, latencies in self._picks.pop(minute, {}).items()
                ]
            )
        if not self._levels and not self._picks:
            self._stock.flush()
            self._latency.flush()


def main(run: Entry, folder: str) -> None:
    """Run it, and read the rows back."""
    ids, stored = run.variant.startswith("ids"), not run.variant.endswith("-rows")
    client = None
    if stored:
        client = clickhouse_connect.get_client(interface="chdb", path=f"{folder}/db", tz_mode="aware")
        for table, (columns, key) in _TABLES.items():
            client.command(f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY {key}")
    gc.freeze()
    gc.set_threshold(1_000_000, 10, 10)  # as Andon's: the collector would cost a good part of it
    with run.timed():
        stock, latency = Rows(client, "stock", 7), Rows(client, "latency", 4)
        loop = Loop(stock, latency)
        loop.run(run.arrival, ids=ids)
        stock.flush()
        latency.flush()
    if client is not None:
        stock.kept = [tuple(row) for row in client.query("SELECT * FROM stock").result_rows]
        latency.kept = [tuple(row) for row in client.query("SELECT * FROM latency").result_rows]
        client.close()
    run.write("a", (_stock_row(row) for row in stock.kept))
    run.write("b", ((row[0], _seconds(row[1]), row[2], round(row[3] * SECOND_US)) for row in latency.kept))


def _stock_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[:2], _seconds(row[2]), *("" if one is None else one for one in row[3:6]), row[6])


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


if __name__ == "__main__":
    this = entry()
    with tempfile.TemporaryDirectory() as made:
        main(this, made)
    this.done()
