"""Memory that is used throughout goes into huge pages; nothing else does, and not all at once."""

import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows import huge_pages
from dataflows.huge_pages import BLOCK, HugePages

BLOCKS = 16


class Memory:
    """Anonymous memory of our own, of which some pages are used."""

    def __init__(self) -> None:
        self.map = mmap.mmap(-1, BLOCKS * BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.begin = ctypes.addressof(ctypes.c_char.from_buffer(self.map))

    def use(self, every: int) -> None:
        for at in range(0, BLOCKS * BLOCK, every):
            self.map[at] = 1 + at % 251

    def resident(self) -> int:
        pages = (ctypes.c_ubyte * (BLOCKS * BLOCK // mmap.PAGESIZE))()
        begin = ctypes.c_void_p(self.begin)
        assert ctypes.CDLL(None).mincore(begin, ctypes.c_size_t(BLOCKS * BLOCK), pages) == 0
        return sum(pages)

    def in_huge_pages(self) -> int:
        """Bytes of the mapping that it is part of, which holds others' memory, too."""
        for part in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(encoding="ascii")):
            begin, end = (int(place, 16) for place in part.split(maxsplit=1)[0].split("-"))
            if begin <= self.begin < end:
                found = re.search(r"AnonHugePages: +(\d+) kB", part)
                return 0 if found is None else int(found[1]) * 1024
        raise AssertionError("it is mapped nowhere")


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    del made.begin
    made.map = None  # type: ignore[assignment] # it is unmapped with the last that looks into it


class Clock:
    """Goes on by itself with each look."""

    def __init__(self, step_s: float) -> None:
        self.s, self.step_s = 1_000.0, step_s

    def __call__(self) -> float:
        self.s += self.step_s
        return self.s


def made(clock: Clock) -> HugePages:
    pages = HugePages(clock)
    if not pages.works:
        pytest.skip("the kernel has no MADV_COLLAPSE")
    return pages


def test_what_is_used_throughout_is_gathered_and_stays_as_it_was(memory: Memory) -> None:
    memory.use(every=mmap.PAGESIZE // 2)
    held, before = bytes(memory.map), memory.in_huge_pages()
    made(Clock(0.0)).gather()
    assert memory.in_huge_pages() >= before + (BLOCKS - 1) * BLOCK
    assert bytes(memory.map) == held


def test_what_has_holes_takes_no_more_memory(memory: Memory) -> None:
    memory.use(every=2 * mmap.PAGESIZE)
    assert memory.resident() == BLOCKS * BLOCK // mmap.PAGESIZE // 2
    HugePages(Clock(0.0)).gather()
    assert memory.resident() == BLOCKS * BLOCK // mmap.PAGESIZE // 2


def test_it_takes_a_little_at_a_time_and_rests_thirty_times_as_long(memory: Memory) -> None:
    memory.use(every=mmap.PAGESIZE)
    clock = Clock(0.004)
    pages = made(clock)
    pages.gather()
    assert len(pages._known) == 5, "of 4 ms each"
    clock.s += 0.58
    pages.gather()
    assert len(pages._known) == 5
    clock.s += 0.03
    pages.gather()
    assert len(pages._known) == 10


def test_where_there_is_nothing_to_do_it_looks_every_ten_seconds(memory: Memory) -> None:
    clock = Clock(0.0)
    pages = made(clock)
    pages.gather()
    known = len(pages._known)
    memory.use(every=mmap.PAGESIZE)
    clock.s += 9.9
    pages.gather()
    assert len(pages._known) == known
    clock.s += 0.2
    pages.gather()
    assert len(pages._known) >= known + BLOCKS - 1


def test_a_kernel_that_cannot_is_asked_once(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.use(every=mmap.PAGESIZE)
    monkeypatch.setattr(huge_pages, "_COLLAPSE", 9_999)
    pages = HugePages(Clock(0.0))
    assert not pages.works
    pages.gather()
    assert not pages._known
