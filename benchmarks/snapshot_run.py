"""One run of `snapshot.py`: `python snapshot_run.py FOLDER KEYS EVENTS bare|whole|kept|resume` prints a line of JSON.

Half of the keys are items, half open cases (those of sweep_keys.py). One lane makes them known, then come EVENTS
messages that were made before; from the first of these to the last is timed. `kept` has a recovery directory, `bare`
has none; `whole` keeps all of each group at every epoch (`engine.increments_from = 0`); `resume` starts from what
`kept` left and is over when the first row is there.
"""

import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from pathlib import Path

import msgspec
from sweep_fed import chunks, sweep_settings
from sweep_keys import SEED, all_levels, cases, levels, open_cases
from whole import peak_mb

from dataflows.engine import run_flow
from dataflows.flow import Pipeline, Stop, Unwatched
from dataflows.settings import EngineSettings
from operators.groups import Group
from operators.lane_state import Merged
from schemas.events import Arrived
from schemas.rows import Row

MODES = ("bare", "whole", "kept", "resume")


class Ran(msgspec.Struct):
    """Seconds are of the wall, `cpu_s` of the processor, both of the timed part; `first_row_s` from a start on.

    `epochs` ended in the timed part; in them `snapshot_s` was spent on making snapshots (writing them is the engine's
    and not in it), `snapshot_bytes` is the median of all, compressed.
    """

    mode: str
    events: int
    seconds: float
    cpu_s: float
    epochs: int
    snapshot_s: float
    snapshot_bytes: int
    recovery_bytes: int
    first_row_s: float
    peak_mb: float


class _Lane:
    """What makes the keys known, and then the timed messages; after a resume, the latter at once."""

    def __init__(self, known: Iterator[bytes], then: Sequence[bytes]) -> None:
        self._known, self._then = chunks(known), chunks(iter(then))
        self._knows = True
        self.began: tuple[float, float] | None = None
        self.finished: tuple[float, float] | None = None

    @property
    def ended(self) -> bool:
        return self.finished is not None

    @property
    def timed(self) -> bool:
        """Whether the timer runs."""
        return self.began is not None and self.finished is None

    def next(self) -> Merged | None:
        chunk: list[Arrived] | None = next(self._known, None) if self._knows else None
        if chunk is None:
            self._knows = False
            self.began = self.began or (time.monotonic(), time.process_time())
            chunk = next(self._then, None)
        if chunk is None:
            self.finished = (time.monotonic(), time.process_time())
            return None
        at = chunk[-1].arrival_us
        return Merged(chunk, [], [], at, at, final=False)

    def wait(self) -> None:
        return

    def next_awake(self) -> datetime | None:
        return None

    def snapshot(self) -> bytes:
        return b"made"

    def close(self) -> None:
        return


class _Watch(Unwatched):
    def __init__(self, lane: _Lane) -> None:
        self._lane = lane
        self.epochs, self.seconds = 0, 0.0
        self.bytes: list[int] = []

    def lane_kept(self, lane: str) -> None:
        del lane
        self.epochs += self._lane.timed
        self.bytes.append(0)

    def group_kept(self, group: Group, seconds: float, size: int) -> None:
        del group
        self.bytes[-1] += size
        if self._lane.timed:
            self.seconds += seconds


class _Rows:
    """Counts; on a resume the first rows end the run."""

    def __init__(self, stop: Stop, *, first_is_all: bool) -> None:
        self._stop, self._first_is_all = stop, first_is_all
        self.first_s: float | None = None

    def write(self, rows: Sequence[Row]) -> None:
        if self.first_s is None and rows:
            self.first_s = time.monotonic()
            self._stop.requested = self._first_is_all

    def flush(self) -> None:
        return


def run(folder: Path, keys: int, events: int, mode: str) -> Ran:
    """Make the messages, run, measure."""
    half = keys // 2
    resumes = mode == "resume"
    lane = _Lane(
        iter(()) if resumes else chain(all_levels(half), open_cases(half)), _messages(half, events, later=resumes)
    )
    stop, watch = Stop(), _Watch(lane)
    rows = _Rows(stop, first_is_all=resumes)
    least = 0 if mode == "whole" else EngineSettings().increments_from
    settings = sweep_settings(keys)
    pipeline = Pipeline(settings, lambda _name, _resume: lane, lambda: rows, stop, watch, increments_from=least)
    recovery = None if mode == "bare" else folder / ("whole" if mode == "whole" else "recovery")
    started_s = time.monotonic()
    run_flow(pipeline, recovery, EngineSettings().epoch)
    if lane.began is None or rows.first_s is None:
        raise ValueError("the flow ended before the timed messages came, or without a row")
    ended = lane.finished or (time.monotonic(), time.process_time())
    return Ran(
        mode=mode,
        events=events,
        seconds=ended[0] - lane.began[0],
        cpu_s=ended[1] - lane.began[1],
        epochs=watch.epochs,
        snapshot_s=watch.seconds,
        snapshot_bytes=int(statistics.median(watch.bytes or [0])),
        recovery_bytes=sum(file.stat().st_size for file in recovery.iterdir()) if recovery is not None else 0,
        first_row_s=rows.first_s - started_s,
        peak_mb=peak_mb(),
    )


def _messages(keys: int, events: int, *, later: bool) -> list[bytes]:
    """So many messages, levels and cases in turn; `later`: those that would follow, as many."""
    rng = random.Random(SEED)
    minutes = zip(levels(keys, rng), cases(keys, random.Random(SEED)), strict=False)
    every = (message for pair in minutes for both in zip(*pair, strict=True) for message in both)
    return list(islice(every, events if later else 0, 2 * events if later else events))


if __name__ == "__main__":
    where, count, timed, how = sys.argv[1:5]
    print(msgspec.json.encode(run(Path(where), int(count), int(timed), how)).decode())
