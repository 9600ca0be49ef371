"""The reservations of one item, and how much of its stock they hold at any point of event time."""

from bisect import bisect_left, bisect_right

import msgspec

#: Quantities are summed as whole numbers of this fraction of a unit, so that the sum does not depend on the order.
_GRAIN = 1_000_000


class Hold(msgspec.Struct, array_like=True):
    """A reservation: how much, from when to when (event times; None where not known yet)."""

    qty: float = 0.0
    created_us: int | None = None
    closed_us: int | None = None
    expires_us: int | None = None

    @property
    def end_us(self) -> int | None:
        """From when on it holds nothing any more, None while that is not known."""
        if self.closed_us is None or (self.expires_us is not None and self.expires_us < self.closed_us):
            return self.expires_us
        return self.closed_us


class Reservations:
    """Reservations by id, and the sum of those that hold as a step function of event time.

    The sum is kept at the step that was asked for last and walked from there: what is asked for lies close together
    (now, and the end of the last window), so an item with ten thousand reservations costs what one with ten does.

    What arrives of a reservation after its end was forgotten counts as a new one.

    Memory: one record a reservation and two numbers a step. Cost: O(log n) a change, and a question O(log n + steps
    since the last one). State: the records; steps are made from them again.
    """

    __slots__ = ("_at", "_changes", "_sum", "_times", "holds")

    def __init__(self, holds: dict[str, Hold]) -> None:
        self.holds = holds
        self._times: list[int] = []
        self._changes: list[int] = []
        self._at = 0
        self._sum = 0
        steps: dict[int, int] = {}
        for hold in holds.values():
            for instant, change in _steps(hold):
                steps[instant] = steps.get(instant, 0) + change
        if steps:
            self._times = sorted(steps)
            self._changes = [steps[instant] for instant in self._times]

    def create(self, name: str, created_us: int, qty: float, expires_us: int | None) -> None:
        """A reservation was made; the earliest time said of it counts, of two at that time the lesser quantity."""
        hold = self.holds.get(name)
        if hold is None:
            hold = self.holds[name] = Hold()
        if hold.created_us is not None and (created_us, qty) >= (hold.created_us, hold.qty):
            return
        self._put(hold, -1)
        hold.created_us, hold.qty, hold.expires_us = created_us, qty, expires_us
        self._put(hold, 1)

    def close(self, name: str, closed_us: int) -> None:
        """A reservation is over; the earliest time said of it counts."""
        hold = self.holds.get(name)
        if hold is None:
            hold = self.holds[name] = Hold()
        if hold.closed_us is not None and closed_us >= hold.closed_us:
            return
        self._put(hold, -1)
        hold.closed_us = closed_us
        self._put(hold, 1)

    def held(self, instant_us: int) -> float:
        """How much is reserved at `instant_us`."""
        times = self._times
        if not times:
            return 0.0
        upto = len(times) if times[-1] <= instant_us else bisect_right(times, instant_us)
        at = self._at
        if upto != at:
            if at < upto:
                self._sum += sum(self._changes[at:upto])
            else:
                self._sum -= sum(self._changes[upto:at])
            self._at = upto
        return self._sum / _GRAIN

    def forget(self, horizon_us: int) -> None:
        """Drop those that were over before `horizon_us`, and those that ended then without a beginning."""
        kept = {name: hold for name, hold in self.holds.items() if not _is_over(hold, horizon_us)}
        if len(kept) < len(self.holds):
            self.__init__(kept)  # type: ignore[misc] # as new

    def _put(self, hold: Hold, sign: int) -> None:
        times, changes = self._times, self._changes
        for instant, change in _steps(hold):
            if not times or instant > times[-1]:
                times.append(instant)
                changes.append(sign * change)
                continue
            index = bisect_left(times, instant)
            if times[index] == instant:
                changes[index] += sign * change
            else:
                times.insert(index, instant)
                changes.insert(index, sign * change)
                self._at += index < self._at
            if index < self._at:
                self._sum += sign * change


def _steps(hold: Hold) -> tuple[tuple[int, int], ...]:
    """When the hold begins and ends to take stock away, with how much."""
    if hold.created_us is None:
        return ()
    amount, end = round(hold.qty * _GRAIN), hold.end_us
    if end is None:
        return ((hold.created_us, amount),)
    return ((hold.created_us, amount), (end, -amount)) if end > hold.created_us else ()


def _is_over(hold: Hold, horizon_us: int) -> bool:
    end = hold.closed_us if hold.created_us is None else hold.end_us
    return end is not None and end < horizon_us
