"""A series' model as its two rows of numbers (`operators/anomaly/layout.py`), and as the bytes of a snapshot, exactly.

A version byte, how many 64-bit floats there are, those, then the knots as the 32-bit floats that they are.
Little-endian.
"""

import struct
import sys
from array import array
from collections.abc import Iterable

from operators.anomaly.detector import SeriesDetector
from operators.anomaly.layout import KNOTS, NUMBERS
from operators.anomaly.season import Floats, Pool
from schemas.errors import StateError

VERSION = 1
HEAD = struct.pack("<BH", VERSION, NUMBERS)
#: The names of each part's numbers, in the order of the layout (`_parts` has the parts in the same order).
_NAMES = (
    ("mean", "deviation", "slow", "slow_scale", "fast", "fast_scale", "lean", "record", "quiet", "seen"),
    ("threshold",),
    ("last_us", "step_s", "seen"),
    ("pooled_level", "pooled_seen"),
    ("total", "count"),
    ("mean", "seen", "rising", "falling", "lowest", "highest"),
    *(("low", "high", "mean", "seen"),) * 4,
    *(("log_u", "g", "beyond", "seen"),) * 3,
)
#: Of each number, which part has it, and its name there.
_PLACES = [(at, name) for at, names in enumerate(_NAMES) for name in names]
#: Where whole numbers stand.
_WHOLE = [place for place, (_, name) in enumerate(_PLACES) if name in {"seen", "last_us", "pooled_seen", "count"}]


def numbers_of(detector: SeriesDetector) -> list[float]:
    """The model's 64-bit numbers, in the order of the layout."""
    parts = _parts(detector)
    return [getattr(parts[at], name) for at, name in _PLACES]


def filled(detector: SeriesDetector, numbers: Iterable[float]) -> SeriesDetector:
    """The model with these numbers instead of its own; as many as the layout says."""
    typed = list(numbers)
    for place in _WHOLE:
        typed[place] = int(typed[place])
    parts = _parts(detector)
    for (at, name), number in zip(_PLACES, typed, strict=True):
        setattr(parts[at], name, number)
    return detector


def pack(detector: SeriesDetector) -> bytes:
    """The model as bytes; `unpack` gives one that scores the same for ever."""
    return HEAD + struct.pack(f"<{NUMBERS}d", *numbers_of(detector)) + _bytes_of(detector.season.knots)


def parted(packed: bytes) -> tuple[bytes, bytes]:
    """The two rows of a packed model.

    Raises:
        StateError: the bytes are of another version or length.
    """
    numbers = 8 * NUMBERS
    if not packed or packed[0] != VERSION:
        found = packed[0] if packed else "nothing"
        raise StateError(f"a series model of version {found} can't be read: this one reads version {VERSION}")
    if packed[: len(HEAD)] != HEAD:
        count = int.from_bytes(packed[1:3], "little")
        raise StateError(f"a series model with {count} numbers can't be read: this one has {NUMBERS}")
    knots = packed[len(HEAD) + numbers :]
    if len(knots) != 4 * KNOTS:
        raise StateError(f"a series model with {len(knots)} bytes of knots can't be read: this version has {4 * KNOTS}")
    return packed[len(HEAD) : len(HEAD) + numbers], knots


def unpack(packed: bytes, alarms_per_week: float, pool: Pool | None = None) -> SeriesDetector:
    """The model again, under today's settings.

    Raises:
        StateError: the bytes are of another version or length.
    """
    numbers, knots = parted(packed)
    detector = SeriesDetector(alarms_per_week, pool)
    _fill(detector.season.knots, knots)
    return filled(detector, struct.unpack(f"<{NUMBERS}d", numbers))


def pack_pool(pool: Pool) -> bytes:
    """The pool as bytes."""
    return bytes([VERSION]) + _bytes_of(pool.knots)


def unpack_pool(packed: bytes) -> Pool:
    """The pool again.

    Raises:
        StateError: the bytes are of another version or length.
    """
    if not packed or packed[0] != VERSION:
        raise StateError(f"a pool of version {packed[:1].hex() or 'nothing'} can't be read: this one reads {VERSION}")
    pool = Pool()
    size = pool.knots.nbytes
    if len(packed) - 1 != size:
        raise StateError(f"a pool with {len(packed) - 1} bytes of knots can't be read: this version has {size}")
    _fill(pool.knots, packed[1:])
    return pool


def _parts(detector: SeriesDetector) -> tuple[object, ...]:
    """The objects that hold numbers, in the order in which those are kept."""
    season, drift = detector.season, detector.drift
    return (
        detector, detector.budget, detector.cadence, season, drift, drift.test, *detector.reaches, *detector.tails
    )  # fmt: skip


def _bytes_of(kept: Floats) -> bytes:
    if sys.byteorder == "little":
        return kept.tobytes()
    ordered = array("f", kept)
    ordered.byteswap()
    return ordered.tobytes()


def _fill(kept: Floats, packed: bytes) -> None:
    """The bytes, as many as there are, in the place of what is kept."""
    read = array("f", packed)
    if sys.byteorder == "big":
        read.byteswap()
    kept[:] = memoryview(read).cast("B").cast("f")
