"""Numbers in packed state take as few bytes as they need."""

from collections.abc import Sequence
from math import copysign
from typing import Any

import msgspec

#: Floats up to here have whole numbers that are exactly them.
_EXACT = 1 << 53

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


def shortest(quantity: float) -> float:
    """A whole number where that is the same (and shorter), for `float` to turn back into exactly this one."""
    if not quantity:
        return quantity if copysign(1.0, quantity) < 0.0 else 0
    return int(quantity) if quantity.is_integer() and -_EXACT < quantity < _EXACT else quantity


def pack_values(values: Sequence[object]) -> bytes:
    """Values as they are, one after the other."""
    return _encode(values)


def unpack_values(packed: bytes) -> list[Any]:
    """What `pack_values` was given."""
    return _decode(packed)


def pack_joined(values: Sequence[object]) -> bytes:
    """Values to which others can be joined."""
    packed = _encode(values)
    return packed[1:] if len(values) < 16 else packed[len(_header(len(values))) :]


def joined(packed: bytes, more: Sequence[object]) -> bytes:
    """`more` after values that were joined before, without unpacking these."""
    return packed + pack_joined(more)


def unpack_joined(length: int, packed: bytes) -> list[Any]:
    """The `length` values that were joined."""
    return _decode(_header(length) + packed)


def _header(length: int) -> bytes:
    """What stands before a list of `length` values (msgpack specification, array format family)."""
    if length < 16:
        return bytes((0x90 | length,))
    if length < 1 << 16:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")
