"""How much of a backlog a lane releases at once: little first, since the oldest has waited longest."""

from operators.lanes import LaneMerge

_FIRST = 1_024
#: Kafka's timestamps, and so times of arrival, are whole milliseconds.
_LEAST_US = 1_000


class Pieces:
    """Cut what has come together while the lane was not asked (an epoch's end, a minute's work) into growing pieces.

    What a lane releases passes through all key groups before any of its rows leave, the oldest with the newest. So the
    first piece is of a thousand messages (and what else came in the last one's millisecond), each that follows is twice
    as large, and from `batch` on all goes at once: it is a backlog then, and throughput counts. It begins anew when
    little waits.

    Cost: some 30 look-ups in each partition's times for a piece.

    Attributes:
        left: whether the last piece has left something that can be released at once.
    """

    def __init__(self, batch: int) -> None:
        self.left = False
        self._batch = batch
        self._most = _FIRST

    def ceiling_us(self, merge: LaneMerge, ceiling_us: int) -> int:
        """How far to release now, at most to `ceiling_us`."""
        upto_us = min([ceiling_us, *(queue.horizon_us for queue in merge.queues)])
        waiting = _before(merge, upto_us)
        self.left = self._most < min(self._batch, waiting)
        if not self.left:
            if waiting <= _FIRST:
                self._most = _FIRST
            return ceiling_us
        done_us = merge.released_us
        while upto_us - done_us > _LEAST_US:
            between_us = (done_us + upto_us) // 2
            if _before(merge, between_us) >= self._most:
                upto_us = between_us
            else:
                done_us = between_us
        self._most *= 2
        return upto_us


def _before(merge: LaneMerge, at_us: int) -> int:
    """How many messages wait that arrived before then."""
    return sum(queue.count_before(at_us) for queue in merge.queues)
