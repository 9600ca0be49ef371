"""The job of `latency.py --trace`: `andon`, with what its rows pass, and when, written down.

`LATENCY_TRACE` names the file to which it goes when the job ends: a `Trace` in MessagePack. For one process.
"""

import atexit
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from latency_stages import Course, Passed

from dataflows import engine
from dataflows.cli import main
from operators.lane_state import Merged
from schemas.durations import SECOND_US
from schemas.rows import HandoffPass, Row, Signal
from sinks.clickhouse.writer import BlockWriter

VARIABLE = "LATENCY_TRACE"
_Asked: TypeAlias = Callable[[object], Sequence[tuple[str, Merged | None]]]
_TRACED: tuple[type[Row], ...] = (Signal, HandoffPass)


class Trace(msgspec.Struct, frozen=True):
    """What the job did, and the way of its rows by table; seconds since 1970."""

    course: Course
    passed: dict[str, list[Passed]]


class _Tracer:
    """Looks on where lanes release, end their epochs, and rows come and go.

    Memory: some 100 bytes for each row of `_TRACED`. Cost: a microsecond each.
    """

    def __init__(self) -> None:
        self._course = Course([], [])
        self._passed: dict[str, list[Passed]] = defaultdict(list)
        self._watermarks: dict[str, int] = {}
        self._given_s: dict[int, float] = {}
        self._ends_s: float | None = None
        self._is_flushed = False

    def keep(self, path: Path) -> None:
        """Write it all down, unless a job before has."""
        if not path.exists():
            path.write_bytes(msgspec.msgpack.encode(Trace(self._course, self._passed)))

    def asked(self, goes_on: _Asked, lane: object) -> Sequence[tuple[str, Merged | None]]:
        """A lane is asked for what it has; while an epoch ends, it is not."""
        if self._ends_s is not None and self._is_flushed:
            self._course.epochs.append((self._ends_s, time.time()))
            self._ends_s = None
        found = goes_on(lane)
        for name, merged in found:
            if merged is not None:
                self._watermarks[name] = merged.watermark_us
                self._course.released.append((time.time(), min(self._watermarks.values()) / SECOND_US))
        return found

    def kept(self, goes_on: Callable[[object], bytes], lane: object) -> bytes:
        """A lane is asked for its position."""
        if self._ends_s is None:
            self._ends_s, self._is_flushed = time.time(), False
        return goes_on(lane)

    def flushed(self, goes_on: Callable[[object], None], sink: object) -> None:
        """All rows of the epoch are in."""
        goes_on(sink)
        self._is_flushed = True

    def taken(self, goes_on: Callable[..., None], writer: object, rows: Iterable[Row]) -> None:
        """The writer is given rows."""
        now_s, rows = time.time(), list(rows)
        self._given_s.update((id(row), now_s) for row in rows if isinstance(row, _TRACED))
        goes_on(writer, rows)

    def brought_in(self, goes_on: Callable[..., None], writer: object, kind: type[Row], rows: Sequence[Row]) -> None:
        """A block goes to the store; what is sent again counts from the last time."""
        began_s = time.time()
        goes_on(writer, kind, rows)
        now_s = time.time()
        for row in rows if kind in _TRACED else ():
            given_s = self._given_s.pop(id(row), began_s)
            arrival_s = row.arrival_us / SECOND_US  # type: ignore[union-attr] # traced ones have one
            self._passed[kind.TABLE].append(Passed(arrival_s, given_s, began_s, now_s))


def _through(owner: type, name: str, look: Callable[..., object]) -> None:
    """Have calls of a method go through `look`, which gets the method itself first."""
    method = getattr(owner, name)
    setattr(owner, name, lambda *arguments: look(method, *arguments))


if __name__ == "__main__":
    tracer = _Tracer()
    _through(engine._LanePartition, "next_batch", tracer.asked)  # noqa: SLF001 - looks on from outside
    _through(engine._LanePartition, "snapshot", tracer.kept)  # noqa: SLF001 - as above
    _through(engine._SinkPartition, "snapshot", tracer.flushed)  # noqa: SLF001 - as above
    _through(BlockWriter, "_take", tracer.taken)
    _through(BlockWriter, "_bring_in", tracer.brought_in)
    atexit.register(tracer.keep, Path(os.environ[VARIABLE]))
    main()
