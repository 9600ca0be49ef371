"""Bodies that fit: what a receiver's limit does not take is cut, and stays valid JSON."""

from typing import Any

import msgspec

#: What a body may have where its receiver says nothing.
LARGEST_BODY = 1 << 20
_CUT = "…"
_MOST = 65_536


def cut(text: str, longest: int) -> str:
    """`text` in at most `longest` characters, with a mark where it was longer."""
    return text if len(text) <= longest else text[: max(longest - 1, 0)] + _CUT


def fitted(document: dict[str, Any] | list[dict[str, Any]], details: dict[str, Any], largest: int) -> bytes:
    """`document` as JSON of at most `largest` bytes.

    `details` is the part of it that may be cut, in place: its texts to so many characters, its lists and tables to so
    many entries, both halved until the whole fits. It then says `truncated`. Cost: 17 rounds over it at worst.

    Raises:
        ValueError: it does not fit even with nothing left there.
    """
    body = msgspec.json.encode(document)
    size = len(body)
    most = _MOST
    while len(body) > largest:
        if not details:
            raise ValueError(f"the body has {size} bytes, the receiver takes {largest}")
        shorter = {name: _shortened(value, most) for name, value in list(details.items())[:most]} if most else {}
        details.clear()
        details.update(shorter)
        if most:
            details["truncated"] = "true"
        most //= 2
        body = msgspec.json.encode(document)
    return body


def _shortened(value: object, most: int) -> object:
    if isinstance(value, str):
        return cut(value, most)
    if isinstance(value, list):
        return [_shortened(one, most) for one in value[:most]]
    if isinstance(value, dict):
        return {name: _shortened(one, most) for name, one in list(value.items())[:most]}
    return value
