"""How far lanes may run ahead of each other: what the fastest has released waits in the key groups for the slowest."""

from collections import deque
from collections.abc import Iterable

from schemas.durations import BEGIN_OF_TIME_US


class Pace:
    """Hold a lane back when more than `ahead` of its events wait for the slowest lane.

    Pure bookkeeping: whoever runs the lanes tells what they release and what was heard of all of them (those of other
    processes too), and asks before a lane goes on. The slowest lane never waits, so somebody always goes on.

    Args:
        lanes: the names of all lanes of the job.
        ahead: events; one release more than that may be out.

    Memory: one pair for each release that is ahead. Cost: O(lanes) a question.
    """

    def __init__(self, lanes: Iterable[str], ahead: int) -> None:
        self._heard = dict.fromkeys(lanes, BEGIN_OF_TIME_US)
        self._ahead = ahead
        self._out: dict[str, deque[tuple[int, int]]] = {lane: deque() for lane in self._heard}
        self._count = dict.fromkeys(self._heard, 0)
        self._begun: set[str] = set()

    def released(self, lane: str, watermark_us: int, count: int) -> None:
        """A lane of ours has released `count` events and come to `watermark_us`.

        The first time counts as too many: after a resume nobody knows how many were out when the state was kept.
        """
        if lane not in self._begun:
            self._begun.add(lane)
            count = max(count, self._ahead + 1)
        if count:
            self._out[lane].append((watermark_us, count))
            self._count[lane] += count

    def heard(self, lane: str, watermark_us: int) -> None:
        """A lane, ours or not, has come to `watermark_us`."""
        self._heard[lane] = max(self._heard[lane], watermark_us)

    def waits(self, lane: str) -> bool:
        """Whether a lane of ours has to let the others catch up."""
        out = self._out[lane]
        if not out:
            return False
        slowest_us = min(self._heard.values())
        while out and out[0][0] <= slowest_us:
            self._count[lane] -= out.popleft()[1]
        return self._count[lane] > self._ahead and self._heard[lane] > slowest_us
