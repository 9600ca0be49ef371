"""What a person decides about the models."""

import msgspec

from schemas.durations import HOUR_US, MINUTE_US, Duration


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which models judge, how often they may alarm, and when the rule takes over.

    Without `enabled` the pipeline makes no points: nothing is scored, learnt or written.
    `series` and `vectors` are the kill switches of the two families: off, the deterministic rule judges, and nothing is
    learnt. `alarms_per_week` is the budget of one series. `max_series` bounds the memory: beyond it the series that was
    silent longest is dropped, and reported. A model younger than `young_points` is judged by the rule; one that drifts
    is, until it was calm for `calm_points`. A rate (rejected picks, returns, cancellations) is of the last `rate_span`.
    """

    enabled: bool = True
    series: bool = True
    vectors: bool = True
    alarms_per_week: float = 1.0
    max_series: int = 50_000
    rate_span: Duration = Duration(HOUR_US)
    young_points: int = 200
    calm_points: int = 500

    def __post_init__(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ValueError: a number is out of range.
        """
        if self.alarms_per_week <= 0:
            raise ValueError("alarms_per_week must be above 0: series = false turns the models off")
        if self.max_series < 1:
            raise ValueError("max_series must be at least 1")
        if self.rate_span < MINUTE_US:
            raise ValueError("rate_span must be at least a minute: counts are kept by the minute")
        if self.young_points < 0 or self.calm_points < 0:
            raise ValueError("young_points and calm_points can't be negative")
