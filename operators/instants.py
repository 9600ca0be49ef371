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
_HALF = np.uint64(32)


def to_us_all(moments: Iterable[datetime]) -> Instants:
    """`to_us` of each; exact.

    They are written as MessagePack and read as an array. Cost: some 20 ns a moment where all of them have a fraction of
    a second or none has (`to_us`: 200 ns), 50 ns where few have none, 160 ns where half have; that of `to_us` for years
    before 1970 and after 2514.
    """
    all_of = list(moments)
    found = _read(all_of)
    return np.fromiter(map(to_us, all_of), np.int64, len(all_of)) if found is None else found


def _read(moments: list[datetime]) -> Instants | None:
    """All of them, None unless MessagePack writes each in one of the two ways.

    Their length alone does not prove it, but what the first of all begins with says where the second begins, and so on.
    """
    count = len(moments)
    packed = msgspec.msgpack.encode(moments)
    begin = 1 if count < 16 else 3 if count < 1 << 16 else 5
    if len(packed) == begin + 10 * count:
        each = np.frombuffer(packed, np.uint8)[begin:].reshape(count, 10)
        if (each[:, 0] == _PARTS).all() and (each[:, 1] == _TYPE).all():
            return _of_parts(each[:, 2:].copy().view(">u8")[:, 0].astype(np.int64))
    elif len(packed) == begin + 6 * count:
        each = np.frombuffer(packed, np.uint8)[begin:].reshape(count, 6)
        if (each[:, 0] == _WHOLE).all() and (each[:, 1] == _TYPE).all():
            return each[:, 2:].copy().view(">u4")[:, 0].astype(np.int64) * SECOND_US
    else:
        return _read_mixed(packed, begin, count)
    return None


def _read_mixed(packed: bytes, begin: int, count: int) -> Instants | None:
    """The same where some have a fraction of a second."""
    each = np.frombuffer(packed, np.uint8)
    parted = _parted(each[begin:], count)
    ends = begin + np.cumsum(np.where(parted, 10, 6))
    if ends[-1] != len(packed):
        return None
    begins = np.append(begin, ends[:-1])
    if (each[begins] != np.where(parted, _PARTS, _WHOLE)).any() or (each[begins + 1] != _TYPE).any():
        return None
    at_each_byte = np.ndarray((len(packed),), ">u8", packed + bytes(7), strides=(1,))
    words = at_each_byte[begins + 2].astype(np.uint64)
    wholes = (words >> _HALF).astype(np.int64) * SECOND_US
    return np.where(parted, _of_parts(words.view(np.int64)), wholes)


def _parted(each: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.bool_]:
    """Which of them have a fraction, if all are written in one of the two ways.

    A whole second is wherever it seems to begin and a number of moments with fractions fits in before it.
    """
    parted = np.ones(count, np.bool_)
    number = at = 0
    for found in np.flatnonzero((each[:-1] == _WHOLE) & (each[1:] == _TYPE)).tolist():
        fitting, left = divmod(found - at, 10)
        if left == 0 and number + fitting < count:
            parted[number + fitting] = False
            number, at = number + fitting + 1, found + 6
    return parted


def _of_parts(words: Instants) -> Instants:
    """Of nanoseconds in the upper bits and seconds in the others."""
    nanoseconds = words.view(np.uint64) >> np.uint64(_SECONDS_BITS)
    return (words & ((1 << _SECONDS_BITS) - 1)) * SECOND_US + nanoseconds.astype(np.int64) // 1_000
