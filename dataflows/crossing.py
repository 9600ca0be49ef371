"""What goes to another process of the job: bytes, made once by who sends it and read by who takes it."""

import copyreg
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from dataflows.placing import worker_of
from operators.group_state import IncidentPiece, Piece, SitePiece
from operators.slices import Slice
from schemas.rows import ROW_TYPES, Row


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A piece as bytes of MessagePack. `kind` is its place in `_KINDS`."""

    kind: int
    content: bytes


#: A piece as it comes to a key group.
Sent: TypeAlias = Piece | Packed

_KINDS: tuple[type[Piece], ...] = (Slice, SitePiece, IncidentPiece)
_KIND_OF = {kind: number for number, kind in enumerate(_KINDS)}
_READ = [msgspec.msgpack.Decoder(kind).decode for kind in _KINDS]


def packed(piece: Piece) -> Packed:
    """A piece on its way out. Cost: that of touching every object in it, most of which no cache holds any more."""
    return Packed(_KIND_OF[type(piece)], msgspec.msgpack.encode(piece))


def opened(sent: Sent) -> Piece:
    """The piece itself, wherever it came from. Its events take memory only from when their group takes them."""
    return _READ[sent.kind](sent.content) if isinstance(sent, Packed) else sent


class Crossing:
    """Sends pieces to key groups: as they are to those of this process, packed to those of others.

    The engine pickles whatever leaves a process, and does so twice, the first time to learn its length only. What is
    packed before that is walked over once, and then copied.

    Args:
        keys: the engine's key of each group, by its name.
        workers: how many processes the job has.
        worker: which of them this is.
    """

    def __init__(self, keys: Mapping[str, str], workers: int, worker: int) -> None:
        self._keys = keys
        self._here = {name for name, key in keys.items() if worker_of(key, workers) == worker}

    def to(self, name: str, piece: Piece) -> tuple[str, tuple[str, Sent]]:
        """A piece for the group `name`, as the engine takes it."""
        return self._keys[name], (name, piece if name in self._here else packed(piece))


class Rows(list[Row]):
    """Rows on their way to the sink; in another process' they go as one piece for each kind."""


# Rows that leave a process go as msgpack, not record by record.
_ROW_LISTS = [msgspec.msgpack.Decoder(list[record]) for record in ROW_TYPES]  # type: ignore[valid-type] # is one
_ROW_KINDS = {record: index for index, record in enumerate(ROW_TYPES)}


def _rows_from(parts: list[tuple[int, bytes]]) -> Rows:
    return Rows(row for kind, packed in parts for row in _ROW_LISTS[kind].decode(packed))


def _packed_rows(rows: Rows) -> tuple[object, ...]:
    apart: dict[int, list[Row]] = {}
    for row in rows:
        apart.setdefault(_ROW_KINDS[type(row)], []).append(row)
    return _rows_from, ([(kind, msgspec.msgpack.encode(some)) for kind, some in apart.items()],)


copyreg.pickle(Rows, _packed_rows)  # type: ignore[arg-type] # a reduction
