"""The one module that knows Bytewax: sources, steps and sinks as thin skins over what is pure.

Steps are named by constants, since recovery hangs on them. A lane is a source partition; a key group is a key of
the engine; a value is a batch. Every state handed to the engine is bytes that nothing changes any more.
"""

import gc
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeAlias

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from operators.groups import Emitted, Group, Piece, PipelineSettings, Router, make_group
from operators.lanes import Merged
from schemas.errors import AndonError
from schemas.rows import Row

FLOW = "andon"
LANES, ROUTE, GROUPS, TO_SITES, SITES, ROWS = "lanes", "route", "groups", "to_sites", "sites", "rows"

Keyed: TypeAlias = tuple[str, Piece]
Kept: TypeAlias = tuple[str, bytes]


class LaneReader(Protocol):
    """One lane's input: `dataflows.lane.FileLane`, later a Kafka consumer."""

    def next(self) -> Merged | None:
        """What can be released now; None when there is nothing yet."""

    @property
    def ended(self) -> bool:
        """Whether nothing will ever come any more."""

    def next_awake(self) -> datetime | None:
        """When to ask again; None for at once."""

    def snapshot(self) -> bytes:
        """Where to resume."""

    def close(self) -> None:
        """Let go of what is open."""


class RowWriter(Protocol):
    """Where rows go."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows; may hold them back until `flush`."""

    def flush(self) -> None:
        """Have everything written when this returns."""


class Stop:
    """Why a flow is to end before its input does.

    `requested` is set by a signal handler: end at the next snapshot. `failure` is what a lane raised: end at once, as
    a crash would (raised through the engine it would first print a trace of the engine's own).
    """

    def __init__(self) -> None:
        self.requested = False
        self.failure: AndonError | None = None


class Pipeline(msgspec.Struct, frozen=True):
    """All that a flow is made of. `open_lane` gets a lane's name and the state to resume from."""

    settings: PipelineSettings
    open_lane: Callable[[str, bytes | None], LaneReader]
    open_writer: Callable[[], RowWriter]
    stop: Stop


class _LanePartition(StatefulSourcePartition[tuple[str, Merged], bytes]):
    def __init__(self, name: str, lane: LaneReader, stop: Stop, stopped: set[str], lanes: int) -> None:
        self._name, self._lane, self._stop = name, lane, stop
        self._stopped, self._lanes = stopped, lanes

    def next_batch(self) -> Iterable[tuple[str, Merged]]:
        if self._stop.requested:
            if len(self._stopped) >= self._lanes:
                raise AbortExecution
            return []
        if self._lane.ended:
            self._stopped.add(self._name)
            raise StopIteration
        try:
            merged = self._lane.next()
        except AndonError as error:
            self._stop.failure = error
            raise AbortExecution from error
        return [] if merged is None else [(self._name, merged)]

    def next_awake(self) -> datetime | None:
        return self._lane.next_awake()

    def snapshot(self) -> bytes:
        if self._stop.requested:
            self._stopped.add(self._name)
        return self._lane.snapshot()

    def close(self) -> None:
        self._lane.close()


class _LaneSource(FixedPartitionedSource[tuple[str, Merged], bytes]):
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._stopped: set[str] = set()

    def list_parts(self) -> list[str]:
        return list(self._pipeline.settings.lanes)

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> _LanePartition:
        del step_id
        lane = self._pipeline.open_lane(for_part, resume_state)
        return _LanePartition(for_part, lane, self._pipeline.stop, self._stopped, len(self._pipeline.settings.lanes))


class _GroupLogic(StatefulBatchLogic[Keyed, Emitted, Kept]):
    """A key group. The engine does not tell a logic its key: it comes with the values, and with the kept state."""

    def __init__(self, settings: PipelineSettings, kept: Kept | None, *, keeps: bool) -> None:
        self._settings = settings
        self._keeps = keeps
        self._group: Group | None = None
        if kept is not None:
            self._group = make_group(kept[0], settings)
            self._group.restore(kept[1])

    def on_batch(self, values: list[Keyed]) -> tuple[Iterable[Emitted], bool]:
        group = self._group
        if group is None:
            group = self._group = make_group(values[0][0], self._settings)
        emitted = group.on_batch([piece for _, piece in values])  # type: ignore[misc] # a key's pieces are its space's
        return [emitted], StatefulBatchLogic.RETAIN

    def snapshot(self) -> Kept:
        assert self._group is not None
        return self._group.name, self._group.snapshot() if self._keeps else b""


class _SinkPartition(StatefulSinkPartition[list[Row], None]):
    def __init__(self, writer: RowWriter) -> None:
        self._writer = writer

    def write_batch(self, values: list[list[Row]]) -> None:
        for rows in values:
            self._writer.write(rows)

    def snapshot(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.flush()


class _RowSink(FixedPartitionedSink[list[Row], None]):
    def __init__(self, open_writer: Callable[[], RowWriter]) -> None:
        self._open_writer = open_writer

    def list_parts(self) -> list[str]:
        return [ROWS]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _SinkPartition:
        del step_id, for_part, resume_state
        return _SinkPartition(self._open_writer())


def build_flow(pipeline: Pipeline, *, keeps: bool) -> Dataflow:
    """Lanes → key groups → site groups → rows.

    `keeps` says whether there is a recovery directory: the engine asks for snapshots at the end of every epoch even
    where it throws them away, and then they are left empty.
    """
    settings = pipeline.settings
    router = Router(settings)

    def route(item: tuple[str, Merged]) -> Iterable[tuple[str, Keyed]]:
        return [(name, (name, piece)) for name, piece in router.slices(*item)]

    def lane_rows(item: tuple[str, Merged]) -> Iterable[tuple[str, list[Row]]]:
        rows: list[Row] = [*item[1].dead, *item[1].health]
        return [(ROWS, rows)] if rows else []

    def site_pieces(item: tuple[str, Emitted]) -> Iterable[tuple[str, Keyed]]:
        return [(name, (name, piece)) for name, piece in item[1].pieces]

    def group_rows(item: tuple[str, Emitted]) -> Iterable[tuple[str, list[Row]]]:
        return [(ROWS, item[1].rows)] if item[1].rows else []

    flow = Dataflow(FLOW)
    lanes = op.input(LANES, flow, _LaneSource(pipeline))
    routed = op.flat_map(ROUTE, lanes, route)
    groups = op.stateful_batch(GROUPS, routed, lambda kept: _GroupLogic(settings, kept, keeps=keeps))
    to_sites = op.flat_map(TO_SITES, groups, site_pieces)
    sites = op.stateful_batch(SITES, to_sites, lambda kept: _GroupLogic(settings, kept, keeps=keeps))
    rows = op.merge(
        "all_rows",
        op.flat_map("lane_rows", lanes, lane_rows),
        op.flat_map("group_rows", groups, group_rows),
        op.flat_map("site_rows", sites, group_rows),
    )
    op.output(ROWS, rows, _RowSink(pipeline.open_writer))
    return flow


def run_flow(pipeline: Pipeline, recovery: Path | None, epoch_us: int) -> None:
    """Run to the end of the input, or to a requested stop; with `recovery`, from where an earlier run ended.

    Raises:
        AndonError: what a lane, a group or the writer raised, as itself.
    """
    config = None
    if recovery is not None:
        if not any(recovery.glob("part-*.sqlite3")):
            recovery.mkdir(parents=True, exist_ok=True)
            init_db_dir(recovery, 1)
        config = RecoveryConfig(recovery)
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(1_000_000, 10, 10)
    try:
        run_main(
            build_flow(pipeline, keeps=config is not None),
            epoch_interval=timedelta(microseconds=epoch_us),
            recovery_config=config,
        )
    except Exception as error:
        own = _own_error(error)
        if own is None or own is error:
            raise
        raise own from error
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    if pipeline.stop.failure is not None:
        raise pipeline.stop.failure


def _own_error(error: BaseException | None) -> AndonError | None:
    """Our own error under the engine's wrapping."""
    while error is not None:
        if isinstance(error, AndonError):
            return error
        error = error.__cause__ or error.__context__
    return None


def wall_clock() -> datetime:
    """Now, in UTC: the only clock of the flows."""
    return datetime.now(UTC)
