"""What a person decides about the models."""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.durations import HOUR_US, MINUTE_US, Duration, Length


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which models judge, how often they may alarm, and when the rule takes over.

    Without `enabled` the pipeline makes no points: nothing is scored, learnt or written.
    `series` and `vectors` are the kill switches of the two families: off, the deterministic rule judges, and nothing is
    learnt. `alarms_per_week` is the budget of one series. `max_series` bounds the memory: beyond it the series that was
    silent longest is dropped, and reported. A model younger than `young_points` is judged by the rule; one that drifts
    is, until it was calm for `calm_points`. A rate (rejected picks, returns, cancellations) is of the last `rate_span`,
    and counted by the minute.
    """

    enabled: bool = True
    series: bool = True
    vectors: bool = True
    alarms_per_week: Annotated[float, Meta(gt=0, le=10_080)] = 1.0
    max_series: Annotated[int, Meta(ge=1)] = 50_000
    rate_span: Annotated[Duration, Length(MINUTE_US)] = Duration(HOUR_US)
    young_points: Annotated[int, Meta(ge=0)] = 200
    calm_points: Annotated[int, Meta(ge=0)] = 500
