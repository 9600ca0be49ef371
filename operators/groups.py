"""Key groups: the unit of state, work and recovery. Pure; the engine only hands them batches and keeps their bytes.

A lane's slices come to case groups, item groups and interface groups; what these say about sites goes on, with
their own watermarks, to site groups. Every group holds its input back until all that feed it have passed it, drops
repeats, and only then lets its operators see it (DESIGN rule: processing order is a function of the log alone).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import msgspec

from operators.case_plan import bucket_of
from operators.dedup import Dedup, duplicate_row
from operators.feed_state import Beat
from operators.feeds import FeedBeats, FeedWatch
from operators.findings import PassChange
from operators.group_state import CaseGroupState, Emitted, InputState, ItemGroupState, SiteGroupState, SitePiece
from operators.handoff_windows import HandoffWindows
from operators.handoffs import HandoffTracker
from operators.ordering import Frontier, Reorder
from operators.pipeline import CASE, INTERFACE, ITEM, SITE, PipelineSettings, group_name
from operators.routing import item_bucket
from operators.slices import Slice
from operators.stock import StockReconciler
from schemas.errors import StateError
from schemas.events import Arrived
from schemas.rows import Row

T = TypeVar("T")
#: (operator, what) → how many of it are kept.
Sizes: TypeAlias = dict[tuple[str, str], int]


class _Input:
    """Order, then dedup."""

    def __init__(self, settings: PipelineSettings) -> None:
        self._reorder = Reorder(settings.lanes)
        self._dedup = Dedup(settings.dedup_horizon_us, settings.dedup_max_ids)

    def take(self, slices: Iterable[Slice], rows: list[Row]) -> tuple[list[Arrived], int, bool]:
        """Events to be processed, how far time has come after them, and whether the input has ended."""
        for piece in slices:
            self._reorder.push(piece)
        released = self._reorder.release()
        kept, dropped = self._dedup.split(released.events)
        rows.extend(duplicate_row(arrived, first) for arrived, first in dropped)
        return kept, released.clock_us, released.ended

    def sizes(self) -> dict[str, Mapping[str, int]]:
        return {"order": self._reorder.sizes(), "dedup": self._dedup.sizes()}

    def snapshot(self) -> InputState:
        return InputState(self._reorder.snapshot(), self._dedup.snapshot())

    def restore(self, state: InputState) -> None:
        self._reorder.restore(state.reorder)
        self._dedup.restore(state.dedup)


class CaseGroup:
    """Cases of one key group through the process map."""

    def __init__(self, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self._settings = settings
        self._input = _Input(settings)
        groups, mine = settings.case_groups, int(name.rpartition(":")[2])
        self._handoffs = HandoffTracker(settings.process, lambda case_id: bucket_of(case_id, groups) == mine)

    def on_batch(self, slices: Sequence[Slice]) -> Emitted:
        """Process what can be released."""
        rows: list[Row] = []
        events, clock_us, ended = self._input.take(slices, rows)
        out = self._handoffs.update(events)
        out.extend(self._handoffs.advance(clock_us))
        if ended and self._settings.close_at_us > clock_us:
            out.extend(self._handoffs.advance(self._settings.close_at_us))
        changes: list[list[PassChange]] = [[] for _ in range(self._settings.site_groups)]
        for item in out:
            if isinstance(item, PassChange):
                handoff = self._settings.process.handoff[item.handoff].name
                changes[bucket_of(f"{handoff}\x1f{item.scope}", self._settings.site_groups)].append(item)
            else:
                rows.append(item)
        pieces = [
            (group_name(SITE, index), SitePiece(self.name, clock_us, clock_us - 1, part, [], ended))
            for index, part in enumerate(changes)
        ]
        return Emitted(rows, pieces)

    def sizes(self) -> Sizes:
        """What is kept; cheap enough to be asked at every snapshot."""
        return _sizes(**self._input.sizes(), handoffs=self._handoffs.sizes())

    def snapshot(self) -> bytes:
        """The whole state, compact."""
        return msgspec.msgpack.encode(CaseGroupState(self._input.snapshot(), self._handoffs.snapshot()))

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""
        kept = _decoded(state, CaseGroupState)
        self._input.restore(kept.input)
        self._handoffs.restore(kept.handoffs)


class ItemGroup:
    """Items of one key group in all systems."""

    def __init__(self, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self._settings = settings
        self._input = _Input(settings)
        groups, mine = settings.item_groups, int(name.rpartition(":")[2])
        self._stock = StockReconciler(
            settings.stock, settings.stock_windows, lambda sku, node: item_bucket(sku, node, groups) == mine
        )
        self._beats = FeedBeats(settings.stock.stale_after)

    def on_batch(self, slices: Sequence[Slice]) -> Emitted:
        """Process what can be released."""
        rows: list[Row] = []
        events, clock_us, ended = self._input.take(slices, rows)
        rows.extend(self._stock.update(events))
        rows.extend(self._stock.advance(clock_us))
        if ended and self._settings.close_at_us > clock_us:
            rows.extend(self._stock.advance(self._settings.close_at_us))
        beats: list[list[Beat]] = [[] for _ in range(self._settings.site_groups)]
        for beat in self._beats.update(events):
            beats[bucket_of(beat.node, self._settings.site_groups)].append(beat)
        pieces = [
            (group_name(SITE, index), SitePiece(self.name, clock_us, clock_us - 1, [], part, ended))
            for index, part in enumerate(beats)
        ]
        return Emitted(rows, pieces)

    def sizes(self) -> Sizes:
        """What is kept; cheap enough to be asked at every snapshot."""
        return _sizes(**self._input.sizes(), stock=self._stock.sizes(), feed_beats=self._beats.sizes())

    def snapshot(self) -> bytes:
        """The whole state, compact."""
        return msgspec.msgpack.encode(
            ItemGroupState(self._input.snapshot(), self._stock.snapshot(), self._beats.snapshot())
        )

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""
        kept = _decoded(state, ItemGroupState)
        self._input.restore(kept.input)
        self._stock.restore(kept.stock)
        self._beats.restore(kept.beats)


class InterfaceGroup:
    """Events that belong to no case and no item: repeats are dropped and kept on record."""

    def __init__(self, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self._input = _Input(settings)

    def on_batch(self, slices: Sequence[Slice]) -> Emitted:
        """Process what can be released."""
        rows: list[Row] = []
        self._input.take(slices, rows)
        return Emitted(rows, [])

    def sizes(self) -> Sizes:
        """What is kept; cheap enough to be asked at every snapshot."""
        return _sizes(**self._input.sizes())

    def snapshot(self) -> bytes:
        """The whole state, compact."""
        return msgspec.msgpack.encode(self._input.snapshot())

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""
        self._input.restore(_decoded(state, InputState))


class SiteGroup:
    """Windows per handoff and scope, and stock feeds per node."""

    def __init__(self, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self._settings = settings
        self._frontier = Frontier(settings.upstream_of_sites())
        self._windows = HandoffWindows(settings.process.handoff, settings.handoff_windows)
        self._feeds = FeedWatch(settings.stock.stale_after)

    def on_batch(self, pieces: Sequence[SitePiece]) -> Emitted:
        """Process what all upstream groups have passed."""
        before = self._frontier.watermark_us
        for piece in pieces:
            self._frontier.push(piece.origin, piece.watermark_us, piece.last_us, final=piece.final)
            self._windows.update(piece.changes)
            self._feeds.update(piece.beats)
        if self._frontier.watermark_us <= before:
            return Emitted([], [])
        clock_us = self._frontier.clock_us
        rows: list[Row] = [*self._windows.advance(clock_us), *self._feeds.advance(clock_us)]
        if self._frontier.ended and self._settings.close_at_us > clock_us:
            rows.extend(self._windows.advance(self._settings.close_at_us))
            rows.extend(self._feeds.advance(self._settings.close_at_us))
        return Emitted(rows, [])

    def sizes(self) -> Sizes:
        """What is kept; cheap enough to be asked at every snapshot."""
        return _sizes(handoff_windows=self._windows.sizes(), feeds=self._feeds.sizes())

    def snapshot(self) -> bytes:
        """The whole state, compact."""
        return msgspec.msgpack.encode(
            SiteGroupState(self._frontier.snapshot(), self._windows.snapshot(), self._feeds.snapshot())
        )

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""
        kept = _decoded(state, SiteGroupState)
        self._frontier.restore(kept.frontier)
        self._windows.restore(kept.windows)
        self._feeds.restore(kept.feeds)


Group: TypeAlias = CaseGroup | ItemGroup | InterfaceGroup | SiteGroup

_SPACES: dict[str, type[Group]] = {CASE: CaseGroup, ITEM: ItemGroup, INTERFACE: InterfaceGroup, SITE: SiteGroup}


def make_group(name: str, settings: PipelineSettings) -> Group:
    """The group of that name."""
    return _SPACES[name.partition(":")[0]](name, settings)


def _sizes(**operators: Mapping[str, int]) -> Sizes:
    return {(name, what): count for name, sizes in operators.items() for what, count in sizes.items()}


def _decoded(state: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(state, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StateError(
            f"a snapshot can't be read as {kind.__name__}: {error}; it was kept by another version of Andon: "
            "finish with that version, or start with a new recovery directory"
        ) from error
