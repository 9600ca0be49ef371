"""How urgent an incident is."""

from math import exp

from operators.incidents.records import Record
from operators.incidents.settings import PriorityWeights

#: By priority, from 1.
SEVERITIES = ("critical", "high", "medium", "low", "info")
_GRAVITY = {"critical": 1.0, "high": 0.75, "medium": 0.5, "low": 0.25, "info": 0.0}


def importance(record: Record, value: float, margin: float, now_us: int, weights: PriorityWeights) -> float:
    """From 0 to 1. Money is in the currency of which most is at risk."""
    terms = (
        (weights.sla, _size(record.at_risk, weights.promises_scale) * _nearness(record, now_us, weights)),
        (weights.value, _size(value, weights.value_scale)),
        (weights.margin, _size(margin, weights.margin_scale)),
        (weights.customers, _size(len(record.totals.customers), weights.customers_scale)),
        (weights.severity, _GRAVITY.get(record.root.severity, 0.5)),
    )
    spared = 1.0
    for weight, size in terms:
        spared *= 1.0 - weight * size
    return round(1.0 - spared, 4)


def priority(score: float, weights: PriorityWeights) -> int:
    """1 (now) to 5 (when there is time)."""
    return 1 + sum(score < level for level in weights.levels)


def _size(amount: float, scale: float) -> float:
    return 1.0 - exp(-max(0.0, amount) / scale)


def _nearness(record: Record, now_us: int, weights: PriorityWeights) -> float:
    """1 where the first promise is over, a half where it is `breach_within` away, and so on."""
    if record.first_promise_us is None:
        return 0.0
    away = max(0, record.first_promise_us - now_us) / weights.breach_within
    return float(0.5**away)
