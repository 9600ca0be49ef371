"""Arithmetic over columns, one element a series, with the results that Python's has for one number.

Both branches of a choice are computed and one is taken, so what is not taken may divide by zero: callers do it all
under `np.errstate(all="ignore")`. Adding, multiplying, dividing and roots are the same in numpy and in Python (IEEE
754); logarithms and exponentials of numpy differ in the last bit on some machines, so they go through `math`.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Column: TypeAlias = npt.NDArray[np.float64]
Whole: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]


def lesser(one: Column | float, other: Column | float) -> Column:
    """As `min(one, other)`: the first where neither is less, so zeros keep their sign and NaN its place."""
    return np.where(np.less(other, one), other, one)


def greater(one: Column | float, other: Column | float) -> Column:
    """As `max(one, other)`: the first where neither is greater."""
    return np.where(np.greater(other, one), other, one)


def log(values: Column) -> Column:
    """As `math.log` of each."""
    return np.array([math.log(value) for value in values.tolist()])


def exp(values: Column) -> Column:
    """As `math.exp` of each."""
    return np.array([math.exp(value) for value in values.tolist()])


def log10(values: Column) -> Column:
    """As `math.log10` of each."""
    return np.array([math.log10(value) for value in values.tolist()])


def bad(off: Column, up: Mask, down: Mask) -> Column:
    """How far off on the bad side."""
    return np.where(off >= 0.0, np.where(up, off, 0.0), np.where(down, -off, 0.0))
