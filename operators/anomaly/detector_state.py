"""A series' model as bytes: what a snapshot keeps of it, exactly.

A version byte, the numbers as 64-bit floats, then the knots as the 32-bit floats that they are. Little-endian.
"""

import struct
import sys
from array import array

from operators.anomaly.detector import SeriesDetector
from operators.anomaly.season import Pool
from schemas.errors import StateError

VERSION = 1
_OWN = ("mean", "deviation", "slow", "slow_scale", "fast", "fast_scale", "lean", "record", "quiet", "seen")
_CADENCE = ("last_us", "step_s", "seen")
_SEASON = ("pooled_level", "pooled_seen")
_DRIFT = ("total", "count")
_TEST = ("mean", "seen", "rising", "falling", "lowest", "highest")
_REACH = ("low", "high", "mean", "seen")
_TAIL = ("log_u", "g", "beyond", "seen")
#: These are counted in whole numbers (times in microseconds stay below 2^53, where floats are exact).
_WHOLE = frozenset({"seen", "last_us", "pooled_seen", "count"})


def pack(detector: SeriesDetector) -> bytes:
    """The model as bytes; `unpack` gives one that scores the same for ever."""
    numbers = [float(getattr(part, name)) for part, names in _parts(detector) for name in names]
    head = struct.pack(f"<BH{len(numbers)}d", VERSION, len(numbers), *numbers)
    return head + _array_bytes(detector.season.arrays)


def unpack(packed: bytes, alarms_per_week: float, pool: Pool | None = None) -> SeriesDetector:
    """The model again, under today's settings.

    Raises:
        StateError: the bytes are of another version or length.
    """
    detector = SeriesDetector(alarms_per_week, pool)
    parts = [(part, name) for part, names in _parts(detector) for name in names]
    form = struct.Struct(f"<BH{len(parts)}d")
    if len(packed) < form.size or packed[0] != VERSION:
        found = packed[0] if packed else "nothing"
        raise StateError(f"a series model of version {found} can't be read: this one reads version {VERSION}")
    _, count, *numbers = form.unpack_from(packed)
    if count != len(parts):
        raise StateError(f"a series model with {count} numbers can't be read: this one has {len(parts)}")
    for (part, name), number in zip(parts, numbers, strict=True):
        setattr(part, name, int(number) if name in _WHOLE else number)
    _fill(detector.season.arrays, packed[form.size :], "series model")
    return detector


def pack_pool(pool: Pool) -> bytes:
    """The pool as bytes."""
    return bytes([VERSION]) + _array_bytes(pool.arrays)


def unpack_pool(packed: bytes) -> Pool:
    """The pool again.

    Raises:
        StateError: the bytes are of another version or length.
    """
    if not packed or packed[0] != VERSION:
        raise StateError(f"a pool of version {packed[:1].hex() or 'nothing'} can't be read: this one reads {VERSION}")
    pool = Pool()
    _fill(pool.arrays, packed[1:], "pool")
    return pool


def _parts(detector: SeriesDetector) -> list[tuple[object, tuple[str, ...]]]:
    """The objects that hold numbers, each with the names of them, in the order in which they are kept."""
    return [
        (detector, _OWN),
        (detector.budget, ("threshold",)),
        (detector.cadence, _CADENCE),
        (detector.season, _SEASON),
        (detector.drift, _DRIFT),
        (detector.drift.test, _TEST),
        *((reach, _REACH) for reach in detector.reaches),
        *((tail, _TAIL) for tail in detector.tails),
    ]


def _array_bytes(arrays: "tuple[array[float], ...]") -> bytes:
    out = b""
    for values in arrays:
        ordered = values
        if sys.byteorder == "big":
            ordered = array("f", values)
            ordered.byteswap()
        out += ordered.tobytes()
    return out


def _fill(arrays: "tuple[array[float], ...]", packed: bytes, what: str) -> None:
    if len(packed) != sum(4 * len(values) for values in arrays):
        raise StateError(f"a {what} with {len(packed)} bytes of knots can't be read: this version has others")
    start = 0
    for values in arrays:
        size = 4 * len(values)
        read = array("f", packed[start : start + size])
        if sys.byteorder == "big":
            read.byteswap()
        values[:] = read
        start += size
