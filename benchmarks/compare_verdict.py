"""Whether one of two programs is slower than the other by more than the noise, from runs in turn.

A turn runs the base, the other one (the head), and the base again. With logarithms of seconds `b`, `h`, `a`,
`h - (b + a) / 2` says how much slower the head is; a machine that gets steadily slower or faster within a turn adds
nothing to it. `a - b`, the base against itself, has nothing in it but noise. If single runs have variance v, the two
have variance 1.5 v and 2 v, and they are uncorrelated: both estimate v, with n - 1 degrees of freedom each.

The interval is Student's, cut so that no more than the share `ALARMS` of whole comparisons (all paths together, by
Bonferroni's inequality) tell of a path that is slower where nothing has changed. Because two trees are never laid out
the same in memory, a difference below `LEAST` is no finding however sure it is.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

#: How often a comparison of equal programs may cry "slower" for any path, and as often "faster".
ALARMS = 0.02
#: The smallest ratio that is a finding: 2 %.
LEAST = 0.02
MIN_TURNS = 3

Word: TypeAlias = Literal["slower", "faster", "same"]


class Turn(msgspec.Struct, frozen=True):
    """Seconds of one turn, in the order in which they were run."""

    base: float
    head: float
    again: float


class Verdict(msgspec.Struct, frozen=True):
    """`ratio` is the head's seconds over the base's; `low` to `high` is where it is.

    `noise` is the spread (standard deviation) of a single run, as a share of it; `control` the base over itself.
    """

    ratio: float
    low: float
    high: float
    noise: float
    control: float
    word: Word


def judge(turns: Sequence[Turn], paths: int = 1, *, alarms: float = ALARMS, least: float = LEAST) -> Verdict:
    """What the turns of one path say, where so many paths are judged together.

    Raises:
        ValueError: fewer than `MIN_TURNS` turns say nothing of the noise.
    """
    count = len(turns)
    if count < MIN_TURNS:
        raise ValueError(f"{count} turns are too few to know the noise: at least {MIN_TURNS}")
    slower = [math.log(turn.head) - (math.log(turn.base) + math.log(turn.again)) / 2 for turn in turns]
    itself = [math.log(turn.again) - math.log(turn.base) for turn in turns]
    variance = (statistics.variance(slower) / 1.5 + statistics.variance(itself) / 2) / 2
    middle = statistics.fmean(slower)
    reach = student(1 - alarms / paths, 2 * (count - 1)) * math.sqrt(1.5 * variance / count)
    word: Word = "same"
    if middle - reach > 0 and math.expm1(middle) >= least:
        word = "slower"
    elif middle + reach < 0 and math.expm1(-middle) >= least:
        word = "faster"
    return Verdict(
        ratio=math.exp(middle),
        low=math.exp(middle - reach),
        high=math.exp(middle + reach),
        noise=math.sqrt(variance),
        control=math.exp(statistics.fmean(itself)),
        word=word,
    )


def student(share: float, freedom: int) -> float:
    """Below which value that share of Student's distribution lies, for an even number of degrees of freedom.

    The distribution function is a finite sum then (Abramowitz and Stegun 26.7.4); it is inverted by bisection.
    """
    if freedom < 2 or freedom % 2:
        raise ValueError(f"{freedom} degrees of freedom: must be even")
    if not 0.5 <= share < 1:
        raise ValueError(f"a share of {share}: must be from 0.5 to below 1")
    low, high = 0.0, 1.0
    while _below(high, freedom) < share:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def _below(value: float, freedom: int) -> float:
    angle = math.atan(value / math.sqrt(freedom))
    term = total = 1.0
    for step in range(2, freedom, 2):
        term *= (step - 1) / step * math.cos(angle) ** 2
        total += term
    return 0.5 + math.sin(angle) * total / 2
