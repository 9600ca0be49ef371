"""Where a time lies in its day and week, and how far apart a series' points are.

The clock that seasons follow is the site's own: callers add the zone's offset of the moment (`Point.offset_us`), so a
change to summer time moves the series along with the people. Without an offset it is UTC.
"""

HOUR_S = 3600.0
DAY_HOURS = 24
WEEK_HOURS = 168
QUARTERS = 96
WEEK_S = 604_800.0
HOUR_US = 3_600_000_000
QUARTER_US = 900_000_000

#: A step of more than this many usual ones is a gap.
GAP_STEPS = 5.0
#: A step counts for the usual one with at most this many times it, so that gaps don't stretch it.
LONGEST = 3.0
MEMORY = 50.0


def knots(local_us: int) -> tuple[int, int, float]:
    """The full hours before and after, counted from the beginning of 1970, and how far the time is between them."""
    hour, rest_us = divmod(local_us, HOUR_US)
    return hour, hour + 1, rest_us / HOUR_US


def quarter(local_us: int) -> int:
    """Which quarter of an hour of the day."""
    return int(local_us // QUARTER_US) % QUARTERS


class Cadence:
    """How far apart the points of a series usually are, learnt.

    Memory: three numbers. A time that does not advance changes nothing.
    """

    __slots__ = ("last_us", "seen", "step_s")

    def __init__(self) -> None:
        self.last_us = 0
        self.step_s = 0.0
        self.seen = 0

    def learn(self, at_us: int) -> float:
        """Take the time of a point; how many usual steps have gone by since the last one (1 where unknown)."""
        if not self.seen:
            self.last_us, self.seen = at_us, 1
            return 1.0
        passed_s = (at_us - self.last_us) / 1e6
        if passed_s <= 0:
            return 1.0
        self.last_us = at_us
        usual_s = self.step_s or passed_s
        steps = passed_s / usual_s
        self.step_s = usual_s + (min(passed_s, LONGEST * usual_s) - usual_s) / min(self.seen, MEMORY)
        self.seen = min(self.seen + 1, int(MEMORY))
        return steps

    @property
    def per_hour(self) -> float:
        """Points an hour, at least one."""
        return max(1.0, HOUR_S / self.step_s) if self.step_s else 1.0

    @property
    def per_week(self) -> float:
        """Points a week, at least one."""
        return max(1.0, WEEK_S / self.step_s) if self.step_s else 1.0
