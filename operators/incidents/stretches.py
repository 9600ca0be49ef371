"""A duration that is known as a distribution."""

from functools import lru_cache
from statistics import NormalDist
from typing import Self

import msgspec

#: A distribution is so many durations that are equally likely; odd, so that one of them is the median.
POINTS = 25
#: So many of them lie within the bound around the median.
_HELD = POINTS * 4 // 5
#: Quantiles of the standard normal distribution, as many; and the one beyond which are 10 %.
_NORMAL = tuple(NormalDist().inv_cdf((place + 0.5) / POINTS) for place in range(POINTS))
_NORMAL_HIGH = NormalDist().inv_cdf(0.9)
#: Where the middles of so many equal shares of all sums of two distributions are.
_MIDDLES = tuple((2 * place + 1) * POINTS**2 // (2 * POINTS) for place in range(POINTS))


class Stretch(msgspec.Struct, frozen=True):
    """How long something takes, in seconds: `POINTS` durations that are equally likely, ascending."""

    points: tuple[float, ...]

    @classmethod
    def about(cls, middle_s: float, error_s: float) -> Self:
        """Normally distributed around `middle_s`, 80 % of it within `error_s`; no less than nothing."""
        points = [middle_s + error_s * one / _NORMAL_HIGH for one in _NORMAL]
        return cls(tuple([one if one > 0.0 else 0.0 for one in points]))  # noqa: FURB136 - faster than max

    @property
    def middle_s(self) -> float:
        """The median."""
        return self.points[POINTS // 2]

    @property
    def error_s(self) -> float:
        """Within so much of the median are 80 %: between as many and one more of the distances from it."""
        middle_s = self.middle_s
        away = sorted(map(abs, [one - middle_s for one in self.points]))
        return (away[_HELD - 1] + away[_HELD]) / 2

    def then(self, other: "Stretch") -> "Stretch":
        """One after the other, as if how long the one takes told nothing of the other."""
        return _summed(self, other)

    def at_least(self, least_s: float) -> "Stretch":
        """The same, with nothing below `least_s`."""
        if min(self.points[0], self.points[-1]) >= least_s:
            return self
        return Stretch(tuple([one if one > least_s else least_s for one in self.points]))  # noqa: FURB136 - as above


@lru_cache(maxsize=4_096)
def _summed(one: Stretch, other: Stretch) -> Stretch:
    """The middles of `POINTS` equal shares of all sums; kept, since many orders wait for the same."""
    sums = sorted([mine + more for mine in one.points for more in other.points])
    return Stretch(tuple([sums[place] for place in _MIDDLES]))
