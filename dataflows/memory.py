"""Memory of a process that runs for months: what nobody uses goes back to the system."""

import ctypes
import gc
import time
from collections.abc import Callable

#: So many objects since the last sweep are worth one; everything is swept so often.
_YOUNG = 50_000
_SWEEP_ALL_S = 300.0
#: `mallopt`'s name for how many arenas the C library's allocator may have (malloc.h).
_M_ARENA_MAX = -8
_ARENAS = 2


class Sweep:
    """Takes away, at epochs' ends, what hangs together in cycles: clients leave such, with a block's columns on them.

    By itself the collector waits for a million new objects, since it costs most while state grows, and so an hour's
    growth was garbage. A sweep of all costs 0.4 µs for each object that may hold others; what rests is none. After it,
    pages that the C library's allocator holds and nobody uses are given back: snapshots of a hundred megabytes come and
    go with every epoch, and leave holes.
    """

    def __init__(self) -> None:
        self._all_s = time.monotonic()
        self._trim = _library_function("malloc_trim")

    def at_epochs_end(self) -> None:
        """Sweep what is new, if it is much, and everything now and then."""
        now_s = time.monotonic()
        if now_s - self._all_s >= _SWEEP_ALL_S:
            self._all_s = now_s
            gc.collect()
            if self._trim is not None:
                self._trim(0)
        elif gc.get_count()[0] > _YOUNG:
            gc.collect(1)


def bound_arenas() -> None:
    """Have threads share two arenas of the C library's allocator, before any of them is started.

    Each thread (the broker's client has a dozen) would otherwise get one of its own, and keep the most it ever held.
    """
    mallopt = _library_function("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def _library_function(name: str) -> Callable[..., int] | None:
    """A function of the C library, None where it has no such (only glibc has these)."""
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function
