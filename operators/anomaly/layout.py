"""Where each number of a series stands: a row of 64-bit floats, and a row of 32-bit ones for what it knows by the hour.

The same two rows are kept by the bank, taken apart by the batch path, and stand in a snapshot; a change of order is a
new version of the snapshot (`operators/anomaly/detector_state.py`). Counts are whole numbers, and times in microseconds
stay below 2^53, so 64-bit floats hold both exactly.
"""

from operators.anomaly.clock import DAY_HOURS, QUARTERS, WEEK_HOURS

# Of the model itself, its budget, its cadence, what it borrows, and drift.
(
    MEAN, DEVIATION, SLOW, SLOW_SCALE, FAST, FAST_SCALE, LEAN, RECORD, QUIET, SEEN,
    THRESHOLD,
    LAST_US, STEP_S, STEPS_SEEN,
    POOLED_LEVEL, POOLED_SEEN,
    DRIFT_TOTAL, DRIFT_COUNT,
    TEST_MEAN, TEST_SEEN, RISING, FALLING, LOWEST, HIGHEST,
) = range(24)  # fmt: skip
#: Where the numbers of the test of drift begin and end, as `PageHinkley` has them.
TEST = slice(TEST_MEAN, HIGHEST + 1)

#: Ranges of the value, the residual, its distances from the slow and from the fast level: low, high, mean, seen.
REACH_VALUE, REACH_RESIDUAL, REACH_LEVEL, REACH_STEP = range(24, 40, 4)
#: Tails of the step, of the level, of the lean: log u, g, beyond, seen.
TAIL_STEP, TAIL_LEVEL, TAIL_LEAN = range(40, 52, 4)
NUMBERS = 52

# Knots: mean, deviation and weight by hour of the day, then of the week; then how wild each quarter of an hour is.
DAY = 0
WEEK = DAY + 3 * DAY_HOURS
WILDNESS = WEEK + 3 * WEEK_HOURS
WILDNESS_WEIGHT = WILDNESS + QUARTERS
KNOTS = WILDNESS_WEIGHT + QUARTERS
