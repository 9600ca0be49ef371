"""Ranges and tails of a batch: what `Reach` and `Tail` say of one number, for a number of each series."""

import numpy as np

from operators.anomaly import reach, tail
from operators.anomaly.batch.columns import Column, Mask, greater, lesser, log, log10


def novelty(own: Column, value: Column, up: Mask, down: Mask) -> Column:
    """As `Reach.novelty` of each; `own` are its four numbers, (4, series), and learn the value."""
    low, high, mean, seen = own
    seen += 1.0
    said = np.zeros(len(value))
    begins, learns = seen == reach.LEARN_FROM + 1, seen > reach.LEARN_FROM + 1
    if not learns.all():
        if not (begins | learns).any():
            return said
        low, high, mean = (np.where(begins, value, part) for part in (low, high, mean))
    excess = greater(np.where(up, value - high, 0.0), np.where(down, low - value, 0.0))
    (new,) = np.nonzero((excess > 0.0) & (seen > reach.BURN_IN))
    if len(new):
        width = high[new] - low[new]
        has_width = width > 0.0
        widths = np.where(has_width, 1.0 + reach.STEEPNESS * excess[new] / width, 1.0)
        said[new] = np.where(has_width, log10(widths), reach.FROM_CONSTANT)
    mean_now = mean + (value - mean) / lesser(seen, reach.MEMORY)
    low_now = lesser(value, low + (mean_now - low) / reach.MEMORY)
    high_now = greater(value, high + (mean_now - high) / reach.MEMORY)
    own[0], own[1], own[2] = (
        np.where(learns, now, before) for now, before in ((low_now, low), (high_now, high), (mean_now, mean))
    )
    return said


def surprise(own: Column, magnitude: Column) -> Column:
    """As `Tail.surprise` of each; `own` are its four numbers, (4, series), and learn the magnitude."""
    log_u, g, beyond, seen = own
    over = log(np.where(magnitude > tail.SMALLEST, magnitude, tail.SMALLEST)) - log_u
    is_over = over > 0.0
    far = np.where(is_over, tail.BASE + over / g / tail.LN10, greater(0.0, tail.BASE + over / tail.LN10))
    said = np.where(seen > tail.WARM, far, 0.0)
    seen += 1.0
    step = greater(2.0 / np.sqrt(seen), tail.LEAST_STEP)
    beyond_now = lesser(beyond + 1.0, tail.MEMORY)
    g_now = g + (lesser(over, tail.FARTHEST) - g) / lesser(beyond_now + tail.BELIEF, tail.MEMORY)
    own[2] = np.where(is_over, beyond_now, beyond)
    own[1] = np.where(is_over, greater(g_now, tail.LEAST_G), g)
    own[0] = np.where(is_over, log_u + step * (1.0 - tail.SHARE), log_u - step * tail.SHARE)
    return said
