"""A period cut into equal steps, and where the lines of a time axis go."""

from collections.abc import Iterator

import msgspec

from schemas.durations import DAY_US, HOUR_US, MINUTE_US, from_us

_STEPS_US = (
    MINUTE_US,
    5 * MINUTE_US,
    10 * MINUTE_US,
    15 * MINUTE_US,
    30 * MINUTE_US,
    HOUR_US,
    2 * HOUR_US,
    3 * HOUR_US,
    6 * HOUR_US,
    12 * HOUR_US,
    DAY_US,
    2 * DAY_US,
    7 * DAY_US,
    28 * DAY_US,
)


class Steps(msgspec.Struct, frozen=True):
    """[begin, end) in `count` steps of `step_us` each, on the clock; the first and the last one may stick out.

    `first_us` is when the first step begins, at or before `begin_us`.
    """

    begin_us: int
    end_us: int
    step_us: int
    first_us: int
    count: int

    @classmethod
    def over(cls, begin_us: int, end_us: int, *, most: int) -> "Steps":
        """Steps of a length that people use, at most about `most` of them."""
        step_us = _fitting(end_us - begin_us, most)
        first_us = begin_us - begin_us % step_us
        return cls(begin_us, end_us, step_us, first_us, -(-(end_us - first_us) // step_us))

    def begins(self) -> Iterator[int]:
        """When each step begins."""
        return (self.first_us + number * self.step_us for number in range(self.count))


def ticks(begin_us: int, end_us: int, most: int = 13) -> list[tuple[int, str]]:
    """Round instants in [begin, end] with what stands beside them: the time of day, the date where a day begins."""
    step_us = _fitting(end_us - begin_us, most)
    first_us = -(-begin_us // step_us) * step_us
    out = []
    for at_us in range(first_us, end_us + 1, step_us):
        moment = from_us(at_us)
        midnight = at_us % DAY_US == 0
        out.append((at_us, f"{moment:%-d %b}" if midnight else f"{moment:%H:%M}"))
    return out


def _fitting(length_us: int, most: int) -> int:
    for step_us in _STEPS_US:
        if length_us <= step_us * most:
            return step_us
    return -(-length_us // (most * DAY_US)) * DAY_US
