"""How much memory and processor time a process and all that it started take."""

import os
import threading
from pathlib import Path

_EVERY_S = 0.2
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class TreeWatch:
    """Looks at a process tree several times a second, until its root has ended or `stop` is called.

    `peak_mb` is the most that all of them had resident at one time (pages they share count for each); `cpu_s` what they
    had spent when last seen.
    """

    def __init__(self, root: int) -> None:
        self.peak_mb = 0.0
        self._root = root
        self._cpu_s: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tree", daemon=True)
        self._thread.start()

    @property
    def cpu_s(self) -> float:
        """Processor seconds of all of them."""
        return sum(self._cpu_s.values())

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S):
            resident = 0
            for process in tree(self._root):
                status = _status(process)
                if status is not None:
                    resident += status[0]
                    self._cpu_s[process] = status[1]
            self.peak_mb = max(self.peak_mb, resident / 1024 / 1024)


def tree(root: int) -> list[int]:
    """A process and all below it, as far as they are still there."""
    found, left = [], [root]
    while left:
        process = left.pop()
        found.append(process)
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                left += map(int, children.read_text(encoding="utf-8").split())
            except OSError:
                continue  # it has ended since
    return found


def _status(process: int) -> tuple[int, float] | None:
    """Resident bytes and processor seconds; None where the process has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[21]) * _PAGE, (int(fields[11]) + int(fields[12])) / _TICKS
