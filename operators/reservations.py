"""The reservations of one item, and how much of its stock they hold at any point of event time.

A reservation holds what is left of it: what was reserved, less all that was consumed, released or rejected by then, and
nothing from its expiry on. More given back than was reserved is as much as was reserved.
"""

from bisect import bisect_left, bisect_right
from typing import TypeAlias

from operators.reservation_holds import GRAIN, MOST_KEPT, Hold, is_over, pack_holds, steps_of, unpack_holds
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US

#: A span that begins where it ends holds no time.
_NO_SPAN_US = 0
#: Before anything happened.
_NO_MARK_US = BEGIN_OF_TIME_US - 1

#: (from when, until when, sum in grains, the records as bytes)
ReservationsState: TypeAlias = tuple[int | None, int | None, int, bytes]
#: The same with the records by id.
OpenReservations: TypeAlias = tuple[int | None, int | None, int, dict[str, Hold]]


def reserved_since(said: float, grains: int) -> float:
    """What is reserved, where a system said how much and so many grains more (or fewer) are since; never below 0."""
    if not grains:
        return max(0.0, said)
    return max(0, round(said * GRAIN) + grains) / GRAIN


class Reservations:
    """Reservations by id, and the sum of those that hold as a step function of event time.

    The sum is kept for the span of time between two steps that was asked for last, and is walked from there: what is
    asked for lies close together (now, and the end of the last window), so an item with ten thousand reservations
    costs what one with ten does. The steps are made when something outside of the span is asked for; the records are
    unpacked when one of them changes. From `from_us` until `until_us` the sum is `sum_grains`; at `mark_us`, when a
    system last said what is reserved, it was `mark_grains`.

    What arrives of a reservation after its end was forgotten counts as a new one.

    Memory: one record a reservation, three numbers for each time a part of it was given back (of those before the
    horizon of `forget`, one), and two numbers a step. Cost: O(log n) a change, and a question O(log n + steps since the
    last one); what was given back before parts that are known already, as much as there are of those. State: the
    records and the span.
    """

    __slots__ = (
        "_at",
        "_changes",
        "_holds",
        "_packed",
        "_times",
        "from_us",
        "mark_grains",
        "mark_us",
        "sum_grains",
        "until_us",
    )

    def __init__(self, state: ReservationsState | None = None) -> None:
        self.from_us, self.until_us, self.sum_grains, self._packed = BEGIN_OF_TIME_US, END_OF_TIME_US, 0, b""
        self._holds: dict[str, Hold] | None = None
        if state is None:
            self._holds = {}
        else:
            began_us, until_us, self.sum_grains, self._packed = state
            self.from_us = BEGIN_OF_TIME_US if began_us is None else began_us
            self.until_us = END_OF_TIME_US if until_us is None else until_us
        self._times: list[int] | None = None
        self._changes: list[int] = []
        self._at = 0
        self.mark_us, self.mark_grains = _NO_MARK_US, 0

    @classmethod
    def opened(cls, state: OpenReservations) -> "Reservations":
        """What `open_state` gave."""
        began_us, until_us, grains, holds = state
        made = cls((began_us, until_us, grains, b""))
        made._holds = holds
        return made

    @property
    def holds(self) -> dict[str, Hold]:
        """The records by id."""
        if self._holds is None:
            self._holds = unpack_holds(self._packed)
        return self._holds

    def state(self) -> ReservationsState | None:
        """What makes the same again; None where there is none."""
        if self._holds is not None:
            self._packed = pack_holds(self._holds)
        if not self._packed:
            return None
        return (*self._span(), self._packed)

    def open_state(self) -> OpenReservations | None:
        """What makes the same again (`opened`), with the records as they are; None where there is none."""
        return (*self._span(), self.holds) if self.holds else None

    def _span(self) -> tuple[int | None, int | None, int]:
        """From when until when the sum is known, and the sum."""
        if not -MOST_KEPT < self.sum_grains < MOST_KEPT:
            return _NO_SPAN_US, _NO_SPAN_US, 0  # to be added up again
        return (
            None if self.from_us == BEGIN_OF_TIME_US else self.from_us,
            None if self.until_us == END_OF_TIME_US else self.until_us,
            self.sum_grains,
        )

    def create(  # noqa: C901 - calls are what a reservation costs
        self, name: str, created_us: int, qty: float, expires_us: int | None
    ) -> None:
        """A reservation was made; the earliest time said of it counts, of two at that time the lesser quantity."""
        holds = self._holds if self._holds is not None else self.holds
        hold = holds.get(name)
        if hold is None:
            hold = holds[name] = Hold(qty, created_us, None, expires_us)
            times = self._times
            if expires_us is not None:
                self._put(hold, 1)
            elif times and created_us <= times[-1]:
                self._put_step(created_us, round(qty * GRAIN), goes_on=True)
            else:  # as `_put_step`, of a step that stands last
                change = round(qty * GRAIN)
                if times is not None:
                    times.append(created_us)
                    self._changes.append(change)
                if created_us <= self.mark_us:
                    self.mark_grains += change
                if created_us < self.until_us:
                    self.sum_grains += change
                    if created_us > self.from_us:  # noqa: PLR1730 - a call of max() for each
                        self.from_us = created_us
                    if times is not None:
                        self._at = len(times)
            return
        if hold.created_us is not None:
            if (created_us, qty) >= (hold.created_us, hold.qty):
                return
            self._put(hold, -1)
        hold.ends = hold.end_times() or None  # what was all of it may be a part now
        hold.created_us, hold.qty, hold.expires_us = created_us, qty, expires_us
        self._put(hold, 1)

    def end(self, name: str, ended_us: int, qty: float) -> None:
        """So much of a reservation was consumed, released or rejected."""
        hold = self.holds.get(name)
        if hold is None:
            hold = self.holds[name] = Hold()
        began_us, expires_us = hold.created_us, hold.expires_us
        if hold.ends is None and expires_us is None and qty == hold.qty and began_us is not None:  # nearly always
            hold.ends = ended_us
            self._put_step(max(began_us, ended_us), -round(qty * GRAIN), goes_on=True)
            return
        if began_us is None or (expires_us is not None and ended_us >= expires_us):
            hold.give_back(ended_us, qty)
            return
        if hold.ends is not None and ended_us < hold.end_times()[-1][0]:
            self._put(hold, -1)
            hold.give_back(ended_us, qty)
            self._put(hold, 1)
            return
        before = hold.left
        hold.give_back(ended_us, qty)
        change = hold.left - before
        if change:  # nothing is to be taken back but what it holds from now on
            self._put_step(max(began_us, ended_us), change, goes_on=True)
            if expires_us is not None:
                self._put_step(max(began_us, expires_us), -change, goes_on=False)

    def held(self, instant_us: int) -> float:
        """How much is reserved at `instant_us`."""
        if not self.from_us <= instant_us < self.until_us:
            self._walk(instant_us)
        return self.sum_grains / GRAIN

    def since(self, said_us: int, instant_us: int) -> int:
        """How many grains more are reserved at `instant_us` than at `said_us`; of the latter it is kept how many were.

        Cost: as of `held`, where `said_us` is the time that was asked for last.
        """
        if not self.from_us <= instant_us < self.until_us:
            self._walk(instant_us)
        now = self.sum_grains
        if self.from_us <= said_us < self.until_us:
            return 0
        if self.mark_us != said_us:
            self._walk(said_us)
            self.mark_us, self.mark_grains = said_us, self.sum_grains
            self._walk(instant_us)
        return now - self.mark_grains

    def known_at(self, instant_us: int) -> int | None:
        """How many grains are reserved then, None where that would have to be worked out."""
        if self.from_us <= instant_us < self.until_us:
            return self.sum_grains
        return self.mark_grains if self.mark_us == instant_us else None

    def forget(self, horizon_us: int) -> None:
        """Drop those that were over before `horizon_us`, and those of which nothing but ends before it is known."""
        kept = {name: hold for name, hold in self.holds.items() if not is_over(hold, horizon_us)}
        shortened = [hold.forget(horizon_us) for hold in kept.values() if type(hold.ends) is list]
        if len(kept) < len(self.holds) or any(shortened):
            self.__init__()  # type: ignore[misc] # as new
            self._holds = kept
            self._walk(END_OF_TIME_US - 1)

    def _walk(self, instant_us: int) -> None:
        """Bring the span to `instant_us`."""
        times = self._times
        if times is None:
            times = self._make_steps()
        upto = bisect_right(times, instant_us)
        at = self._at
        if at < upto:
            self.sum_grains += sum(self._changes[at:upto])
        else:
            self.sum_grains -= sum(self._changes[upto:at])
        self._at = upto
        self.from_us = times[upto - 1] if upto else BEGIN_OF_TIME_US
        self.until_us = times[upto] if upto < len(times) else END_OF_TIME_US

    def _make_steps(self) -> list[int]:
        steps: dict[int, int] = {}
        for hold in self.holds.values():
            for instant, change in steps_of(hold):
                steps[instant] = steps.get(instant, 0) + change
        times = self._times = sorted(steps)
        self._changes = [steps[instant] for instant in times]
        self._at = self.sum_grains = 0
        return times

    def _put(self, hold: Hold, sign: int) -> None:
        begins = True
        for instant, change in steps_of(hold):  # what expires will do so later, what was given back was so
            self._put_step(instant, sign * change, goes_on=begins or hold.ends is not None)
            begins = False

    def _put_step(self, instant: int, change: int, *, goes_on: bool) -> None:
        """Add to a step. Of a span cut in two by that, the later part is kept if time `goes_on`, else the earlier."""
        from_us, times = self.from_us, self._times
        if instant <= self.mark_us:
            self.mark_grains += change
        if instant < self.until_us:
            if instant <= from_us:
                self.sum_grains += change
            elif goes_on:
                self.sum_grains += change
                self.from_us = instant
            else:
                self.until_us = instant
        if times is None:
            return
        at = len(times) if not times or instant > times[-1] else bisect_left(times, instant)
        if at < len(times) and times[at] == instant:
            self._changes[at] += change
        else:
            times.insert(at, instant)
            self._changes.insert(at, change)
        if instant <= self.from_us:
            self._at = bisect_right(times, self.from_us)
