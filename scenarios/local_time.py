"""The retailer's wall clock, by which its doors, shifts and customers go."""

from schemas.durations import DAY_US, HOUR_US


class LocalTime:
    """UTC, until the clocks are put forward or back; from then on the day begins earlier or later in UTC.

    Changes must be known before the first day they matter to is planned.
    """

    def __init__(self) -> None:
        self._changes: list[tuple[int, int]] = []

    def change(self, at_us: int, by_us: int) -> None:
        """Put the clocks forward by `by_us` at an instant (back where it is below zero)."""
        self._changes.append((at_us, by_us))

    def day(self, now_us: int) -> tuple[int, int]:
        """The instant at which the day of `now_us` began, and the microseconds since then.

        The day is counted back from the time its clocks show at noon, so that an hour of business is the same
        number all day; on the night of a change the hours before it are off by it.
        """
        if not self._changes:
            clock = now_us % DAY_US
            return now_us - clock, clock
        shift = self._shift(now_us)
        midnight = (now_us + shift) // DAY_US * DAY_US
        begin = midnight - self._shift(midnight + 12 * HOUR_US - shift)
        return begin, now_us - begin

    def after(self, begin_us: int, days: int) -> int:
        """The instant at which the day begins that is `days` after the one that began at `begin_us`."""
        ahead = begin_us + days * DAY_US
        return self.day(ahead + 12 * HOUR_US)[0] if self._changes else ahead

    def _shift(self, now_us: int) -> int:
        return sum(by for at, by in self._changes if now_us >= at)
