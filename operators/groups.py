"""Key groups: the unit of state, work and recovery. Pure; the engine only hands them batches and keeps their bytes.

A lane's slices come to case groups, item groups and interface groups; what these say about sites goes on, with
their own watermarks, to site groups. Every group holds its input back until all that feed it have passed it, drops
repeats, and only then lets its operators see it (DESIGN rule: processing order is a function of the log alone).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from operators.case_plan import bucket_of, compile_plans
from operators.dealing import dealt, wanted_metrics
from operators.dedup import Dedup, duplicate_row
from operators.detectors.case_findings import COUNTED
from operators.detectors.catalogue import (
    case_detectors,
    interface_detectors,
    item_detectors,
)
from operators.detectors.events import Collected, EventDetectors
from operators.detectors.integration import Traffic
from operators.detectors.records import Scoped, bucket_key, scoped
from operators.detectors.refusals import Refusals
from operators.group_state import (
    CaseGroupState,
    Emitted,
    IncidentPiece,
    InputState,
    InterfaceGroupState,
    ItemGroupState,
    SitePiece,
    Sizes,
    decoded,
    sizes_of,
)
from operators.handoff_changes import PassChanges, SeriesKey
from operators.handoffs import HandoffTracker
from operators.incident_group import IncidentGroup
from operators.increments import Part
from operators.ordering import Reorder
from operators.pipeline import CASE, INCIDENT, INTERFACE, ITEM, SITE, PipelineSettings, group_name
from operators.routing import item_bucket
from operators.series_counts import stock_tallies
from operators.site_group import SiteGroup
from operators.slices import Slice
from operators.stock import StockReconciler
from schemas.durations import BEGIN_OF_TIME_US
from schemas.events import CONTROL_TYPES, Arrived, OrderCreated, type_name
from schemas.rows import DuplicateEvent, Row, Signal


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
        kept, dropped = self._dedup.split(released.events, released.marks)
        rows.extend(duplicate_row(arrived, first) for arrived, first in dropped)
        return kept, released.clock_us, released.ended

    @property
    def clock_us(self) -> int:
        return self._reorder.clock_us

    def parts(self) -> dict[str, Part]:
        return {"ids": self._dedup}

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
        windows = settings.handoff_windows
        self._kept_us, self._closed_us = int(windows.kept_us), BEGIN_OF_TIME_US
        self._changes = PassChanges(settings.site_groups, self._site_of, self._kept_us)
        self._handoffs = HandoffTracker(
            settings.process, lambda case_id: bucket_of(case_id, groups) == mine, self._changes
        )
        self._read = wanted_metrics(settings)
        self._detectors = EventDetectors(
            case_detectors(settings.detectors, settings.process, settings.stock.currency), self._read
        )
        self._scopes = [handoff.scope for handoff in settings.process.handoff]
        counted = [[f"{kind}:{handoff.name}" for kind in COUNTED] for handoff in settings.process.handoff]
        self._counted = [[metric for metric in metrics if metric in self._read] for metrics in counted]

    def on_batch(self, slices: Sequence[Slice]) -> Emitted:
        """Process what can be released."""
        rows: list[Row] = []
        events, clock_us, ended = self._input.take(slices, rows)
        out = self._handoffs.update(events)
        out.extend(self._handoffs.advance(clock_us))
        if ended and self._settings.close_at_us > clock_us:
            out.extend(self._handoffs.advance(self._settings.close_at_us))
        rows.extend(out)
        signals = [row for row in out if isinstance(row, Signal)]
        found = self._detectors.update(events, signals, self._settings.known_to(clock_us, ended=ended))
        if any(self._counted):
            self._count(found)
        rows.extend(found.signals)
        parts = dealt(found, self._settings.site_groups)
        pieces = [
            (group_name(SITE, index), SitePiece(self.name, clock_us, clock_us - 1, part, ended, *parts[index]))
            for index, part in enumerate(self._changes.taken())
        ]
        return Emitted(rows, pieces)

    def _site_of(self, series: SeriesKey) -> int:
        """The site group of a series: all that is said of one scope comes together in one."""
        return bucket_of(bucket_key(self._scope_of(series)), self._settings.site_groups)

    def _scope_of(self, series: SeriesKey) -> Scoped:
        handoff, value = series
        by = self._scopes[handoff]
        return scoped(**{by: value}) if by else ()

    def _count(self, found: Collected) -> None:
        """Count completed passes, among which findings about passes are counted."""
        scopes: dict[SeriesKey, Scoped] = {}
        for series, arrival_us in self._changes.completed():
            metrics = self._counted[series[0]]
            if not metrics:
                continue
            scope = scopes.get(series)
            if scope is None:
                scope = scopes[series] = self._scope_of(series)
            for metric in metrics:
                found.good(metric, scope, arrival_us)

    def parts(self) -> dict[str, Part]:
        """What can be kept apart from the rest."""
        return {**self._input.parts(), **self._handoffs.parts(), **self._detectors.parts()}

    def sizes(self) -> Sizes:
        """What is kept; cheap enough to be asked at every snapshot."""
        return sizes_of(**self._input.sizes(), handoffs=self._handoffs.sizes(), **self._detectors.sizes())

    def snapshot(self) -> bytes:
        """The whole state, compact."""
        return msgspec.msgpack.encode(
            CaseGroupState(
                self._input.snapshot(),
                self._handoffs.snapshot(),
                self._detectors.snapshot(),
                self._kept_us,
                self._closed_us,
            )
        )

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""
        kept = decoded(state, CaseGroupState)
        self._input.restore(kept.input)
        self._handoffs.restore(kept.handoffs)
        self._detectors.restore(kept.detectors)
        clock_us, self._closed_us = self._input.clock_us, kept.closed_us
        if 0 <= kept.kept_us < self._kept_us:  # as `HandoffWindows`, which is not ahead of this group
            self._closed_us = max(kept.closed_us, clock_us - kept.kept_us)
        if self._closed_us > BEGIN_OF_TIME_US and clock_us - self._closed_us < self._kept_us:
            self._handoffs.correct_within(clock_us - self._closed_us)


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
        self._detectors = EventDetectors(item_detectors(settings.detectors), wanted_metrics(settings))

    def on_batch(self, slices: Sequence[Slice]) -> Emitted:
        """Process what can be released."""
        rows: list[Row] = []
        events, clock_us, ended = self._input.take(slices, rows)
        stock: list[Row] = [*self._stock.update(events), *self._stock.advance(clock_us)]
        if ended and self._settings.close_at_us > clock_us:
            stock.extend(self._stock.advance(self._settings.close_at_us))
        signals = [row for row in stock if isinstance(row, Signal)]
        found = self._detectors.update(events, signals, self._settings.known_to(clock_us, ended=ended))
        rows.extend(stock)
        rows.extend(found.signals)
        if self._settings.models.enabled:
            found.tallies.extend(stock_tallies(stock, self._settings.stock_windows.grace_us))
        parts = dealt(found, self._settings.site_groups)
        pieces = [
            (group_name(SITE, index), SitePiece(self.name, clock_us, clock_us - 1, [], ended, *part))
            for index, part in enumerate(parts)
        ]
        return Emitted(rows, pieces)

    def parts(self) -> dict[str, Part]:
        """What can be kept apart from the rest."""
        return {**self._input.parts(), **self._stock.parts(), **self._detectors.parts()}

    def sizes(self) -> Sizes:
        """What is kept; cheap enough to be asked at every snapshot."""
        return sizes_of(**self._input.sizes(), stock=self._stock.sizes(), **self._detectors.sizes())

    def snapshot(self) -> bytes:
        """The whole state, compact."""
        return msgspec.msgpack.encode(
            ItemGroupState(self._input.snapshot(), self._stock.snapshot(), self._detectors.snapshot())
        )

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""
        kept = decoded(state, ItemGroupState)
        self._input.restore(kept.input)
        self._stock.restore(kept.stock)
        self._detectors.restore(kept.detectors)


class InterfaceGroup:
    """Events that belong to no case and no item, and dead letters: repeats are dropped, the rest is for detectors."""

    def __init__(self, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self._settings = settings
        self._input = _Input(settings)
        self._refusals = Refusals()
        self._traffic = Traffic(settings.detectors.integration)
        # Orders at capture are in a case group too where the process map knows them: repeats are on record from there.
        self._elsewhere = type_name(OrderCreated) if OrderCreated in compile_plans(settings.process) else ""
        self._detectors = EventDetectors(interface_detectors(settings.detectors), wanted_metrics(settings))

    def on_batch(self, slices: Sequence[Slice]) -> Emitted:
        """Process what can be released."""
        rows: list[Row] = []
        for piece in slices:
            self._refusals.push(piece.refused)
            if self._settings.detectors.enabled:
                self._traffic.push(piece.heard, piece.refused)
        events, clock_us, ended = self._input.take(slices, rows)
        rows = [row for row in rows if not (isinstance(row, DuplicateEvent) and row.type == self._elsewhere)]
        found = self._detectors.update(events, [], self._settings.known_to(clock_us, ended=ended))
        self._refusals.count(clock_us, found)
        self._traffic.count(clock_us, found, ended=ended)
        rows.extend(found.signals)
        pieces = [
            (group_name(SITE, index), SitePiece(self.name, clock_us, clock_us - 1, [], ended, *part))
            for index, part in enumerate(dealt(found, self._settings.site_groups))
        ]
        controls = [arrived for arrived in events if type(arrived.event) in CONTROL_TYPES]
        said = IncidentPiece(self.name, clock_us, clock_us - 1, [], controls, ended, promotions=found.promotions)
        return Emitted(rows, pieces, [(group_name(INCIDENT, 0), said)])

    def parts(self) -> dict[str, Part]:
        """What can be kept apart from the rest."""
        return {**self._input.parts(), **self._detectors.parts()}

    def sizes(self) -> Sizes:
        """What is kept; cheap enough to be asked at every snapshot."""
        return sizes_of(
            **self._input.sizes(),
            refusals=self._refusals.sizes(),
            traffic=self._traffic.sizes(),
            **self._detectors.sizes(),
        )

    def snapshot(self) -> bytes:
        """The whole state, compact."""
        return msgspec.msgpack.encode(
            InterfaceGroupState(
                self._input.snapshot(),
                self._refusals.snapshot(),
                self._traffic.snapshot(),
                self._detectors.snapshot(),
            )
        )

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""
        kept = decoded(state, InterfaceGroupState)
        self._input.restore(kept.input)
        self._refusals.restore(kept.refused)
        if self._settings.detectors.enabled:
            self._traffic.restore(kept.traffic)
        self._detectors.restore(kept.detectors)


Group: TypeAlias = CaseGroup | ItemGroup | InterfaceGroup | SiteGroup | IncidentGroup

_SPACES: dict[str, type[Group]] = {
    CASE: CaseGroup,
    ITEM: ItemGroup,
    INTERFACE: InterfaceGroup,
    SITE: SiteGroup,
    INCIDENT: IncidentGroup,
}


def make_group(name: str, settings: PipelineSettings) -> Group:
    """The group of that name."""
    return _SPACES[name.partition(":")[0]](name, settings)
