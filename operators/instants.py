"""Many moments as whole microseconds since 1970 UTC, at once."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.durations import SECOND_US, to_us

Instants = npt.NDArray[np.int64]

#: MessagePack writes a moment as an extension of type -1: whole seconds in 4 bytes, until 2514 with nanoseconds in 8.
_WHOLE, _PARTS, _TYPE = 0xD6, 0xD7, 0xFF
_SECONDS_BITS = 34


def to_us_all(moments: Iterable[datetime]) -> Instants:
    """`to_us` of each; exact.

    They are written as MessagePack and read as an array. Cost: some 15 ns a moment where all of them have a fraction of
    a second or none has (`to_us`: 200 ns), 60 ns where some do; that of `to_us` for years before 1970 and after 2514.
    """
    all_of = list(moments)
    found = _read(all_of)
    if found is None:
        parted = np.fromiter((moment.microsecond for moment in all_of), np.int64, len(all_of)) != 0
        fractions = _read([moment for moment, is_parted in zip(all_of, parted.tolist(), strict=True) if is_parted])
        wholes = _read([moment for moment, is_parted in zip(all_of, parted.tolist(), strict=True) if not is_parted])
        if fractions is None or wholes is None:
            return np.fromiter(map(to_us, all_of), np.int64, len(all_of))
        found = np.empty(len(all_of), np.int64)
        found[parted], found[~parted] = fractions, wholes
    return found


def _read(moments: list[datetime]) -> Instants | None:
    """All of them, None unless MessagePack writes all in one way.

    Their length alone does not prove it, but what the first of all begins with says where the second begins, and so on.
    """
    count = len(moments)
    packed = np.frombuffer(msgspec.msgpack.encode(moments), np.uint8)
    begin = 1 if count < 16 else 3 if count < 1 << 16 else 5
    if len(packed) == begin + 10 * count:
        each = packed[begin:].reshape(count, 10)
        if (each[:, 0] == _PARTS).all() and (each[:, 1] == _TYPE).all():
            words = each[:, 2:].copy().view(">u8")[:, 0].astype(np.int64)
            nanoseconds = words.view(np.uint64) >> np.uint64(_SECONDS_BITS)
            seconds = words & ((1 << _SECONDS_BITS) - 1)
            return seconds * SECOND_US + nanoseconds.astype(np.int64) // 1_000
    elif len(packed) == begin + 6 * count:
        each = packed[begin:].reshape(count, 6)
        if (each[:, 0] == _WHOLE).all() and (each[:, 1] == _TYPE).all():
            return each[:, 2:].copy().view(">u4")[:, 0].astype(np.int64) * SECOND_US
    return None
