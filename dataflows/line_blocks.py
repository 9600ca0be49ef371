"""A file of lines, read by the block: what would be done line by line is done once for some hundred of them."""

from typing import IO

import numpy as np

from schemas.lines import Lines, Places

#: So much is read at once: little enough to be in the processor's cache while it is worked on, and to come out of the
#: allocator's heap (larger pieces are mapped anew each time, see dataflows/memory.py).
BLOCK_BYTES = 192 * 1024
_BREAK = ord("\n")
#: What some programs write before the first line of a text: of the file, not of its first message.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Block:
    """Lines of a file that follow one another, without the blank ones.

    `positions` are where they begin in the file, in bytes; `numbers` say the how many-th each is, from 1.
    """

    __slots__ = ("lines", "numbers", "positions")

    def __init__(self, lines: Lines, positions: Places, numbers: Places) -> None:
        self.lines, self.positions, self.numbers = lines, positions, numbers


class LineBlocks:
    """The lines of a file from where it stands.

    Args:
        file: stands at `position`, behind line `number`; both go on with what is given.
        longest: of a line of more bytes, these and one more are given, and the rest is passed over.
        grows: the file may still grow: a last line without a line break is not given until it is complete.

    Memory: a block, and the line that began in the one before. Cost: some 0.05 µs a line.
    """

    def __init__(self, file: IO[bytes], position: int, number: int, *, longest: int, grows: bool) -> None:
        self.position, self.number = position, number
        self._file, self._longest, self._grows = file, longest, grows
        self._text = b""
        self._at = 0
        self._ends = np.empty(0, np.int64)

    def next(self, most: int) -> Block | None:
        """The next lines of one block, at most so many; None where there is no more (now)."""
        if not len(self._ends):
            self._read()
            if not len(self._ends):
                return self._cut_off() if len(self._text) > self._longest else None
        ends, self._ends = self._ends[:most], self._ends[most:]
        begins = np.empty_like(ends)
        begins[0], begins[1:] = self._at, ends[:-1] + 1
        return self._given(begins, ends, min(int(ends[-1]) + 1, len(self._text)))

    def _read(self) -> None:
        """Read a block, or more where no line ends in it; no line is found from the first on that is too long."""
        parts, more = [self._text[self._at :]], b" "
        size = len(parts[0])
        while more and size <= self._longest + len(_BYTE_ORDER_MARK):
            more = self._file.read(BLOCK_BYTES)
            parts.append(more)
            size += len(more)
            if b"\n" in more:
                break
        self._text, self._at = b"".join(parts), 0
        if self.position == 0 and self._text.startswith(_BYTE_ORDER_MARK):
            self._text = self._text.removeprefix(_BYTE_ORDER_MARK)
            self.position = len(_BYTE_ORDER_MARK)
            size -= self.position
        ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == _BREAK)
        if not more and not self._grows and self._text and not self._text.endswith(b"\n"):
            ends = np.append(ends, size)
        if size > self._longest:
            long = np.flatnonzero(np.diff(ends, prepend=-1) > self._longest + 1)
            ends = ends[: long[0]] if len(long) else ends
        self._ends = ends

    def _cut_off(self) -> Block:
        """The beginning of a line that is too long; what follows of it is passed over, as far as it is there."""
        end = self._longest + 1
        given = self._given(np.array([0]), np.array([end]), end)
        while (found := self._text.find(b"\n", self._at)) < 0:
            self.position += len(self._text) - self._at
            self._text, self._at = self._file.read(BLOCK_BYTES), 0
            if not self._text:
                return given
        self.position += found + 1 - self._at
        self._at = found + 1
        return given

    def _given(self, begins: Places, ends: Places, behind: int) -> Block:
        """The lines that stand there, and what is behind them comes next."""
        positions = begins + (self.position - self._at)
        numbers = np.arange(self.number + 1, self.number + 1 + len(begins))
        self.position += behind - self._at
        self.number += len(begins)
        self._at = behind
        lines = Lines(self._text, begins, ends)
        odd = lines.no_objects()
        for place in odd:  # what surrounds a message is none of it
            line = lines[place]
            begins[place] += len(line) - len(line.lstrip())
            ends[place] = begins[place] + len(line.strip())
        if any(begins[place] == ends[place] for place in odd):
            filled = begins < ends
            return Block(Lines(self._text, begins[filled], ends[filled]), positions[filled], numbers[filled])
        return Block(lines, positions, numbers)
