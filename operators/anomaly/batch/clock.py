"""Where the points of a batch lie in day and week, and how far apart those of each series are."""

from typing import NamedTuple

import numpy as np

from operators.anomaly.batch.columns import Column, Mask, Whole, greater, lesser
from operators.anomaly.clock import (
    DAY_HOURS,
    GAP_STEPS,
    HOUR_S,
    HOUR_US,
    LONGEST,
    MEMORY,
    QUARTER_US,
    QUARTERS,
    WEEK_HOURS,
    WEEK_S,
)
from operators.anomaly.layout import LAST_US, SEEN, STEP_S, STEPS_SEEN


class Place(NamedTuple):
    """Each point's full hours of the day and of the week, before and after it, how far it is between, its quarter."""

    day: tuple[Whole, Whole]
    week: tuple[Whole, Whole]
    share: Column
    quarter: Whole


class Pace(NamedTuple):
    """Each series' points an hour and a week, and whether this point comes after a gap."""

    per_hour: Column
    per_week: Column
    is_gap: Mask


def places(local_us: Whole) -> Place:
    """As `clock.knots` and `clock.quarter` of each."""
    hour = local_us // HOUR_US
    share = (local_us - hour * HOUR_US) / HOUR_US
    after = hour + 1
    return Place(
        (hour % DAY_HOURS, after % DAY_HOURS),
        (hour % WEEK_HOURS, after % WEEK_HOURS),
        share,
        local_us // QUARTER_US % QUARTERS,
    )


def learn_pace(own: Column, at_us: Whole) -> Pace:
    """As `Cadence.learn` of each series; `own` are their numbers, (numbers, series)."""
    seen, last_us, step_s = own[STEPS_SEEN], own[LAST_US], own[STEP_S]
    passed_s = (at_us - last_us) / 1e6
    is_first = seen == 0.0
    moves = ~is_first & (passed_s > 0.0)
    usual_s = np.where(step_s != 0.0, step_s, passed_s)
    steps = np.where(moves, passed_s / usual_s, 1.0)
    learnt_s = usual_s + (lesser(passed_s, LONGEST * usual_s) - usual_s) / lesser(seen, MEMORY)
    own[STEP_S] = np.where(moves, learnt_s, step_s)
    own[LAST_US] = np.where(is_first | moves, at_us, last_us)
    own[STEPS_SEEN] = np.where(moves, lesser(seen + 1.0, MEMORY), np.where(is_first, 1.0, seen))
    step_s = own[STEP_S]
    has_step = step_s != 0.0
    return Pace(
        np.where(has_step, greater(1.0, HOUR_S / step_s), 1.0),
        np.where(has_step, greater(1.0, WEEK_S / step_s), 1.0),
        (steps > GAP_STEPS) & (own[SEEN] > 1.0),
    )
