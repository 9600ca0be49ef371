"""A lane: several partitions of the log merged into one stream in the order of the log.

`LaneMerge` takes from several `PartitionQueue`s in the order of arrival, as far as all of them are known. It is pure:
reading and decoding are someone else's (see dataflows/files.py).
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter

from operators.lane_state import LaneState, Merged, PartitionState
from operators.partitions import PartitionQueue
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US
from schemas.errors import StateError
from schemas.events import Arrived


class LaneMerge:
    """Merge the queues of a lane. Only the queues that hold the others back need more to be read."""

    VERSION = 1

    def __init__(self, queues: Iterable[PartitionQueue] = ()) -> None:
        self.queues: list[PartitionQueue] = list(queues)
        self.released_us = BEGIN_OF_TIME_US
        self._final = self._said = False

    def add(self, queue: PartitionQueue) -> None:
        """A partition that was not there before; what it brings arrived after all that was released."""
        queue.raise_to(self.released_us)
        self.queues.append(queue)

    def wanting(self) -> list[PartitionQueue]:
        """The queues that hold the lane back: what they say next decides how far it can go."""
        open_queues = [queue for queue in self.queues if not queue.ended]
        if not open_queues:
            return []
        least = min(queue.horizon_us for queue in open_queues)
        return [queue for queue in open_queues if queue.horizon_us == least]

    def release(self, ceiling_us: int = END_OF_TIME_US) -> Merged | None:
        """What can be released now; None when there is nothing new to say (and for ever once all have ended).

        The first answer is never None: after a resume, too, others have to hear how far this lane is.
        `ceiling_us` bounds the watermark from outside: partitions that nobody knows of yet may hold what arrived since.
        """
        if self._final:
            return None
        watermark = min((queue.horizon_us for queue in self.queues), default=END_OF_TIME_US)
        watermark = max(min(watermark, ceiling_us), self.released_us)
        final = watermark == END_OF_TIME_US
        if watermark == self.released_us and self._said:
            return None
        runs, dead, health = [], [], []
        for queue in self.queues:
            events, refused, minutes = queue.take_before(watermark)
            if events:
                runs.append(events)
            dead.extend(refused)
            health.extend(minutes)
            if final:
                health.extend(queue.take_health())
        if len(runs) == 1:
            merged = runs[0]
        else:  # each run is in order; of equal arrivals, the partition that comes first by name comes first
            runs.sort(key=_partition)
            merged = [event for run in runs for event in run]
            merged.sort(key=_arrival)
        self._final, self._said = final, True
        self.released_us = watermark
        last = max((queue.last_us for queue in self.queues), default=BEGIN_OF_TIME_US)
        return Merged(merged, dead, health, watermark, last, final)

    def snapshot(self) -> LaneState:
        """Where to resume the lane."""
        partitions = {f"{queue.topic}/{queue.partition}": queue.snapshot() for queue in self.queues}
        return LaneState(self.VERSION, self.released_us, partitions)

    def restore(self, state: LaneState) -> Mapping[str, PartitionState]:
        """Take over a snapshot, before any queue is added; what it kept of the partitions, by name.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"lane state of version {state.version}; this code reads {self.VERSION}")
        if state.released_us != END_OF_TIME_US:  # files that had ended may have grown
            self.released_us = state.released_us
        return state.partitions


def _partition(run: list[Arrived]) -> tuple[str, int]:
    return run[0].topic, run[0].partition


_arrival = attrgetter("arrival_us")
