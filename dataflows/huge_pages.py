"""Memory that is used throughout goes into pages of 2 MiB, a little at a time.

State is read at random. In pages of 4 KiB the processor spends more on finding where they are than on what stands
there, since no cache holds the tables that say so for some hundred megabytes, and a virtual machine has two of each.
"""

import ctypes
import mmap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: What a huge page takes in nearly all kernels for x86 and Arm.
BLOCK = 2 * 1024 * 1024
_COLLAPSE = 25  # MADV_COLLAPSE (madvise(2), Linux 6.1): now, whatever the system does by itself
_MAPS = Path("/proc/self/maps")
_AT_ONCE_S = 0.02
#: Having taken so long, it rests so many times as long; or longer, where there was nothing to do.
_REST = 30
_IDLE_S = 10.0
#: So often all is looked at anew: some was let go of meanwhile, and other has come in its place.
_AGAIN_S = 600.0


class HugePages:
    """Has the kernel gather what lies in small pages: some 2.5 ms for 2 MiB, once.

    Only blocks all of whose small pages are there are gathered, so no memory is used for it. Asked often, it takes at
    most some 20 ms at a time and a thirtieth of the time in all. Does nothing for good where the kernel can't (before
    Linux 6.1, other systems).

    Memory: a number for each block.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._next_s = self._again_s = 0.0
        self._known: set[int] = set()
        self._library = ctypes.CDLL(None)
        self._resident = (ctypes.c_ubyte * (BLOCK // mmap.PAGESIZE))()
        self.works = _MAPS.exists() and self._can_gather()

    def gather(self) -> None:
        """Go on, if it is time to."""
        began_s = self._now_s()
        if not self.works or began_s < self._next_s:
            return
        if began_s >= self._again_s:
            self._known.clear()
            self._again_s = began_s + _AGAIN_S
        for block in _blocks():
            if block not in self._known and self._is_whole(block):
                self._known.add(block)
                self._advise(block)  # what the kernel refuses is left as it is
                took_s = self._now_s() - began_s
                if took_s >= _AT_ONCE_S:
                    self._next_s = began_s + (1 + _REST) * took_s
                    return
        self._next_s = began_s + _IDLE_S

    def _can_gather(self) -> bool:
        """Whether the kernel does it, tried on memory that is there for it."""
        with mmap.mmap(-1, 2 * BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as tried:
            tried[:] = bytes(2 * BLOCK)
            first = ctypes.c_char.from_buffer(tried)
            begin = ctypes.addressof(first)
            del first
            return self._advise((begin + BLOCK - 1) // BLOCK * BLOCK)

    def _advise(self, block: int) -> bool:
        """Have a block gathered; whether it was."""
        refused: int = self._library.madvise(ctypes.c_void_p(block), ctypes.c_size_t(BLOCK), _COLLAPSE)
        return refused == 0

    def _is_whole(self, block: int) -> bool:
        """Whether all small pages of a block are there."""
        found = self._library.mincore(ctypes.c_void_p(block), ctypes.c_size_t(BLOCK), self._resident)
        return found == 0 and 0 not in bytes(self._resident)


def _blocks() -> Iterator[int]:
    """Where blocks of memory begin that no file and no name belongs to; what was mapped first comes last."""
    for line in _MAPS.read_text(encoding="ascii", errors="replace").splitlines():
        span, rights, _, _, inode, *name = line.split(maxsplit=5)
        if rights == "rw-p" and inode == "0" and not name:
            begin, end = (int(place, 16) for place in span.split("-"))
            yield from range((begin + BLOCK - 1) // BLOCK * BLOCK, end // BLOCK * BLOCK, BLOCK)
