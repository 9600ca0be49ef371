"""`benchmarks/write_waits.py`: how long rows wait in the block writer until they are in, kind by kind.

A live job's rows in small: every 20 to 60 ms some of eight kinds, and every two seconds windows of two more, into a
store that takes 20 ms a block and 5 µs a row. By the clock of the wall, since a thread sends; what is timed is nearly
all waiting, so that other work on the machine matters little. Permanent ids: `write_waits.TABLE`.
"""

import argparse
import random
import sys
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path

import msgspec
from machine import BUILD, facts, headline, print_table, write_document

from schemas.incident_rows import IncidentSignal, ModelHealth, SeriesScore
from schemas.rows import (
    DuplicateEvent,
    HandoffPass,
    HandoffWindow,
    Health,
    LateEvent,
    Row,
    Signal,
    StockWindow,
)
from sinks.clickhouse.store import Store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_rows import so_many

_BLOCK_S, _ROW_S = 0.02, 5e-6
_STEP_S = (0.02, 0.06)
_TICK_S = 2.0
#: Rows of a kind at each step, and at each tick.
_STEP: dict[type[Row], int] = {
    HandoffPass: 300,
    DuplicateEvent: 3,
    Health: 5,
    SeriesScore: 5,
    LateEvent: 1,
    Signal: 3,
    IncidentSignal: 1,
    ModelHealth: 1,
}
_TICK: dict[type[Row], int] = {HandoffWindow: 800, StockWindow: 800}
_SHARES = (0.5, 0.99)


class Waits(msgspec.Struct, frozen=True):
    """Seconds from `write` to the end of the insert, below which so many rows were."""

    id: str
    rows: int
    p50_s: float
    p99_s: float


class _Slow:
    """Stands in for a store: keeps nothing but how long rows took to come."""

    def __init__(self) -> None:
        self.written_s: dict[str, deque[float]] = defaultdict(deque)
        self.waits_s: dict[str, list[float]] = defaultdict(list)

    def insert(self, table: str, columns: Sequence[Sequence[object]], names: Sequence[str], token: str) -> None:
        """As `Store`."""
        del names, token
        count = len(columns[0])
        time.sleep(_BLOCK_S + count * _ROW_S)
        now_s, written_s = time.monotonic(), self.written_s[table]
        self.waits_s[table] += [now_s - written_s.popleft() for _ in range(count)]


def measure(store: _Slow, writer: BlockWriter, seconds: float, seed: int) -> list[Waits]:
    """Write for so long, then flush."""
    chance = random.Random(seed)
    now_s = time.monotonic()
    end_s, tick_s = now_s + seconds, now_s + _TICK_S
    while now_s < end_s:
        time.sleep(chance.uniform(*_STEP_S))
        now_s = time.monotonic()
        counts = dict(_STEP)
        if now_s >= tick_s:
            tick_s += _TICK_S
            counts |= _TICK
        for kind, count in counts.items():
            store.written_s[kind.TABLE].extend([now_s] * count)
        writer.write(so_many(counts))
    writer.flush()
    found = []
    for table, waits_s in sorted(store.waits_s.items()):
        waits_s.sort()
        p50, p99 = (waits_s[int(len(waits_s) * share)] for share in _SHARES)
        found.append(Waits(f"write_waits.{table}", len(waits_s), p50, p99))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description="How long rows wait in the block writer.")
    parser.add_argument("--seconds", type=float, default=15.0, metavar="N", help="how long it is measured (15)")
    parser.add_argument("--age", type=float, default=0.5, metavar="N", help="clickhouse.block_age, in seconds (0.5)")
    parser.add_argument("--prompt", type=float, metavar="N", help="the same of prompt rows (a quarter of it)")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--json", type=Path, default=BUILD / "write_waits.json", metavar="FILE")
    asked = parser.parse_args(arguments)
    prompt_s = asked.age / 4 if asked.prompt is None else asked.prompt
    store = _Slow()
    writer = BlockWriter(_as_store(store), "bench", max_age_s=asked.age, prompt_age_s=prompt_s)
    found = measure(store, writer, asked.seconds, asked.seed)
    machine = facts()
    print(headline(machine))
    lines = [(one.id, f"{one.rows:,}", f"{one.p50_s:.2f}", f"{one.p99_s:.2f}", "") for one in found]
    print_table(("benchmark", "rows", "p50 s", "p99 s", ""), lines)
    print(f"\n{writer.blocks} blocks")
    write_document(asked.json, machine, {"results": msgspec.to_builtins(found), "blocks": writer.blocks})
    return 0


def _as_store(slow: _Slow) -> Store:
    """A writer asks a store for nothing but `insert`."""
    return slow  # type: ignore[return-value] # stands in for one


if __name__ == "__main__":
    sys.exit(main())
