"""When customers come: the shape of a day and of a week."""

from random import Random

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
_WEEK = (1.0, 0.95, 0.95, 1.0, 1.1, 1.2, 0.9)


def online_share(now_us: int) -> float:
    """The share of a Monday's online orders that comes in the hour around `now_us`."""
    return _share(_ONLINE, now_us)


def counter_share(now_us: int) -> float:
    """The share of a Monday's counter sales that comes in the hour around `now_us`."""
    return _share(_COUNTER, now_us)


def poisson(random: Random, mean: float) -> int:
    """A Poisson count, by counting exponential gaps. Cost: proportional to the mean."""
    count, reached = 0, random.expovariate(1.0)
    while reached < mean:
        count += 1
        reached += random.expovariate(1.0)
    return count


def _share(hours: tuple[float, ...], now_us: int) -> float:
    weekday = (now_us // DAY_US + 3) % 7
    return hours[now_us % DAY_US // HOUR_US] / sum(hours) * _WEEK[weekday]
