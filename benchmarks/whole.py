"""The whole replay, files to rows, in a process of its own.

`python whole.py WORK SINK FOLDER EVENTS [ENGINE]` prints one line of JSON; ENGINE are engine settings other than the
work's, as JSON: `{"batch": 1024}`.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from inputs import WORKS, Work

from dataflows.engine import run_flow
from dataflows.files import partitions_of
from dataflows.flow import Pipeline, RowWriter, Stop
from dataflows.job import StoreWriter, pipeline_settings
from dataflows.lane import FileLane, LaneInput
from schemas.rows import Row
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from sinks.clickhouse.writer import BlockWriter

SINKS = ("counting", "chdb")


class Measured(msgspec.Struct, frozen=True):
    """One run: messages read, rows written, seconds of the clock and of the processors, peak resident memory."""

    messages: int
    rows: int
    seconds: float
    cpu_s: float
    peak_mb: float


class Counting:
    """Takes rows and keeps their number."""

    def __init__(self) -> None:
        self.rows = 0

    def write(self, rows: Sequence[Row]) -> None:
        self.rows += len(rows)

    def flush(self) -> None:
        return


def measure(work: Work, sink: str) -> Measured:
    """Run a work into a sink that only counts, or into a fresh embedded ClickHouse."""
    cpu_s = time.process_time()
    if sink == "counting":
        counting = Counting()
        seconds, rows = _replay(work, counting), counting.rows
    else:
        with tempfile.TemporaryDirectory() as folder, open_store(f"chdb:///{folder}/db") as store:
            migrate(store)
            writer = BlockWriter(store, "bench", max_rows=work.settings.clickhouse.block_rows)
            seconds, rows = _replay(work, StoreWriter(writer)), writer.rows
    return Measured(work.messages, rows, seconds, time.process_time() - cpu_s, peak_mb())


def with_engine(work: Work, changed: dict[str, int]) -> Work:
    """The same work under other engine settings."""
    engine = msgspec.structs.replace(work.settings.engine, **changed)
    return msgspec.structs.replace(work, settings=msgspec.structs.replace(work.settings, engine=engine))


def peak_mb() -> float:
    """The most memory this process had resident; `getrusage` would count what its parent had before it, too."""
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _replay(work: Work, writer: RowWriter) -> float:
    """As `andon replay` does it; the seconds it took."""
    groups = pipeline_settings(work.settings, work.process)
    source = LaneInput(
        partitions=tuple(partitions_of(work.files)), rules=work.settings.time.rules(), batch=work.settings.engine.batch
    )
    pipeline = Pipeline(
        settings=groups,
        open_lane=lambda name, resume: FileLane(name, groups.lanes, source, resume, _unheard),
        open_writer=lambda: writer,
        stop=Stop(),
    )
    began = time.perf_counter()
    run_flow(pipeline, None, work.settings.engine.epoch)
    return time.perf_counter() - began


def _unheard(_lane: str, _share: float) -> None:
    return


if __name__ == "__main__":
    name, chosen, where, count = sys.argv[1:5]
    work = WORKS[name](Path(where), int(count))
    if len(sys.argv) > 5:
        work = with_engine(work, msgspec.json.decode(sys.argv[5], type=dict[str, int]))
    measured = measure(work, chosen)
    print(msgspec.json.encode(measured).decode())
