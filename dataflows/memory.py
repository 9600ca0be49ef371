"""Memory of a process that runs for months: what nobody uses goes back to the system."""

import ctypes
import gc
import time
from collections.abc import Callable

#: Everything is swept so often.
_SWEEP_S = 300.0
#: Pages that nobody uses are given back so often.
_TRIM_S = 60.0
#: `mallopt`'s names (malloc.h) for how many arenas the C library's allocator may have, and from which size on a piece
#: is mapped by itself, and goes back to the system when it is let go.
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
_ARENAS = 2
_MAPPED_FROM = 256 * 1024


class Sweep:
    """Takes away every few minutes what hangs together in cycles, should anything leave such: a running job does not.

    By itself the collector waits for a million new objects, since it costs most while state grows. A sweep costs 0.4 µs
    for each object that may hold others; what rests is none. Pages that the C library's allocator holds and nobody
    uses are given back every minute. All of it waits for a quiet moment, since at an epoch's end the input waits in any
    case; but not for longer than to the next end.
    """

    def __init__(self) -> None:
        self._swept_s = self._trimmed_s = time.monotonic()
        self._is_due = False
        self._trim = _library_function("malloc_trim")

    def at_epochs_end(self) -> None:
        """Sweep in the next quiet moment; at once where there was none since the last epoch's end."""
        if self._is_due:
            self._sweep()
        self._is_due = True

    def when_quiet(self) -> None:
        """Sweep if it is due: nothing waits."""
        if self._is_due:
            self._is_due = False
            self._sweep()

    def _sweep(self) -> None:
        """Sweep and trim, each if its time has come."""
        now_s = time.monotonic()
        if now_s - self._swept_s >= _SWEEP_S:
            self._swept_s = now_s
            gc.collect()
        if self._trim is not None and now_s - self._trimmed_s >= _TRIM_S:
            self._trimmed_s = now_s
            self._trim(0)


def settle_allocator() -> None:
    """Have the C library's allocator keep little that nobody uses; before any thread is started.

    Threads share two arenas: each (the broker's client has a dozen) would otherwise get one of its own, and keep the
    most it ever held. Once there are eight, glibc settles for a number by itself, and is not told another any more.

    Large pieces are mapped by themselves: left alone, the allocator takes the first that is let go of as a sign to cut
    the next ones (up to 32 MB; snapshots, fetched messages and blocks, with every epoch) out of its heap, between small
    ones that stay, and the heap grows by the holes.
    """
    mallopt = _library_function("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)


def _library_function(name: str) -> Callable[..., int] | None:
    """A function of the C library, None where it has no such (only glibc has these)."""
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function
