"""How a broker loses its clients, done by a `TcpProxy` before it (as its `changes`)."""

import struct
from collections.abc import Iterator

from tests.tcp_proxy import Change

_METADATA = 3
#: From this version on `Metadata` has compact arrays and texts, and tagged fields.
_FLEXIBLE = 9


class Fencing:
    """The broker answers all it is asked, and says that there is no broker.

    Apache Kafka does so when its controller takes a broker for dead, or in a rolling upgrade: an answer to `Metadata`
    with topics and without brokers. How long that lasts is not ours to say there; here it is.

    Attributes:
        hides: answers to `Metadata` say that there is no broker.
        hidden: how many did.
    """

    def __init__(self) -> None:
        self.hides = False
        self.hidden = 0

    def __call__(self) -> tuple[Change, Change]:
        """For one connection."""
        versions: dict[int, int] = {}  # of requests for `Metadata`, by what their answers begin with

        def asked(message: bytes) -> bytes:
            kind, version, number = struct.unpack_from(">hhi", message)
            if kind == _METADATA:
                versions[number] = version
            return message

        def answered(message: bytes) -> bytes:
            version = versions.pop(struct.unpack_from(">i", message)[0], None)
            if version is None or not self.hides:
                return message
            self.hidden += 1
            return without_brokers(message, version)

        return _framed(asked), _framed(answered)


def without_brokers(answer: bytes, version: int) -> bytes:
    """An answer to `Metadata` (protocol of Apache Kafka, message `MetadataResponse`) whose list of brokers is empty."""
    at = 4 + (version >= _FLEXIBLE) + 4 * (version >= 3)  # the request's number, no tagged field, how long to wait
    head = answer[:at]
    if version >= _FLEXIBLE:
        count, at = _varint(answer, at)
        for _ in range(count - 1):
            at = _skip_compact(answer, at + 4)  # number, host
            at = _skip_compact(answer, at + 4)  # port, rack
            at += 1  # no tagged field
        return head + b"\x01" + answer[at:]
    (count,) = struct.unpack_from(">i", answer, at)
    at += 4
    for _ in range(count):
        at += 4
        at += 2 + struct.unpack_from(">h", answer, at)[0] + 4
        if version >= 1:
            at += 2 + max(0, struct.unpack_from(">h", answer, at)[0])
    return head + bytes(4) + answer[at:]


def _framed(change: Change) -> Change:
    """Of pieces as they come, each message as a whole, without its length, through `change`."""
    held = bytearray()

    def messages() -> Iterator[bytes]:
        while len(held) >= 4 and len(held) >= 4 + (length := int.from_bytes(held[:4])):
            message = bytes(held[4 : 4 + length])
            del held[: 4 + length]
            yield message

    def passed(piece: bytes) -> bytes:
        held.extend(piece)
        return b"".join(len(made).to_bytes(4) + made for made in map(change, messages()))

    return passed


def _varint(text: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = text[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _skip_compact(text: bytes, at: int) -> int:
    length, at = _varint(text, at)
    return at + max(0, length - 1)


class Muting:
    """The network has lost connections, and neither end has heard of it; new ones are like any other."""

    def __init__(self) -> None:
        self._muted: set[int] = set()
        self._made = 0

    def __call__(self) -> tuple[Change, Change]:
        """For one connection."""
        number = self._made
        self._made += 1

        def passed(piece: bytes) -> bytes:
            return b"" if number in self._muted else piece

        return passed, passed

    def mute(self) -> None:
        """All that there are."""
        self._muted.update(range(self._made))
