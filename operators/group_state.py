"""What key groups give to each other, and what is kept of them."""

from typing import TypeAlias

import msgspec

from operators.case_state import HandoffState
from operators.dedup_state import DedupState
from operators.feed_state import Beat, FeedState
from operators.findings import PassChange
from operators.handoff_windows import HandoffWindowsState
from operators.slices import FrontierState, ReorderState, Slice
from operators.stock import StockState
from schemas.rows import Row


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


class InputState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of what every first-stage group has: order and dedup."""

    reorder: ReorderState
    dedup: DedupState


class CaseGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `CaseGroup`."""

    input: InputState
    handoffs: HandoffState


class ItemGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of an `ItemGroup`."""

    input: InputState
    stock: StockState
    beats: dict[str, dict[str, int]]


class SiteGroupState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `SiteGroup`."""

    frontier: FrontierState
    windows: HandoffWindowsState
    feeds: FeedState
