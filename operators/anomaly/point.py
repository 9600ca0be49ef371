"""One value of one series, as it comes to the models."""

import msgspec

from operators.anomaly.judged import SeriesKey
from operators.anomaly.score import Direction


class Point(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One value of one series.

    `series` names it, with its metric first. `pool` is shared by siblings that have the same week ("" for none).
    `direction` says which side is bad, `least` what distance from the expected is never an alarm, `limit` the
    deterministic rule's limit on the bad side (None: there is no rule), `offset_us` the site's clock from UTC.
    """

    series: SeriesKey
    pool: str
    at_us: int
    value: float
    direction: Direction = "both"
    least: float = 0.0
    limit: float | None = None
    offset_us: int = 0
