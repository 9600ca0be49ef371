"""The pure pipeline with what is kept of it at the ends of epochs, as the engine keeps it, killed at any moment."""

import pickle
from collections.abc import Sequence

import msgspec

from dataflows.flow import Stop, Unwatched
from dataflows.kept_group import Keeper, Kept, KeptGroup, slot_name
from operators.group_state import Emitted, Piece
from operators.increments import Due
from operators.lane_state import PartitionState
from operators.pipeline import PipelineSettings
from operators.routing import Router
from schemas.rows import Row
from tests.harness import PurePipeline


class _Group:
    """Stands for a group of the pipeline: tells what of it is due."""

    def __init__(self, kept: KeptGroup, due: list[Due]) -> None:
        self.kept, self._due = kept, due

    def on_batch(self, pieces: Sequence[Piece]) -> Emitted:
        assert self.kept.is_there()
        emitted = self.kept.on_batch(pieces)
        self._due += emitted.due
        return emitted


class KeptPipeline(PurePipeline):
    """As `PurePipeline`; `end_epoch` keeps all of it, and `kill` goes back to what was kept last."""

    def __init__(self, partitions: dict[str, Sequence[bytes]], pipeline: PipelineSettings, batch: int) -> None:
        self.due: list[Due] = []
        self.states: dict[str, Kept] = {}
        self.slots: dict[str, Kept] = {}
        self.increments_from = 1
        self._keeper = Keeper(Unwatched(), 1)
        self._kept_rows: list[Row] = []
        self._kept_lanes: tuple[dict[str, PartitionState], set[str]] = {}, set()
        super().__init__(partitions, pipeline, batch)

    def _group(self, name: str) -> _Group:  # type: ignore[override] # what of a group the pipeline calls
        if name not in self.groups:
            kept = KeptGroup(name, self.settings, self._keeper, Stop(), self.states.get(name))
            self.groups[name] = _Group(kept, self.due)  # type: ignore[assignment]
        return self.groups[name]  # type: ignore[return-value]

    def end_epoch(self) -> None:
        """Keep everything."""
        for name, group in self.groups.items():
            self.states[name] = _kept(group.kept.snapshot())  # type: ignore[attr-defined]
        for one in self.due:
            name = slot_name(one.group, one.slot)
            self.slots[name] = _kept(self._keeper.of_slot(name, is_over=one.is_over))
        self.due.clear()
        self._kept_rows = list(self.rows)
        packed = msgspec.msgpack.encode({reader.queue.topic: reader.queue.snapshot() for reader in self._readers})
        self._kept_lanes = msgspec.msgpack.decode(packed, type=dict[str, PartitionState]), set(self._ended)

    def kill(self, settings: PipelineSettings | None = None) -> None:
        """Go on from the end of the last epoch, maybe with other settings."""
        if settings is not None:
            self.settings, self._router = settings, Router(settings)
        self._keeper = Keeper(Unwatched(), self.increments_from)
        for slot in self.slots.values():
            self._keeper.put(slot)
        self.due.clear()
        self.rows = list(self._kept_rows)
        self.groups = {}
        states, ended = self._kept_lanes
        self._open(states)
        for name in self.states:
            assert self._group(name).kept.is_there()
        assert not self._keeper.shelf
        for lane in sorted(ended):
            while lane not in self._ended:  # it says so again
                self.step(lane)

    @property
    def apart(self) -> int:
        """How many groups are kept in increments."""
        return sum(len(state) > 2 for state in self.states.values())


def _kept(pickled: object) -> Kept:
    return pickle.loads(pickle.dumps(pickled))  # type: ignore[no-any-return] # noqa: S301 - our own
