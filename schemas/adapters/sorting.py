"""Sorting more than fits into memory: sorted runs in one temporary file, merged.

Memory: one run (`run_length` items or `run_bytes` of payload, whichever is reached first), then one block of
`_BLOCK` items for each run. Disk: what does not fit into the first run, in the folder for temporary files.
The order is total (an item's first two numbers are unique together), so it does not depend on the runs.
"""

import heapq
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal, Self, TypeAlias

import msgspec

from schemas.decode import Reason
from schemas.errors import SourceError

#: (arrival_us, offset, raw, reason, path, detail); the last three are empty for a message that is good.
Item: TypeAlias = tuple[int, int, bytes, Reason | Literal[""], str, str]

_BLOCK = 256
_decode = msgspec.msgpack.Decoder(list[Item]).decode
_encode = msgspec.msgpack.Encoder().encode


class Runs:
    """Takes items in any order, gives them sorted by (arrival, offset). Use as a context manager."""

    def __init__(self, run_length: int = 200_000, run_bytes: int = 128 << 20) -> None:
        self._run_length = run_length
        self._run_bytes = run_bytes
        self._items: list[Item] = []
        self._bytes = 0
        self._count = 0
        self._runs: list[list[tuple[int, int]]] = []
        self._stack = ExitStack()
        self._file: int | None = None
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        """How many were added."""
        return self._count

    def add(self, item: Item) -> None:
        """Take one item.

        Raises:
            SourceError: there is no room for the temporary file.
        """
        self._items.append(item)
        self._count += 1
        self._bytes += len(item[2])
        if len(self._items) >= self._run_length or self._bytes >= self._run_bytes:
            self._spill()

    def extend(self, items: list[Item]) -> None:
        """Take several items.

        Raises:
            SourceError: there is no room for the temporary file.
        """
        for item in items:
            self.add(item)

    def merged(self) -> Iterator[Item]:
        """All items in order; nothing can be added after it."""
        self._items.sort()
        if not self._runs:
            return iter(self._items)
        return heapq.merge(*(self._read(blocks) for blocks in self._runs), self._items)

    def _spill(self) -> None:
        self._items.sort()
        blocks = []
        try:
            if self._file is None:
                file = tempfile.TemporaryFile(prefix="andon-sort-")  # noqa: SIM115 - closed by the stack
                self._file = self._stack.enter_context(file).fileno()
            for start in range(0, len(self._items), _BLOCK):
                block = _encode(self._items[start : start + _BLOCK])
                written = 0
                while written < len(block):
                    written += os.pwrite(self._file, memoryview(block)[written:], self._end + written)
                blocks.append((self._end, len(block)))
                self._end += len(block)
        except OSError as error:
            raise SourceError(f"no room to sort the table in {tempfile.gettempdir()} (set TMPDIR): {error}") from error
        self._runs.append(blocks)
        self._items = []
        self._bytes = 0

    def _read(self, blocks: list[tuple[int, int]]) -> Iterator[Item]:
        assert self._file is not None
        for start, length in blocks:
            yield from _decode(os.pread(self._file, length, start))
