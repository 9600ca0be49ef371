"""Messages that are lines of one text, each cut out only when it is asked for."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

_OPEN, _CLOSE = b"{}"

#: Where something stands, in bytes.
Places = npt.NDArray[np.int64]


class Lines(Sequence[bytes]):
    """Lines of `text` in order, without what surrounds them: each from its place in `begins` to that in `ends`.

    Memory: the text, and 16 bytes a line.
    """

    __slots__ = ("begins", "ends", "text")

    def __init__(self, text: bytes, begins: Places, ends: Places) -> None:
        self.text, self.begins, self.ends = text, begins, ends

    def __len__(self) -> int:
        return len(self.begins)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> "Lines": ...
    def __getitem__(self, index: int | slice) -> "bytes | Lines":
        if isinstance(index, slice):
            return Lines(self.text, self.begins[index], self.ends[index])
        return self.text[self.begins[index] : self.ends[index]]

    def __iter__(self) -> Iterator[bytes]:
        text = self.text
        return iter([text[begin:end] for begin, end in zip(self.begins.tolist(), self.ends.tolist(), strict=True)])

    @property
    def sizes(self) -> Places:
        """How many bytes each has."""
        return self.ends - self.begins

    def longer(self, size: int) -> list[int]:
        """Which have more bytes than that."""
        return np.flatnonzero(self.sizes > size).tolist()

    def no_objects(self) -> list[int]:
        """Which do not begin and end as a JSON object does."""
        text = np.frombuffer(self.text, np.uint8)
        return np.flatnonzero((text[self.begins] != _OPEN) | (text[self.ends - 1] != _CLOSE)).tolist()

    def span(self) -> bytes:
        """The text from the first to the last of them."""
        return self.text[self.begins[0] : self.ends[-1]] if len(self) else b""

    def chunks(self, count: int) -> list[tuple[int, int, int]]:
        """So many after so many: where they begin and end in the text, and their number."""
        begins, lasts = self.begins[::count].tolist(), self.ends[count - 1 :: count].tolist()
        counts = [count] * len(lasts)
        if len(lasts) < len(begins):
            lasts.append(int(self.ends[-1]))
            counts.append(len(self) % count)
        return list(zip(begins, lasts, counts, strict=True))


class Runs:
    """Messages that came run after run; the first can be let go of.

    Memory: what the runs hold; that of one whose first messages have gone, too.
    """

    __slots__ = ("runs",)

    def __init__(self, *runs: Sequence[bytes]) -> None:
        self.runs = list(runs)

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def __getitem__(self, index: int) -> bytes:
        for run in self.runs:
            if index < len(run):
                return run[index]
            index -= len(run)
        raise IndexError

    def extend(self, more: "Runs | Sequence[bytes]") -> None:
        """Take what comes next."""
        if isinstance(more, Runs):
            self.runs += more.runs
        else:
            self.runs.append(more)

    def drop(self, count: int) -> None:
        """Let go of the first `count`."""
        runs, over = self.runs, 0
        while over < len(runs) and count >= len(runs[over]):
            count -= len(runs[over])
            over += 1
        del runs[:over]
        if count:
            runs[0] = runs[0][count:]


def sizes_of(raws: Runs | Sequence[bytes]) -> list[int]:
    """How many bytes each message has."""
    if isinstance(raws, Runs):
        return [size for run in raws.runs for size in sizes_of(run)]
    return raws.sizes.tolist() if isinstance(raws, Lines) else list(map(len, raws))
