"""A process that runs for months gives back what nobody uses."""

import ctypes
import gc
import subprocess
import sys
import weakref

import pytest

import dataflows.memory
from dataflows.memory import Sweep


class Node:
    """One that knows itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def no_collector():  # noqa: ANN201 - as the job's, which waits for a million objects
    gc.disable()
    yield
    gc.enable()


def test_cycles_are_swept_when_there_are_many_new_objects() -> None:
    sweep, node = Sweep(), Node()
    seen = weakref.ref(node)
    del node
    sweep.at_epochs_end()
    assert seen() is not None, "a few new objects are not worth a sweep"
    many = [[] for _ in range(60_000)]
    sweep.at_epochs_end()
    assert seen() is None
    del many


def test_everything_is_swept_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, node = Sweep(), Node()
    seen = weakref.ref(node)
    del node
    gc.freeze()  # what was there before is no garbage
    gc.unfreeze()
    monkeypatch.setattr(dataflows.memory, "_SWEEP_ALL_S", 0.0)
    sweep.at_epochs_end()
    assert seen() is None


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_pages_that_the_allocator_holds_go_back_to_the_system() -> None:
    script = """
import ctypes, resource
import dataflows.memory
dataflows.memory._SWEEP_ALL_S = 0.0

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
assert before - resident() > 50_000_000, (before, resident())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
