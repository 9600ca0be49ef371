"""Rows in, blocks out: buffered by table, sent by size, age or on demand, retried, bisected when refused."""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from schemas.errors import BlockRejected, StoreRefused
from schemas.rows import DeadLetter, Row
from sinks.clickhouse.rows import block_of, refused
from sinks.clickhouse.store import Store
from sinks.clickhouse.waiting import Waiting, WaitWatch

_REFUSALS_IN_A_ROW = 200
_TABLES_FULL = 4


class WriterWatch(WaitWatch, Protocol):
    """Who is told what becomes of rows; metrics, logs, heartbeats and the stop hang on it.

    `waiting` and `tick` may raise to give up (SIGTERM, say): the writer then keeps its rows, as when patience
    ends.
    """

    def written(self, record: type[Row], rows: Sequence[Row], seconds: float) -> None:
        """A block is in; `seconds` is what that took, waiting included."""

    def refused(self, letters: Sequence[DeadLetter]) -> None:
        """Rows that the store refuses, as the dead letters that the writer writes for them."""


class BlockWriter:
    """Write rows of any kinds through one store.

    Nothing is promised before `flush` returns: then every row given to `write` is in its table, or in the
    dead letters because the store refuses it. Call it at the engine's snapshot; with nothing to send it costs
    nothing, so several partitions can share one writer.

    A row is sent again when the writer is unsure (a broken connection, a restart); its key and version make
    that harmless, and a block's token mostly stops it at the door.

    Memory: `max_rows` rows a table, `max_pending` rows in all (default: four tables' worth) and dead letters of
    at most `max_bytes` of raw input, each plus one call of `write`; and one block's encoding. When the store is
    away `write` blocks, which holds the source back; after `patience_s` of waiting (None: never) it raises,
    keeping what it holds.

    Attributes (for metrics): rows, blocks, rejected: written rows and blocks, rows that became dead letters.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        max_rows: int = 50_000,
        max_pending: int | None = None,
        max_bytes: int = 32 << 20,
        max_age_s: float = 1.0,
        patience_s: float | None = 600.0,
        watch: WriterWatch | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: random.Random | None = None,
    ) -> None:
        self.rows = 0
        self.blocks = 0
        self.rejected = 0
        self._store = store
        self._run_id = run_id
        self._max_rows = max_rows
        self._max_pending = _TABLES_FULL * max_rows if max_pending is None else max_pending
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._watch = watch
        self._clock = clock
        self._waiting = Waiting(watch=watch, patience_s=patience_s, sleep=sleep, clock=clock, jitter=jitter)
        self._buffers: dict[type[Row], list[Row]] = {}
        self._tried: dict[type[Row], int] = {}
        self._oldest_s: float | None = None
        self._raw_bytes = 0
        self._refusals_in_a_row = 0

    @property
    def pending(self) -> int:
        """Rows taken and not yet in."""
        return sum(map(len, self._buffers.values()))

    @property
    def retries(self) -> int:
        """Pauses before another attempt."""
        return self._waiting.pauses

    def write(self, rows: Iterable[Row]) -> list[DeadLetter]:
        """Take rows, and send the blocks that are full; returns dead letters for rows the store refused.

        Those are written by the writer itself; they are returned for whoever counts or forwards them.

        Raises:
            StoreUnavailable: the store was away for longer than `patience_s`. The rows are kept: call
                `flush`.
            StoreRefused: a person has to act (schema, rights, or 200 rows refused one after the other: then
                it is the table that is wrong, not the rows).
        """
        self._take(rows)
        if self._oldest_s is None:
            self._oldest_s = self._clock()
        elif self._clock() - self._oldest_s >= self._max_age_s:
            return self.flush()
        if self.pending >= self._max_pending:
            return self.flush()
        out: list[DeadLetter] = []
        for kind in tuple(self._buffers):
            full = len(self._buffers[kind]) >= self._max_rows
            if full or (kind is DeadLetter and self._raw_bytes >= self._max_bytes):
                self._drain(kind, out)
        return out

    def flush(self) -> list[DeadLetter]:
        """Send everything; when this returns, it is in. Returns and raises as `write`."""
        out: list[DeadLetter] = []
        for kind in sorted(self._buffers, key=lambda kind: (kind is DeadLetter, kind.TABLE)):
            self._drain(kind, out)
        if DeadLetter in self._buffers:  # those this flush made
            self._drain(DeadLetter, out)
        self._oldest_s = None
        return out

    def _take(self, rows: Iterable[Row]) -> None:
        buffers = self._buffers
        for row in rows:
            kind = type(row)
            if isinstance(row, DeadLetter):
                self._raw_bytes += len(row.raw)
            try:
                buffers[kind].append(row)
            except KeyError:
                buffers[kind] = [row]

    def _drain(self, kind: type[Row], out: list[DeadLetter]) -> None:
        """Send what is buffered of one kind; a row leaves the buffer when its block's fate is known."""
        buffer = self._buffers[kind]
        while buffer:
            # A block once tried is tried again with the same rows: its token may be known there already.
            taken = self._tried.setdefault(kind, self._fitting(buffer))
            letters = [refused(row, error) for row, error in self._send(kind, buffer[:taken])]
            if letters and kind is DeadLetter:
                self._send(kind, letters)  # a dead letter's own dead letter gets one attempt, shortened
            if kind is DeadLetter:
                self._raw_bytes -= sum(len(row.raw) for row in buffer[:taken] if isinstance(row, DeadLetter))
            del buffer[:taken]
            del self._tried[kind]
            if not letters:
                continue
            self.rejected += len(letters)
            out.extend(letters)
            if kind is not DeadLetter:
                self._take(letters)
            if self._watch is not None:
                self._watch.refused(letters)

    def _fitting(self, buffer: Sequence[Row]) -> int:
        """How many rows from the front make the next block."""
        taken = min(len(buffer), self._max_rows)
        if not isinstance(buffer[0], DeadLetter):
            return taken
        size = 0
        for position in range(taken):
            row = buffer[position]
            size += len(row.raw) if isinstance(row, DeadLetter) else 0
            if size > self._max_bytes:
                return max(position, 1)
        return taken

    def _send(self, kind: type[Row], rows: Sequence[Row]) -> list[tuple[Row, str]]:
        """Bring rows in; return those the store refuses, each with why; attempts: 1 + O(bad * log rows)."""
        error = self._insert(kind, rows)
        if error is None:
            return []
        if len(rows) > 1:
            middle = len(rows) // 2
            return self._send(kind, rows[:middle]) + self._send(kind, rows[middle:])
        self._refusals_in_a_row += 1
        if self._refusals_in_a_row >= _REFUSALS_IN_A_ROW:
            raise StoreRefused(
                f"table {kind.TABLE} takes no row any more ({_REFUSALS_IN_A_ROW} refused in a row): {error}; "
                "is it as Andon made it? `andon migrate --status` says"
            ) from error
        return [(rows[0], str(error))]

    def _insert(self, kind: type[Row], rows: Sequence[Row]) -> BlockRejected | None:
        """One block, with retries; returns why it was refused, None when it is in."""
        block = block_of(kind, rows, self._run_id)
        began_s = self._clock()
        try:
            self._waiting.answered(
                lambda: self._store.insert(block.table, block.columns, block.names, block.token),
            )
        except BlockRejected as error:
            return error
        self.rows += len(rows)
        self.blocks += 1
        self._refusals_in_a_row = 0
        if self._watch is not None:
            self._watch.written(kind, rows, self._clock() - began_s)
        return None
