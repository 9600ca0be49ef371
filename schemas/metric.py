"""What a metric is declared as; schemas/metrics.py has those that there are."""

from typing import Literal

import msgspec


class Metric(msgspec.Struct, frozen=True):
    """One metric: what Prometheus is told of it, and what a person does when it moves.

    `buckets` are the upper bounds of a histogram, ascending, without the infinite one.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    action: str
    buckets: tuple[float, ...] = ()
