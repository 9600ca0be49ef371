"""What key groups give to each other, and what is kept of them."""

from collections.abc import Mapping
from typing import TypeAlias, TypeVar

import msgspec

from operators.alerting.state import AlertingState
from operators.case_state import HandoffState
from operators.dedup_state import DedupState
from operators.detectors.events import Counted, EventDetectorsState
from operators.detectors.integration import TrafficState
from operators.detectors.readiness import ItemReady, PromotionAsked
from operators.detectors.records import ScopeFinding, Tally
from operators.detectors.scopes import ScopeDetectorsState
from operators.handoff_changes import PassRun
from operators.handoff_windows import HandoffWindowsState
from operators.incidents.paces import Pace
from operators.incidents.state import IncidentsState
from operators.increments import Due
from operators.promotions import PromotionsState
from operators.sequence_doubts import DoubtsState
from operators.series_counts import SeriesCountsState
from operators.series_points import WindowPoint
from operators.series_scores import SeriesScoresState
from operators.slices import FrontierState, Refused, ReorderState, Slice
from operators.stock import StockState
from schemas.durations import BEGIN_OF_TIME_US
from schemas.errors import StateError
from schemas.events import Arrived
from schemas.rows import Row

T = TypeVar("T")
#: (operator, what) → how many of it are kept.
Sizes: TypeAlias = dict[tuple[str, str], int]


class SitePiece(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one group has for one site group, and how far it has come."""

    origin: str
    watermark_us: int
    last_us: int
    changes: list[PassRun]
    final: bool
    tallies: list[Tally] = []
    counts: list[Counted] = []


class IncidentPiece(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one group has for the incidents, and how far it has come.

    `moves` say where orders stand that findings named, or may name; `paces` how long handoffs on their way take;
    `promotions` were asked about, and `items` have answered.
    """

    origin: str
    watermark_us: int
    last_us: int
    findings: list[ScopeFinding]
    controls: list[Arrived]
    final: bool
    points: list[WindowPoint] = []
    moves: list[Tally] = []
    paces: list[Pace] = []
    promotions: list[PromotionAsked] = []
    items: list[ItemReady] = []


class Emitted(msgspec.Struct, frozen=True, gc=False):
    """What a group gives: rows to write, a piece for each site group, one for the incidents; and what of it is due."""

    rows: list[Row]
    pieces: list[tuple[str, SitePiece]]
    incidents: list[tuple[str, IncidentPiece]] = []
    due: list[Due] = []


Piece: TypeAlias = Slice | SitePiece | IncidentPiece


class InputState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of what every first-stage group has: order and dedup."""

    reorder: ReorderState
    dedup: DedupState


class CaseGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `CaseGroup`.

    Windows could be corrected for `kept_us` (-1 in states of before); those that ended before `closed_us` no longer
    can.
    """

    input: InputState
    handoffs: HandoffState
    detectors: EventDetectorsState
    kept_us: int = -1
    closed_us: int = BEGIN_OF_TIME_US


class ItemGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of an `ItemGroup`."""

    input: InputState
    stock: StockState
    detectors: EventDetectorsState


class InterfaceGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of an `InterfaceGroup`."""

    input: InputState
    refused: list[Refused]
    traffic: TrafficState
    detectors: EventDetectorsState


class SiteGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `SiteGroup`."""

    frontier: FrontierState
    windows: HandoffWindowsState
    detectors: ScopeDetectorsState
    counts: SeriesCountsState | None = None
    moves: list[Tally] = []
    doubts: DoubtsState | None = None


class IncidentGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of an `IncidentGroup`."""

    frontier: FrontierState
    held: list[IncidentPiece]
    incidents: IncidentsState
    alerting: AlertingState
    scores: SeriesScoresState | None = None
    promotions: PromotionsState | None = None


def sizes_of(**operators: Mapping[str, int]) -> Sizes:
    """What each operator keeps, in one table."""
    return {(name, what): count for name, sizes in operators.items() for what, count in sizes.items()}


def decoded(state: bytes, kind: type[T]) -> T:
    """A group's snapshot.

    Raises:
        StateError: it is of another version of Andon.
    """
    try:
        return msgspec.msgpack.decode(state, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StateError(
            f"a snapshot can't be read as {kind.__name__}: {error}; it was kept by another version of Andon: "
            "finish with that version, or start with a new recovery directory"
        ) from error
