"""The one module that knows Bytewax: sources, steps and sinks as thin skins over what is pure.

Steps are named by constants, since recovery hangs on them. A lane is a source partition; a key group is a key of
the engine; a value is a batch. Every state handed to the engine is bytes that nothing changes any more.
"""

import gc
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main, run_main

from dataflows.crossing import Crossing, Rows, Sent, opened
from dataflows.flow import Cluster, LaneReader, Pipeline, RowWriter
from dataflows.huge_pages import HugePages
from dataflows.kept import compressed, expanded
from dataflows.kept_group import Keeper, Kept, KeptGroup, slot_name, slots_of
from dataflows.memory import Sweep, settle_allocator
from dataflows.placing import EVENLY, beside, spread, worker_of
from dataflows.recovery import check_room, engine_refusal, make_parts, other_run, own_error
from operators.group_state import Emitted
from operators.increments import Due
from operators.lane_state import Merged
from operators.pacing import Pace
from operators.pipeline import INCIDENT, SITE, group_names
from operators.routing import Router
from schemas.errors import AndonError, PeerLost

FLOW = "andon"
LANES, ROUTE, GROUPS, TO_SITES, SITES, ROWS = "lanes", "route", "groups", "to_sites", "sites", "rows"
TO_INCIDENTS, INCIDENTS, TO_SLOTS, SLOTS = "to_incidents", "incidents", "to_slots", "slots"

_PACE_WAIT = timedelta(milliseconds=5)
_SLOTS_WAIT = timedelta(milliseconds=20)
#: A value for a key group; None says that the job is to stop.
Keyed: TypeAlias = tuple[str, Sent | None]


class _Epoch:
    """Whether lanes of this process have ended their epoch, and its rows are not flushed yet."""

    ends = False


class _LanePartition(StatefulSourcePartition[tuple[str, Merged | None], bytes]):
    def __init__(
        self, name: str, lane: LaneReader, pipeline: Pipeline, pace: Pace, epoch: _Epoch, sweep: Sweep, pages: HugePages
    ) -> None:
        self._name, self._lane, self._pace, self._epoch, self._sweep = name, lane, pace, epoch, sweep
        self._pages = pages
        self._stop, self._watch = pipeline.stop, pipeline.watch
        self._told = self._waits = False

    def next_batch(self) -> Iterable[tuple[str, Merged | None]]:
        self._watch.beat()
        self._pages.gather()
        if self._stop.failure is not None:
            raise AbortExecution
        if self._lane.ended:
            raise StopIteration
        if self._stop.requested:
            if self._told:
                raise StopIteration
            self._told = True
            return [(self._name, None)]
        self._waits = self._pace.waits(self._name)
        try:
            if self._waits:
                self._lane.wait()
                return []
            merged = self._lane.next()
        except AndonError as error:
            self._stop.failure = error
            raise AbortExecution from error
        if merged is None:
            self._sweep.when_quiet()
            return []
        self._watch.released(self._name, merged)
        self._pace.released(self._name, merged.watermark_us, len(merged.events))
        return [(self._name, merged)]

    def next_awake(self) -> datetime | None:
        if self._stop.requested:
            return None
        return wall_clock() + _PACE_WAIT if self._waits else self._lane.next_awake()

    def snapshot(self) -> bytes:
        self._watch.lane_kept(self._name)
        if not self._epoch.ends:
            self._epoch.ends = True
            self._sweep.at_epochs_end()
        return compressed(self._lane.snapshot())

    def close(self) -> None:
        self._lane.close()


class _LaneSource(FixedPartitionedSource[tuple[str, Merged | None], bytes]):
    def __init__(self, pipeline: Pipeline, pace: Pace, epoch: _Epoch) -> None:
        self._pipeline, self._pace, self._epoch = pipeline, pace, epoch
        self._sweep, self._pages = Sweep(), HugePages()

    def list_parts(self) -> list[str]:
        return list(self._pipeline.settings.lanes)

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> _LanePartition:
        del step_id
        with self._pipeline.stop.failing():
            lane = self._pipeline.open_lane(for_part, None if resume_state is None else expanded(resume_state))
        return _LanePartition(for_part, lane, self._pipeline, self._pace, self._epoch, self._sweep, self._pages)


class _GroupLogic(StatefulBatchLogic[Keyed, Emitted, Kept]):
    """A key group. The engine does not tell a logic its key: it comes with the values, and with the kept state."""

    def __init__(self, pipeline: Pipeline, kept: Kept | None, keeper: Keeper | None) -> None:
        self._pipeline, self._keeper = pipeline, keeper
        self._early: list[Keyed] = []
        self._group = None if kept is None else KeptGroup(kept[0], pipeline.settings, keeper, pipeline.stop, kept)

    def on_batch(self, values: list[Keyed]) -> tuple[Iterable[Emitted], bool]:
        group = self._group
        if group is None:
            group = self._group = KeptGroup(values[0][0], self._pipeline.settings, self._keeper, self._pipeline.stop)
        if not group.is_there():
            self._early += values
            return [], StatefulBatchLogic.RETAIN
        if self._early:
            values, self._early = [*self._early, *values], []
        pieces = [opened(sent) for _, sent in values if sent is not None]
        if len(pieces) < len(values):
            self._pipeline.stop.requested = True
        if not pieces:
            return [], StatefulBatchLogic.RETAIN
        emitted = group.on_batch(pieces)
        self._pipeline.watch.beat()
        return [emitted], StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Emitted], bool]:
        return self.on_batch([])

    on_eof = on_notify

    def notify_at(self) -> datetime | None:
        return wall_clock() + _SLOTS_WAIT if self._early else None

    def snapshot(self) -> Kept:
        assert self._group is not None
        return self._group.snapshot()  # type: ignore[return-value] # pickles as one


class _SlotPartition(StatefulSinkPartition[Due, Kept]):
    """A slot for increments of a group's state: its snapshot comes after the group's, which has filled it."""

    def __init__(self, name: str, pipeline: Pipeline, keeper: Keeper, kept: Kept | None) -> None:
        self._name, self._stop, self._keeper = name, pipeline.stop, keeper
        self._is_over = False
        if kept is not None:
            keeper.put(kept)

    def write_batch(self, values: list[Due]) -> None:
        self._is_over = values[-1].is_over

    def snapshot(self) -> Kept:
        with self._stop.failing():
            return self._keeper.of_slot(self._name, is_over=self._is_over)  # type: ignore[return-value] # pickles as one


class _SlotSink(FixedPartitionedSink[Due, Kept]):
    """A partition a slot: only of those that something was written to in an epoch does the engine take a snapshot."""

    def __init__(self, pipeline: Pipeline, keeper: Keeper, keys: Mapping[str, str]) -> None:
        self._pipeline, self._keeper = pipeline, keeper
        self._parts = beside({key: slots_of(group) for group, key in keys.items()})
        self._numbers = {name: number for number, name in enumerate(self._parts.values())}

    def list_parts(self) -> list[str]:
        return list(self._parts)

    def part_fn(self, item_key: str) -> int:
        return self._numbers[item_key]

    def build_part(self, step_id: str, for_part: str, resume_state: Kept | None) -> _SlotPartition:
        del step_id
        return _SlotPartition(self._parts[for_part], self._pipeline, self._keeper, resume_state)


class _Mark(msgspec.Struct, frozen=True, array_like=True):
    """How far a lane has come, told to every sink partition and so to every process; the first says of which run."""

    lane: str
    watermark_us: int
    run_id: str = ""


class _SinkPartition(StatefulSinkPartition[Rows | _Mark, None]):
    def __init__(self, writer: RowWriter, pipeline: Pipeline, pace: Pace, epoch: _Epoch) -> None:
        self._writer, self._stop, self._pace, self._run_id = writer, pipeline.stop, pace, pipeline.run_id
        self._epoch, self._hasten = epoch, pipeline.hasten

    def write_batch(self, values: list[Rows | _Mark]) -> None:
        with self._stop.failing():
            written = False
            for value in values:
                if isinstance(value, _Mark):
                    if value.run_id and value.run_id != self._run_id:
                        raise other_run(self._run_id, value.run_id)
                    self._pace.heard(value.lane, value.watermark_us)
                else:
                    self._writer.write(value)
                    written = True
            if not written:
                self._writer.write(())
            if self._epoch.ends:  # rows go while the groups' state is taken and kept
                self._hasten()

    def snapshot(self) -> None:
        self._epoch.ends = False
        with self._stop.failing():
            self._writer.flush()

    def close(self) -> None:
        """Nothing to do: the last epoch's snapshot has flushed, and after a failure the rows come again."""


class _RowSink(FixedPartitionedSink[Rows | _Mark, None]):
    """As many partitions as there are lanes: the engine deals them out in turn, so each process has one.

    The rows of a key group go to one that lives where the group does.
    """

    def __init__(self, pipeline: Pipeline, pace: Pace, epoch: _Epoch, keys: Iterable[str], workers: int) -> None:
        self._pipeline, self._pace, self._epoch = pipeline, pace, epoch
        self._numbers = {part: number for number, part in enumerate(self.list_parts())}
        self._numbers |= {key: worker_of(key, workers) for key in keys}

    def list_parts(self) -> list[str]:
        return [f"{ROWS}:{lane}" for lane in self._pipeline.settings.lanes]

    def part_fn(self, item_key: str) -> int:
        return self._numbers[item_key]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _SinkPartition:
        del step_id, for_part, resume_state
        return _SinkPartition(self._pipeline.open_writer(), self._pipeline, self._pace, self._epoch)


def _due_slots(item: tuple[str, Emitted]) -> Iterable[tuple[str, Due]]:
    return [(slot_name(due.group, due.slot), due) for due in item[1].due]


def build_flow(pipeline: Pipeline, *, keeps: bool, workers: int = 1, worker: int = 0) -> Dataflow:
    """Lanes → key groups → site groups → incidents → rows.

    `keeps` says whether there is a recovery directory: the engine asks for snapshots at the end of every epoch even
    where it throws them away, and then they are left empty. `worker` is which of the `workers` this process is.
    """
    settings = pipeline.settings
    router = Router(settings)
    keys = spread([*router.names, *group_names(SITE, settings.site_groups), *group_names(INCIDENT, 1)])
    sent = Crossing(keys, workers, worker).to

    def route(item: tuple[str, Merged | None]) -> Iterable[tuple[str, Keyed]]:
        lane, merged = item
        if merged is None:
            return [(keys[name], (name, None)) for name in router.names]
        return [sent(name, piece) for name, piece in router.slices(lane, merged)]

    told: set[str] = set()
    pace, epoch = Pace(settings.lanes, pipeline.ahead), _Epoch()
    sink = _RowSink(pipeline, pace, epoch, keys.values(), workers)
    parts = sink.list_parts()

    def lane_rows(item: tuple[str, Merged | None]) -> Iterable[tuple[str, Rows | _Mark]]:
        lane, merged = item
        if merged is None:
            return []
        mark = _Mark(lane, merged.watermark_us, "" if lane in told else pipeline.run_id)
        told.add(lane)
        rows = Rows([*merged.dead, *merged.health])
        return [*((part, mark) for part in parts), *([(f"{ROWS}:{lane}", rows)] if rows else [])]

    def site_pieces(item: tuple[str, Emitted]) -> Iterable[tuple[str, Keyed]]:
        return [sent(name, piece) for name, piece in item[1].pieces]

    def incident_pieces(item: tuple[str, Emitted]) -> Iterable[tuple[str, Keyed]]:
        return [sent(name, piece) for name, piece in item[1].incidents]

    def group_rows(item: tuple[str, Emitted]) -> Iterable[tuple[str, Rows]]:
        return [(item[0], Rows(item[1].rows))] if item[1].rows else []

    beside_groups = not EVENLY % workers  # that is where slots lie
    keeper = Keeper(pipeline.watch, pipeline.increments_from if beside_groups else 0) if keeps else None

    def logic(kept: Kept | None) -> _GroupLogic:
        return _GroupLogic(pipeline, kept, keeper)

    flow = Dataflow(FLOW)
    lanes = op.input(LANES, flow, _LaneSource(pipeline, pace, epoch))
    groups = op.stateful_batch(GROUPS, op.flat_map(ROUTE, lanes, route), logic)
    sites = op.stateful_batch(SITES, op.flat_map(TO_SITES, groups, site_pieces), logic)
    said = op.merge("said", groups, sites)
    if keeper is not None:
        sink_of_slots = _SlotSink(pipeline, keeper, {name: keys[name] for name in router.names})
        op.output(SLOTS, op.flat_map(TO_SLOTS, groups, _due_slots), sink_of_slots)
    incidents = op.stateful_batch(INCIDENTS, op.flat_map(TO_INCIDENTS, said, incident_pieces), logic)
    rows = op.merge(
        "all_rows",
        op.flat_map("lane_rows", lanes, lane_rows),
        op.flat_map("group_rows", groups, group_rows),
        op.flat_map("site_rows", sites, group_rows),
        op.flat_map("incident_rows", incidents, group_rows),
    )
    op.output(ROWS, rows, sink)
    return flow


def init_recovery(recovery: Path, partitions: int) -> None:
    """Make the engine's files in a recovery directory that has none.

    Raises:
        StateError: they can't be made there.
    """
    make_parts(recovery, lambda making: init_db_dir(making, partitions))


def run_flow(pipeline: Pipeline, recovery: Path | None, epoch_us: int, cluster: Cluster = Cluster()) -> None:  # noqa: B008 - frozen
    """Run to the end of the input, or to a requested stop; with `recovery`, from where an earlier run ended.

    Raises:
        AndonError: what a lane, a group or the writer raised, as itself.
        StateError: state can't be kept, or what is kept can't be read.
        SettingsError: somebody else listens at this process's address.
        PeerLost: another process of the job has gone.
    """
    config = None
    if recovery is not None:
        init_recovery(recovery, len(pipeline.settings.lanes))
        config = RecoveryConfig(recovery)
    workers = max(1, len(cluster.addresses))
    flow = build_flow(pipeline, keeps=config is not None, workers=workers, worker=cluster.process)
    epoch = timedelta(microseconds=epoch_us)
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(1_000_000, 10, 10)
    settle_allocator()
    try:
        if len(cluster.addresses) > 1:
            addresses = list(cluster.addresses)
            cluster_main(flow, addresses, cluster.process, epoch_interval=epoch, recovery_config=config)
        else:
            run_main(flow, epoch_interval=epoch, recovery_config=config)
    except Exception as error:
        own = pipeline.stop.failure or own_error(error) or engine_refusal(error, recovery) or cluster.refusal(error)
        if own is None or own is error:
            raise
        raise own from error
    except BaseException as error:
        if type(error).__name__ != "PanicException" or len(cluster.addresses) <= 1:
            raise
        if pipeline.stop.failure is None and not pipeline.stop.requested:
            if recovery is not None:
                check_room(recovery)
            words = "another process of this job has gone; all of them stop and start together"
            raise PeerLost(words) from error
    finally:
        pipeline.stop.unmute()
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    if pipeline.stop.failure is not None:
        raise pipeline.stop.failure


def wall_clock() -> datetime:
    """Now, in UTC: the only clock of the flows."""
    return datetime.now(UTC)
