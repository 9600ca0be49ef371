"""When customers come: the shape of a day and of a week."""

from random import Random

from scenarios.local_time import LocalTime
from schemas.durations import DAY_US, HOUR_US

#: Online orders by hour of the day, midnight first; a noon peak and a higher one in the evening.
_ONLINE = (
    2.0,
    1.2,
    0.8,
    0.6,
    0.6,
    0.9,
    1.6,
    2.8,
    4.0,
    5.0,
    5.8,
    6.8,
    7.4,
    6.8,
    5.4,
    5.0,
    5.2,
    5.6,
    6.4,
    7.2,
    7.4,
    6.2,
    4.2,
    3.0,
)
#: Sales over the counter by hour of the day.
_COUNTER = (0, 0, 0, 0, 0, 0, 0, 0, 3.0, 6.0, 8.0, 9.5, 11.0, 9.5, 8.0, 8.0, 9.5, 11.5, 10.5, 5.0, 0, 0, 0, 0)
#: Monday first; 1970-01-01 was a Thursday.
_WEEK = (1.0, 0.95, 0.95, 1.0, 1.15, 1.7, 0.85)


class Season:
    """How many customers come, as shares of a Monday's, and what more or less of them is planned for."""

    def __init__(self, local: LocalTime) -> None:
        self._local = local
        self._plans: list[tuple[int, int, float]] = []

    def plan(self, begin_us: int, end_us: int, factor: float) -> None:
        """Expect `factor` times the usual number of customers for a while."""
        self._plans.append((begin_us, end_us, factor))

    def online(self, now_us: int) -> float:
        """The share of a Monday's online orders that comes in the hour around `now_us`."""
        return self._share(_ONLINE, now_us)

    def counter(self, now_us: int) -> float:
        """The share of a Monday's counter sales that comes in the hour around `now_us`."""
        return self._share(_COUNTER, now_us)

    def busy(self, now_us: int) -> float:
        """How busy the present time is planned to be, against the same hour of a Monday."""
        begin, _ = self._local.day(now_us)
        factor = _WEEK[((begin + DAY_US // 2) // DAY_US + 3) % 7]
        for begin, end, planned in self._plans:
            if begin <= now_us < end:
                factor *= planned
        return factor

    def _share(self, hours: tuple[float, ...], now_us: int) -> float:
        _, clock = self._local.day(now_us)
        return hours[clock // HOUR_US % 24] / sum(hours) * self.busy(now_us)


def poisson(random: Random, mean: float) -> int:
    """A Poisson count, by counting exponential gaps. Cost: proportional to the mean."""
    count, reached = 0, random.expovariate(1.0)
    while reached < mean:
        count += 1
        reached += random.expovariate(1.0)
    return count
