"""State as it is kept: compressed, since it goes to a disk at every epoch's end, and with a checksum."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeAlias

from backports import zstd

from schemas.errors import StateError

#: 0.25 to 0.5 of the bytes, some 2 ms a MB; to write a MB of what is left takes the engine 13 ms. What comes back
#: is held against a checksum.
_HOW: Mapping[int, int] = {zstd.CompressionParameter.compression_level: 1, zstd.CompressionParameter.checksum_flag: 1}
_FRAME = b"\x28\xb5\x2f\xfd"
#: So many states at most wait to be compressed or are being compressed.
_UNDER_WAY = 2

#: Told of a state that is kept: the seconds it held up, and its bytes.
Told: TypeAlias = Callable[[float, int], None]


def compressed(state: bytes) -> bytes:
    """A state as it is kept."""
    return zstd.compress(state, options=_HOW)


def expanded(kept: bytes) -> bytes:
    """A state from what was kept; what was kept before states were compressed is given as it is.

    Raises:
        StateError: it is cut off, or was changed.
    """
    if not kept.startswith(_FRAME):  # MessagePack of a state begins with an array
        return kept
    try:
        return zstd.decompress(kept)
    except zstd.ZstdError as error:
        raise StateError(
            f"kept state can't be read: {error}; take the state of a backup, or start with a new recovery directory"
        ) from error


class Keeping:
    """A group's name and state while the state is compressed: to pickle it, as the engine does, waits for that."""

    def __init__(
        self, name: str, compressing: Future[bytes], spent_s: float, told: Told, also: tuple[bytes, ...]
    ) -> None:
        self._name, self._compressing, self._spent_s, self._told, self._also = name, compressing, spent_s, told, also

    def __reduce__(self) -> tuple[type[tuple[str | bytes, ...]], tuple[tuple[str | bytes, ...]]]:
        began = time.perf_counter()
        kept = self._compressing.result()
        self._told(self._spent_s + time.perf_counter() - began, len(kept))
        return tuple, ((self._name, kept, *self._also),)


class Compressor:
    """Compresses states in a thread of its own, which needs no interpreter, while the next group's state is taken.

    Memory: `_UNDER_WAY` states, beside those that are compressed and not pickled yet.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "andon-kept")
        self._room = BoundedSemaphore(_UNDER_WAY)

    def keep(self, name: str, take: Callable[[], bytes], told: Told, *also: bytes) -> Keeping:
        """Take a group's state; what is given back pickles to its name, the state as it is kept, and `also`."""
        began = time.perf_counter()
        state = take()
        self._room.acquire()
        compressing = self._thread.submit(compressed, state)
        compressing.add_done_callback(lambda _done: self._room.release())
        return Keeping(name, compressing, time.perf_counter() - began, told, also)
