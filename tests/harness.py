"""Driving the pure pipeline without an engine: partitions in memory, any cut of the work, kept and restored at will."""

from collections.abc import Sequence
from functools import cache

import msgspec

from operators.group_state import IncidentPiece, SitePiece
from operators.groups import Group, make_group
from operators.lane_state import PartitionState, Reads, TimeRules
from operators.lanes import LaneMerge
from operators.partitions import PartitionQueue
from operators.pipeline import INCIDENT, PipelineSettings, group_name
from operators.process_lint import read_process_map
from operators.process_map import ProcessMap
from operators.routing import Router
from operators.slices import Slice
from operators.stock import StockSettings
from operators.windows import WindowSettings
from schemas.decode import EventDecoder
from schemas.durations import BEGIN_OF_TIME_US, DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, Instant
from schemas.rows import HandoffPass, HandoffWindow, Row, Signal, StockWindow

START_US = Instant.parse("2026-03-02T06:00:00Z")

MAP = """
name = "small"
window = "1m"
[case.order_id]
begins_with = [{type = "order.created"}]
cancelled_by = [{type = "order.cancelled"}]
retention = "2h"
abandon_after = "6h"
[[handoff]]
name = "approval"
case = "order_id"
start = {type = "order.created"}
end = {type = "order.approved"}
deadline = "3m"
target = "1m"
scope = "channel"
sequence_grace = "1m"
repeat = "flag"
[[handoff]]
name = "allocation"
case = "order_id"
start = {type = "order.approved"}
end = {type = "order.allocated"}
deadline = "5m"
scope = "node"
sequence_grace = "1m"
requires = ["approval"]
[[handoff]]
name = "promise"
case = "order_id"
start = {type = "order.created"}
end = {type = "shipment.delivered"}
deadline_at = {field = "promised_at"}
[[handoff]]
name = "pick"
case = "order_id"
per = ["task_id"]
start = {type = "task.queued", where = {task_type = "pick"}}
end = {type = "task.completed", where = {task_type = "pick"}}
deadline = "4m"
scope = "node"
[[forbidden]]
name = "allocated_after_cancel"
case = "order_id"
event = {type = "order.allocated"}
after = {type = "order.cancelled"}
[[exception]]
name = "pick_rejected"
event = {type = "task.rejected"}
scope = "node"
"""


@cache  # reading it takes longer than most logs of a property do
def small_map() -> ProcessMap:
    declared = read_process_map(MAP, "small.toml")
    assert declared.value is not None, declared.problems
    return declared.value


def settings(
    *,
    lanes: int = 1,
    groups: int = 1,
    close_at_us: int = BEGIN_OF_TIME_US,
    retention_us: int = DAY_US,
    slide_us: int = MINUTE_US,
) -> PipelineSettings:
    return PipelineSettings(
        process=small_map(),
        lanes=tuple(f"lane-{index}" for index in range(lanes)),
        case_groups=groups,
        item_groups=groups,
        site_groups=groups,
        handoff_windows=WindowSettings(
            2 * slide_us if slide_us < MINUTE_US else MINUTE_US, slide_us, 5 * SECOND_US, retention_us
        ),
        stock_windows=WindowSettings(MINUTE_US, MINUTE_US, 5 * SECOND_US, retention_us),
        stock=StockSettings(
            settle=Duration(2 * MINUTE_US),
            oversell_settle=Duration(MINUTE_US),
        ),
        dedup_horizon_us=HOUR_US,
        dedup_max_ids=10_000,
        close_at_us=close_at_us,
    )


class MemoryReader:
    """A partition that is a list of messages; positions are indexes."""

    def __init__(self, topic: str, messages: Sequence[bytes], resume: PartitionState | None = None) -> None:
        self.queue = PartitionQueue(topic, 0, TimeRules())
        if resume is not None:
            self.queue.restore(resume)
        self._messages = messages
        self._decoder = EventDecoder()
        self._at = self.queue.position

    def fetch(self, count: int) -> None:
        raws = list(self._messages[self._at : self._at + count])
        decoded = self._decoder.decode(raws)
        positions = list(range(self._at, self._at + len(raws)))
        reads = Reads([at + 1 for at in positions], positions, raws, decoded)
        self._at += len(raws)
        self.queue.read_to(self._at, self._at)
        self.queue.add(reads, ended=self._at >= len(self._messages))


class PurePipeline:
    """Lanes, groups and site groups in one process, advanced lane by lane."""

    def __init__(self, partitions: dict[str, Sequence[bytes]], pipeline: PipelineSettings, batch: int) -> None:
        self.settings = pipeline
        self._batch = batch
        self._partitions = partitions
        self._router = Router(pipeline)
        self.rows: list[Row] = []
        self.groups: dict[str, Group] = {}
        self._open({})

    def _open(self, states: dict[str, PartitionState]) -> None:
        self._lanes: dict[str, tuple[LaneMerge, dict[int, MemoryReader]]] = {}
        self._readers: list[MemoryReader] = []
        for index, lane in enumerate(self.settings.lanes):
            mine = sorted(self._partitions)[index :: len(self.settings.lanes)]
            readers = [MemoryReader(topic, self._partitions[topic], states.get(topic)) for topic in mine]
            self._readers.extend(readers)
            self._lanes[lane] = (LaneMerge([r.queue for r in readers]), {id(r.queue): r for r in readers})
        self._ended: set[str] = set()

    def step(self, lane: str) -> None:
        """Read and process one batch of one lane."""
        merge, readers = self._lanes[lane]
        if lane in self._ended:
            return
        for queue in merge.wanting():
            before = queue.horizon_us
            while queue.horizon_us == before and not queue.ended:  # a kill after every step must not stop all progress
                readers[id(queue)].fetch(self._batch)
        merged = merge.release()
        if merged is None:
            return
        if merged.final:
            self._ended.add(lane)
        self.rows.extend(merged.dead)
        self.rows.extend(merged.health)
        pieces: dict[str, list[SitePiece]] = {}
        incidents: list[IncidentPiece] = []
        for name, piece in self._router.slices(lane, merged):
            emitted = self._group(name).on_batch([piece])
            self.rows.extend(emitted.rows)
            for site, site_piece in emitted.pieces:
                pieces.setdefault(site, []).append(site_piece)
            incidents.extend(part for _, part in emitted.incidents)
        for site, parts in pieces.items():
            emitted = self._group(site).on_batch(parts)
            self.rows.extend(emitted.rows)
            incidents.extend(part for _, part in emitted.incidents)
        self.rows.extend(self._group(group_name(INCIDENT, 0)).on_batch(incidents).rows)

    def _group(self, name: str) -> Group:
        if name not in self.groups:
            self.groups[name] = make_group(name, self.settings)
        return self.groups[name]

    @property
    def ended(self) -> bool:
        return len(self._ended) == len(self.settings.lanes)

    def run(self) -> list[Row]:
        while not self.ended:
            for lane in self.settings.lanes:
                self.step(lane)
        return self.rows

    def keep_and_restore(self, settings: PipelineSettings | None = None) -> None:
        """As if the process had been killed right after a snapshot, and resumed, maybe with other settings."""
        kept = {name: group.snapshot() for name, group in self.groups.items()}
        states = {
            reader.queue.topic: msgspec.msgpack.decode(
                msgspec.msgpack.encode(reader.queue.snapshot()), type=PartitionState
            )
            for reader in self._readers
        }
        ended = set(self._ended)
        if settings is not None:
            self.settings, self._router = settings, Router(settings)
        self._open(states)
        self.groups = {}
        for name, state in kept.items():
            self._group(name).restore(state)
        for lane in sorted(ended):
            while lane not in self._ended:  # it says so again
                self.step(lane)


def encoded(rows: Sequence[Row]) -> list[bytes]:
    """All rows, byte for byte, in an order that does not depend on how the work was cut."""
    return sorted(type(row).__name__.encode() + msgspec.msgpack.encode(row) for row in rows)


def final(rows: Sequence[Row], kind: type[Row]) -> dict[tuple[object, ...], Row]:
    """The row with the highest version of each key."""
    out: dict[tuple[object, ...], Row] = {}
    for row in rows:
        if isinstance(row, kind):
            key = key_of(row)
            if key not in out or out[key].version <= row.version:  # type: ignore[union-attr] # kinds with versions only
                out[key] = row
    return out


def key_of(row: Row) -> tuple[object, ...]:
    """The deterministic key of a row."""
    if isinstance(row, HandoffPass):
        return (row.handoff, row.case_id, row.pass_key)
    if isinstance(row, HandoffWindow):
        return (row.handoff, row.scope, row.window_end_us)
    if isinstance(row, StockWindow):
        return (row.sku, row.node, row.window_end_us)
    assert isinstance(row, Signal)
    return (row.signal_id,)


__all__ = [
    "START_US",
    "MemoryReader",
    "PurePipeline",
    "Slice",
    "encoded",
    "final",
    "key_of",
    "settings",
    "small_map",
]
