"""A process that runs for months gives back what nobody uses."""

import ctypes
import gc
import subprocess
import sys
import weakref

import pytest

from dataflows import memory


class Ring:
    """Hangs on itself: only the collector can take it away."""

    def __init__(self) -> None:
        self.me = self


@pytest.mark.parametrize(("since_s", "swept"), [(0.0, False), (memory._SWEEP_S, True)])
def test_in_a_quiet_moment_cycles_are_swept_where_it_is_long_ago(
    monkeypatch: pytest.MonkeyPatch, since_s: float, swept: bool
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(memory.time, "monotonic", lambda: now_s)
    sweep = memory.Sweep()
    gc.disable()
    try:
        ring = weakref.ref(Ring())
        now_s += since_s
        sweep.when_quiet()
        sweep.at_epochs_end()
        assert ring() is not None, "an epoch's end waits for nothing more"
        sweep.when_quiet()
        assert (ring() is None) is swept
    finally:
        gc.enable()


def test_where_no_moment_is_quiet_cycles_are_swept_at_the_next_epochs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_SWEEP_S", 0.0)
    sweep = memory.Sweep()
    gc.disable()
    try:
        ring = weakref.ref(Ring())
        sweep.at_epochs_end()
        assert ring() is not None
        sweep.at_epochs_end()
        assert ring() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_pages_that_the_allocator_holds_go_back_to_the_system() -> None:
    script = """
import ctypes, resource
import dataflows.memory
dataflows.memory._TRIM_S = 0.0

def resident():
    return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
sweep = dataflows.memory.Sweep()
held = [library.malloc(100_000) for _ in range(1_000)]
for place in held:
    ctypes.memset(place, 1, 100_000)
for place in held[:-1]:  # the last one keeps the rest from being given back by itself
    library.free(place)
before = resident()
sweep.at_epochs_end()
sweep.when_quiet()
assert before - resident() > 50_000_000, (before, resident())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_is_large_leaves_no_holes() -> None:
    script = """
import ctypes, resource
import dataflows.memory

def resident():
    return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
dataflows.memory.settle_allocator()
library.free(library.malloc(4_000_000))  # the first that is let go of, from which glibc would learn
large, small = [], []
for _ in range(20):
    large.append(library.malloc(4_000_000))
    ctypes.memset(large[-1], 1, 4_000_000)
    small.append(library.malloc(1_000))
before = resident()
for place in large:
    library.free(place)
assert before - resident() > 75_000_000, (before, resident())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
