"""By how much a source's clock is off, as far as its messages prove it: what sequence findings are held against.

What proves it: no message comes before what it tells has happened, so a clock is at least as far ahead as the least
delay is below nothing. A clock that jumped back is behind by what the least delay has grown since. And one that was
never heard with less than a delay which hardly varies has always been behind: a queue's delay varies, and that of a
sender that collects is next to nothing for what it collected last.
"""

import msgspec

from operators.detectors.records import Tally
from operators.findings import AHEAD_US, BEHIND_US
from schemas.durations import SECOND_US

#: The metric of a tally that says by how much a source's clock is off now; its scope says nothing, so that all of them
#: come to one site group.
CLOCK_OFFSET = "clock_offset"
#: The least delay is that of so many minutes in which the source was heard.
_RECENT = 10
#: A source that was never heard with less delay must have been heard in so many minutes,
_STEADY_MINUTES = 30
#: and its usual least delay may be more than the least of all by this, or this share of it.
_STEADY_US, _STEADY = 5 * SECOND_US, 0.1


class SourceOffset(msgspec.Struct, array_like=True):
    """What is kept of a source: least delays (of recent minutes, and the least ever), and what was last told.

    `by_us` is how far ahead the clock is (behind: less than 0; 0: not known to be off); `is_suspect`: it jumped, and
    the next minutes will tell whether it stays there. `heard` counts minutes. While the clock is taken to be off
    (`is_run`), what the delay was before says nothing. Memory: a dozen numbers.
    """

    heard: int = 0
    least_us: int = 0
    recent_us: list[int] = []
    is_run: bool = False
    by_us: int = 0
    is_suspect: bool = False

    def hear(self, least_us: int, *, is_run: bool) -> None:
        """Take a minute's least delay."""
        if is_run != self.is_run:
            self.recent_us, self.is_run = [], is_run
        self.recent_us = [*self.recent_us[1 - _RECENT :], least_us]
        if not is_run:
            self.least_us = min(least_us, self.least_us) if self.heard else least_us
            self.heard += 1

    def suspect(self) -> bool:
        """The clock has jumped; whether that is news."""
        return self._told(0, is_suspect=True)

    def stand(self, usual_us: float, *, is_off: bool, is_run: bool) -> bool:
        """Work out the offset; whether it is another one. `usual_us` is the mean of least delays while it was right."""
        low_us = min(self.recent_us)
        if low_us < -AHEAD_US:
            return self._told(-low_us, is_suspect=False)
        if is_off:
            before_us = min(round(usual_us), 0)
            return self._told(round(usual_us) - before_us - low_us, is_suspect=False)
        if is_run or self.heard < _STEADY_MINUTES or self.least_us <= BEHIND_US:
            return self._told(0, is_suspect=False)
        varies = usual_us - self.least_us > max(_STEADY_US, _STEADY * self.least_us)
        return self._told(0 if varies else -self.least_us, is_suspect=False)

    def _told(self, by_us: int, *, is_suspect: bool) -> bool:
        was, self.by_us, self.is_suspect = (self.by_us, self.is_suspect), by_us, is_suspect
        return was != (by_us, is_suspect)


class ClockOffset(msgspec.Struct, frozen=True, array_like=True):
    """What a tally says of a source's clock: as `SourceOffset`."""

    source: str
    by_us: int
    is_suspect: bool


def offset_tally(source: str, offset: SourceOffset, end_us: int) -> Tally:
    """The offset as it goes to the site group, known at the end of a minute."""
    return Tally(CLOCK_OFFSET, (), end_us, end_us, float(offset.by_us), 0.0 if offset.is_suspect else 1.0, source)


def offset_of(tally: Tally) -> ClockOffset:
    """What `offset_tally` said."""
    return ClockOffset(tally.event_id, round(tally.bad), not tally.total)
