"""Key groups: the unit of state, work and recovery. Pure; the engine only hands them batches and keeps their bytes.

A lane's slices come to case groups, item groups and interface groups; what these say about sites goes on, with
their own watermarks, to site groups. Every group holds its input back until all that feed it have passed it, drops
repeats, and only then lets its operators see it (DESIGN rule: processing order is a function of the log alone).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar
from zlib import crc32

import msgspec

from operators.case_plan import EventPlan, bucket_of, compile_plans
from operators.case_state import HandoffState
from operators.dedup import Dedup, DedupState, duplicate_row
from operators.feeds import Beat, FeedBeats, FeedState, FeedWatch
from operators.findings import PassChange
from operators.handoff_windows import HandoffWindows, HandoffWindowsState
from operators.handoffs import HandoffTracker
from operators.lanes import Merged
from operators.ordering import Frontier, FrontierState, Reorder, ReorderState, Slice
from operators.process_map import ProcessMap
from operators.stock import StockReconciler, StockSettings, StockState
from operators.windows import WindowSettings
from schemas.durations import BEGIN_OF_TIME_US
from schemas.errors import StateError
from schemas.events import EVENT_TYPES, Arrived, EventBase, PoCreated, type_name
from schemas.rows import Row

T = TypeVar("T")
#: (operator, what) → how many of it are kept.
Sizes: TypeAlias = dict[tuple[str, str], int]

CASE, ITEM, INTERFACE, SITE = "case", "item", "interface", "site"


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What groups need to know; one record for all of them, the same in every process."""

    process: ProcessMap
    lanes: tuple[str, ...]
    case_groups: int
    item_groups: int
    site_groups: int
    handoff_windows: WindowSettings
    stock_windows: WindowSettings
    stock: StockSettings
    dedup_horizon_us: int
    dedup_max_ids: int
    close_at_us: int = BEGIN_OF_TIME_US

    def upstream_of_sites(self) -> list[str]:
        """The names of the groups that feed every site group."""
        return [*group_names(CASE, self.case_groups), *group_names(ITEM, self.item_groups)]


def group_names(space: str, count: int) -> list[str]:
    """`case:0000` … of a key space."""
    return [group_name(space, index) for index in range(count)]


def group_name(space: str, index: int) -> str:
    """The name of one key group; recovery hangs on it."""
    return f"{space}:{index:04d}"


class SitePiece(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one group has for one site group, and how far it has come."""

    origin: str
    watermark_us: int
    last_us: int
    changes: list[PassChange]
    beats: list[Beat]
    final: bool


class Emitted(msgspec.Struct, frozen=True, gc=False):
    """What a group gives: rows to write, and a piece for each site group."""

    rows: list[Row]
    pieces: list[tuple[str, SitePiece]]


Piece: TypeAlias = Slice | SitePiece


class _Route(msgspec.Struct, frozen=True):
    """Where events of one type go.

    Plain: to the group of the one case they name (by their own id where they name none), and to that of their item.
    Otherwise `Router.groups_of` has to look at each.
    """

    is_plain: bool
    case_field: str | None = None
    is_item: bool = False


def _route_of(record: type[EventBase], plan: EventPlan | None) -> _Route | None:
    """The route of a type, None where it belongs to no case and no item."""
    fields = plan.id_fields if plan is not None else []
    is_item = type_name(record) in _ITEM_TYPES
    if record is PoCreated or len(fields) > 1 or (plan is not None and not fields):
        return _Route(is_plain=False)
    if not fields and not is_item:
        return None
    return _Route(is_plain=True, case_field=fields[0] if fields else None, is_item=is_item)


class Router:
    """Which groups an event goes to: each of its cases' groups, its item's group, else one by its source.

    Cost: one hash per key of the event. `names` are those of all groups that lanes feed.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self._settings = settings
        self._plans = compile_plans(settings.process)
        self._names = {
            CASE: group_names(CASE, settings.case_groups),
            ITEM: group_names(ITEM, settings.item_groups),
            INTERFACE: group_names(INTERFACE, 1),
        }
        self.names = [name for names in self._names.values() for name in names]
        routes = {record: _route_of(record, self._plans.get(record)) for record in EVENT_TYPES.values()}
        self._routes = {record: route for record, route in routes.items() if route is not None}

    def slices(self, lane: str, merged: Merged) -> list[tuple[str, Slice]]:
        """A slice of a lane's output for every group: those without events too, since they carry time."""
        parts: dict[str, list[Arrived]] = {name: [] for name in self.names}
        cases, items = [parts[name] for name in self._names[CASE]], [parts[name] for name in self._names[ITEM]]
        others, routes = parts[self._names[INTERFACE][0]], self._routes
        for arrived in merged.events:
            event = arrived.event
            route = routes.get(type(event))
            if route is None:
                others.append(arrived)
            elif route.is_plain:
                if route.case_field is not None:
                    case_id = getattr(event, route.case_field) or event.event_id
                    cases[crc32(case_id.encode()) % len(cases)].append(arrived)
                if route.is_item:
                    items[crc32(f"{event.sku}\x1f{event.node}".encode()) % len(items)].append(arrived)  # type: ignore[union-attr] # of types with both
            else:
                for name in self.groups_of(event):
                    parts[name].append(arrived)
        return [
            (name, Slice(lane, merged.watermark_us, merged.last_us, events, merged.final))
            for name, events in parts.items()
        ]

    def groups_of(self, event: EventBase) -> Sequence[str]:
        """The names of the groups that `event` belongs to; at least one."""
        found: list[str] = []
        plan: EventPlan | None = self._plans.get(type(event))
        if plan is not None:
            case_names = self._names[CASE]
            for case_id in plan.case_ids(event) or (event.event_id,):
                name = case_names[bucket_of(case_id, len(case_names))]
                if name not in found:
                    found.append(name)
        node = getattr(event, "node", None)
        if node is not None:
            for sku in _skus(event):
                name = self._names[ITEM][item_bucket(sku, node, self._settings.item_groups)]
                if name not in found:
                    found.append(name)
        return found or self._names[INTERFACE]


def _skus(event: EventBase) -> Iterable[str]:
    """The items of a node that an event is about; of purchase orders all lines."""
    if isinstance(event, PoCreated):
        return [line.sku for line in event.lines or ()]
    sku = getattr(event, "sku", None)
    return (sku,) if sku is not None and event.__struct_config__.tag in _ITEM_TYPES else ()


_ITEM_TYPES = frozenset(
    {
        "inventory.level",
        "inventory.adjusted",
        "reservation.created",
        "reservation.released",
        "reservation.rejected",
        "reservation.consumed",
        "sale.recorded",
    }
)


def item_bucket(sku: str, node: str, groups: int) -> int:
    """The item group of (sku, node)."""
    return bucket_of(f"{sku}\x1f{node}", groups)


class InputState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of what every first-stage group has: order and dedup."""

    reorder: ReorderState
    dedup: DedupState


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


class CaseGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `CaseGroup`."""

    input: InputState
    handoffs: HandoffState


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


class ItemGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of an `ItemGroup`."""

    input: InputState
    stock: StockState
    beats: dict[str, int]


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


class SiteGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `SiteGroup`."""

    frontier: FrontierState
    windows: HandoffWindowsState
    feeds: FeedState


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
