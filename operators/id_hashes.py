"""Event ids as 64-bit numbers, a batch at a time: the same in every process and every run.

The words of an id are mixed one after the other by multiply and xor-shift, and the result by MurmurHash3's 64-bit
finaliser (Appleby, public domain). Two ids of a log fall together with the chance of random 64-bit numbers: among n
that are remembered, a new one meets one of them with n / 2^64.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_WORD = np.uint64(0x9E3779B97F4A7C15)
_LENGTH = np.uint64(0xC2B2AE3D27D4EB4F)
_FINAL = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
#: Of a word, the bytes that come first.
_KEPT = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
_HALF, _SHIFT = np.uint64(32), np.uint64(33)


class _Seeds(dict[str, int]):
    """A number for each source, made when it is first asked for."""

    def __missing__(self, source: str) -> int:
        digest = blake2b(source.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        seed = self[source] = int.from_bytes(digest, "little")
        return seed


class IdHasher:
    """Hash (source, id) pairs.

    Memory: one number for each source that was ever seen. Cost: some 0.1 µs a pair in a large batch, 40 µs a batch.
    """

    def __init__(self) -> None:
        self._seeds = _Seeds()

    def hashes(self, sources: Sequence[str], ids: Sequence[str]) -> Hashes:
        """One number a pair; `sources` and `ids` are of one length, which is not 0."""
        words, lengths = _words(ids)
        mixed: Hashes = np.fromiter(map(self._seeds.__getitem__, sources), np.uint64, len(ids))
        mixed ^= lengths * _LENGTH
        shortest = int(lengths.min())
        for column, word in enumerate(words):
            following = (mixed ^ word) * _WORD
            following ^= following >> _HALF
            mixed = following if shortest > 8 * column else np.where(lengths > 8 * column, following, mixed)
        for factor in _FINAL:
            mixed ^= mixed >> _SHIFT
            mixed *= factor
        mixed ^= mixed >> _SHIFT
        return mixed


def _words(ids: Sequence[str]) -> tuple[list[Hashes], Hashes]:
    """The ids' bytes as words of 8, a column each, filled up with zeros; and how many bytes each has.

    All of them are written one behind the other, and words are read from where each begins.
    """
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    text = "".join(ids)
    if text.isascii():
        packed = text.encode()
    else:
        each = [one.encode("utf-8", "surrogatepass") for one in ids]
        lengths = np.fromiter(map(len, each), np.int64, len(ids))
        packed = b"".join(each)
    width = max(1, -(-int(lengths.max()) // 8))
    buffer = packed + bytes(8 * width)
    at_each_byte = np.ndarray((len(packed) + 8 * width - 7,), "<u8", buffer, strides=(1,))
    begins = np.cumsum(lengths)
    begins -= lengths
    words = [at_each_byte[begins] & _KEPT[np.minimum(lengths, 8)]]
    for done in range(8, 8 * width, 8):
        left = np.maximum(np.minimum(lengths - done, 8), 0)
        words.append(at_each_byte[begins + done] & _KEPT[left])
    return words, lengths.view(np.uint64)
