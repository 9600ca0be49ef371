"""Where the engine puts a key, and keys that it spreads evenly over any usual number of workers.

The engine gives a key to worker hash(key) % workers, where the hash is that of Rust's standard library: SipHash-1-3
(Aumasson, Bernstein, 2012) under a key of zeros, over the text and a byte 255. With a few dozen key groups the luck of
the hash decides: of 16 groups it put 11 on one of two workers. So each group's key gets a suffix with which it falls
where it is wanted.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

#: Groups are dealt out evenly over as many workers as divide this.
EVENLY = 48

_MASK = (1 << 64) - 1
_BEGIN = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def worker_of(key: str, workers: int) -> int:
    """The worker to which the engine gives `key`."""
    return _siphash13(key.encode() + b"\xff") % workers


def spread(names: Iterable[str]) -> Mapping[str, str]:
    """A key for each name, such that the names are dealt out in turn; the same in every process and every run.

    Cost: some 50 hashes a name, about a millisecond.
    """
    return {name: _key_at(name, place % EVENLY) for place, name in enumerate(names)}


def beside(names: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
    """Partitions of a sink, in order, that lie where keys do, with any number of workers that divides `EVENLY`.

    The engine sorts partitions, and deals them to the workers in turn. So a partition's name begins with its number,
    and where no name is wanted there is a partition without one.

    Args:
        names: by key, what is to lie where it does.

    Returns:
        Each name by its partition's.
    """
    at: dict[int, list[str]] = {place: [] for place in range(EVENLY)}
    for key, some in names.items():
        at[worker_of(key, EVENLY)] += some
    rows = max(map(len, at.values()))
    dealt = [at[place][row] if row < len(at[place]) else "" for row in range(rows) for place in range(EVENLY)]
    width = len(str(len(dealt)))
    return {f"{number:0{width}} {name}".rstrip(): name for number, name in enumerate(dealt)}


def _key_at(name: str, place: int) -> str:
    for suffix in count():
        key = f"{name}/{suffix}"
        if worker_of(key, EVENLY) == place:
            return key
    raise AssertionError("unreachable: there is no last number")  # pragma: no cover


def _siphash13(data: bytes) -> int:
    state = _BEGIN
    whole = len(data) // 8 * 8
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    words.append((len(data) & 0xFF) << 56 | int.from_bytes(data[whole:], "little"))
    for word in words:
        a, b, c, d = _round(state[0], state[1], state[2], state[3] ^ word)
        state = (a ^ word, b, c, d)
    a, b, c, d = state
    state = (a, b, c ^ 0xFF, d)
    for _ in range(3):
        state = _round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _MASK
    b = _turned(b, 13) ^ a
    a = _turned(a, 32)
    c = (c + d) & _MASK
    d = _turned(d, 16) ^ c
    a = (a + d) & _MASK
    d = _turned(d, 21) ^ a
    c = (c + b) & _MASK
    b = _turned(b, 17) ^ c
    return a, b, _turned(c, 32), d


def _turned(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK
