"""Rows in, blocks out: buffered by table, sent by size, age or on demand, retried, bisected when refused."""

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Protocol

from schemas.errors import BlockRejected, StoreRefused
from schemas.incident_rows import Alert, AlertDecision, Incident, IncidentOrder, IncidentSignal
from schemas.rows import DeadLetter, HandoffWindow, Row, Signal, StockWindow
from sinks.clickhouse.rows import block_of, refused
from sinks.clickhouse.sending import Fate, Sending
from sinks.clickhouse.store import Store
from sinks.clickhouse.waiting import Waiting, WaitWatch

#: What somebody waits for: findings, what follows from them, and windows. All else is for who looks later.
PROMPT: frozenset[type[Row]] = frozenset(
    {Alert, AlertDecision, HandoffWindow, Incident, IncidentOrder, IncidentSignal, Signal, StockWindow}
)
_REFUSALS_IN_A_ROW = 200
_TABLES_FULL = 4
_CLOSE_S = 5.0


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

    With `beside`, blocks that are due are sent by a thread, one at a time, while the caller goes on and the next
    ones fill; `write` waits for it only when `max_pending` rows are held. What a block's fate is, is settled in the
    caller's next `write` or `flush`: retries, halving, and all calls of `watch` are made on the caller's thread, and
    what the thread ran into is raised there. The thread ends with its blocks: after `flush` there is none.

    Blocks of `PROMPT` kinds go before others, also before those that wait for the thread; and beside the caller their
    rows wait for `prompt_age_s` (default: `max_age_s`) at most, all others for `max_age_s`. That is judged when `write`
    is called, so call it, with nothing if need be, as long as time goes on. Prompt rows are taken to be as old as the
    call before: where a batch took long, they have waited in it.

    Memory: `max_rows` rows a table, `max_pending` rows in all (default: four tables' worth) and dead letters of
    at most `max_bytes` of raw input, each plus one call of `write`; and one block's encoding. `beside` lets a table
    have more than `max_rows`, within `max_pending`. When the store is away `write` blocks, which holds the source
    back; after `patience_s` of waiting (None: never) it raises, keeping what it holds.

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
        prompt_age_s: float | None = None,
        patience_s: float | None = 600.0,
        beside: bool = True,
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
        self._prompt_age_s = max_age_s if prompt_age_s is None else prompt_age_s
        self._beside = beside
        self._sending: Sending | None = None
        self._watch = watch
        self._clock = clock
        self._waiting = Waiting(watch=watch, patience_s=patience_s, sleep=sleep, clock=clock, jitter=jitter)
        self._buffers: dict[type[Row], list[Row]] = {}
        self._tried: dict[type[Row], int] = {}
        self._oldest_s: float | None = None
        self._prompt_s: float | None = None
        self._called_s = clock()
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
        self._called_s = self._clock()
        if self._beside:
            return self._go_on()
        if self._aged or self.pending >= self._max_pending:
            return self.flush()
        out: list[DeadLetter] = []
        for kind in self._full():
            self._drain(kind, out)
        return out

    def hasten(self) -> list[DeadLetter]:
        """Let everything go now, without waiting for it, where a thread sends: `flush` is soon to come.

        Returns and raises as `write`.
        """
        out: list[DeadLetter] = []
        if not self._beside or not self.pending:
            return out
        if self._sending is not None and not self._sending.over:
            for fate in self._sending.taken():
                self._advance(fate.kind, out, fate)
            if self._join(self._sending, [kind for kind in self._held() if kind not in self._tried], first=False):
                return out
        self._oldest_s = -math.inf
        return out + self._go_on()

    def flush(self) -> list[DeadLetter]:
        """Send everything; when this returns, it is in. Returns and raises as `write`."""
        out: list[DeadLetter] = []
        if self._sending is not None:
            self._settle(self._sending, out)
        for kind in self._held():
            self._drain(kind, out)
        if DeadLetter in self._buffers:  # those this flush made
            self._drain(DeadLetter, out)
        self._oldest_s = self._prompt_s = None
        return out

    def close(self) -> None:
        """Send no more; to be called before the store is closed. Rows that were not flushed are given up.

        Waits for the block under way, at most five seconds: a server that hangs does not keep us.
        """
        if self._sending is not None:
            self._sending.stop(_CLOSE_S)
            self._sending = None

    @property
    def _aged(self) -> bool:
        return self._oldest_s is not None and self._clock() - self._oldest_s >= self._max_age_s

    @property
    def _is_prompt_due(self) -> bool:
        return self._prompt_s is not None and self._clock() - self._prompt_s >= self._prompt_age_s

    @property
    def _overfull(self) -> bool:
        return self.pending >= self._max_pending or self._raw_bytes >= self._max_bytes

    def _held(self) -> list[type[Row]]:
        """The kinds of which there are rows, prompt ones first, dead letters last."""
        held = [kind for kind, buffer in self._buffers.items() if buffer]
        return sorted(held, key=lambda kind: (kind is DeadLetter, kind not in PROMPT, kind.TABLE))

    def _full(self) -> list[type[Row]]:
        """The kinds of which there is a whole block."""
        return [
            kind
            for kind, buffer in self._buffers.items()
            if len(buffer) >= self._max_rows or (kind is DeadLetter and self._raw_bytes >= self._max_bytes)
        ]

    def _due(self) -> list[type[Row]]:
        """The kinds that are to go now, though not everything is: full ones, and prompt ones that have waited."""
        if not self._is_prompt_due:
            return self._full()
        self._prompt_s = None
        full = self._full()
        return [kind for kind in self._held() if kind in PROMPT or kind in full]

    def _go_on(self) -> list[DeadLetter]:
        """Keep the thread in work; wait for it only where no more rows may be held."""
        out: list[DeadLetter] = []
        while True:
            if self._sending is not None:
                if not (self._sending.over or self._overfull):
                    self._overtake(self._sending, out)
                    return out
                self._settle(self._sending, out)
            everything = self._aged or self._overfull
            if everything:
                self._oldest_s = self._prompt_s = None
            kinds = self._held() if everything else self._due()
            if not kinds:
                return out
            self._sending = Sending([(kind, self._next(kind)) for kind in kinds], self._bring_in, self._clock)

    def _overtake(self, sending: Sending, out: list[DeadLetter]) -> None:
        """Have prompt rows that are due go before what a sending has not begun."""
        for fate in sending.taken():
            self._advance(fate.kind, out, fate)
        if not self._is_prompt_due:
            return
        waiting = [
            kind for kind in self._held() if kind in PROMPT and len(self._buffers[kind]) > self._tried.get(kind, 0)
        ]
        free = [kind for kind in waiting if kind not in self._tried]  # of the others a block is under way
        if self._join(sending, free, first=True) and free == waiting:
            self._prompt_s = None

    def _join(self, sending: Sending, kinds: Sequence[type[Row]], *, first: bool) -> bool:
        """Give a sending the next block of each of `kinds`; False where it has ended."""
        joined = sending.add([(kind, self._next(kind)) for kind in kinds], first=first)
        if not joined:
            for kind in kinds:
                del self._tried[kind]
        return joined

    def _settle(self, sending: Sending, out: list[DeadLetter]) -> None:
        """Do what the fates of sent blocks ask for; what was not sent for a failure before it stays buffered."""
        fates = sending.fates(self._tick)
        self._sending = None
        for fate in fates:
            self._advance(fate.kind, out, fate)
        if self._oldest_s is None and self.pending:  # what was not sent is not to wait for more rows
            self._oldest_s = self._clock()

    def _tick(self) -> None:
        if self._watch is not None:
            self._watch.tick()

    def _take(self, rows: Iterable[Row]) -> None:
        for kind, run in groupby(rows, type):  # they come in runs of one kind
            if self._oldest_s is None:
                self._oldest_s = self._clock()
            if self._prompt_s is None and kind in PROMPT:
                self._prompt_s = self._called_s
            buffer = self._buffers.setdefault(kind, [])
            held = len(buffer)
            buffer.extend(run)
            if kind is DeadLetter:
                self._raw_bytes += sum(len(row.raw) for row in buffer[held:] if isinstance(row, DeadLetter))

    def _drain(self, kind: type[Row], out: list[DeadLetter]) -> None:
        """Send what is buffered of one kind."""
        while self._buffers[kind]:
            self._advance(kind, out)

    def _next(self, kind: type[Row]) -> list[Row]:
        """The next block of a kind. Once tried it is tried with the same rows: its token may be known there already."""
        buffer = self._buffers[kind]
        return buffer[: self._tried.setdefault(kind, self._fitting(buffer))]

    def _advance(self, kind: type[Row], out: list[DeadLetter], fate: Fate | None = None) -> None:
        """Have the next block of a kind in, or refused; its rows leave the buffer when that is known.

        `fate` is what became of it where it was sent before.
        """
        rows = self._next(kind)
        letters = [refused(row, error) for row, error in self._send(kind, rows, fate)]
        if letters and kind is DeadLetter:
            self._send(kind, letters)  # a dead letter's own dead letter gets one attempt, shortened
        if kind is DeadLetter:
            self._raw_bytes -= sum(len(row.raw) for row in rows if isinstance(row, DeadLetter))
        del self._buffers[kind][: len(rows)]
        del self._tried[kind]
        if not letters:
            return
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

    def _send(self, kind: type[Row], rows: Sequence[Row], fate: Fate | None = None) -> list[tuple[Row, str]]:
        """Bring rows in; return those the store refuses, each with why; attempts: 1 + O(bad * log rows)."""
        error = self._insert(kind, rows, fate)
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

    def _insert(self, kind: type[Row], rows: Sequence[Row], fate: Fate | None) -> BlockRejected | None:
        """One block, with retries; returns why it was refused, None when it is in."""
        first = [] if fate is None else [fate]
        spent_s = 0.0 if fate is None else fate.seconds

        def attempt() -> None:
            if not first:
                self._bring_in(kind, rows)
                return
            error = first.pop().error
            if error is not None:
                raise error

        began_s = self._clock()
        try:
            self._waiting.answered(attempt, spent_s=spent_s)
        except BlockRejected as error:
            return error
        self.rows += len(rows)
        self.blocks += 1
        self._refusals_in_a_row = 0
        if self._watch is not None:
            self._watch.written(kind, rows, self._clock() - began_s + spent_s)
        return None

    def _bring_in(self, kind: type[Row], rows: Sequence[Row]) -> None:
        """One attempt, on whichever thread."""
        block = block_of(kind, rows, self._run_id)
        self._store.insert(block.table, block.columns, block.names, block.token)
