"""What is said of a point that a model, or the rule in its place, finds unusual."""

import math

from operators.anomaly.score import Kind, Score
from operators.findings import scope_of, signal_id
from operators.series_points import BACKLOG, COMPLETED, FIGURES, LATENCY, OLDEST, WindowPoint
from schemas.durations import SECOND_US, people_duration, people_time
from schemas.rows import Signal

DETECTOR = "models"

_WORDS = {
    BACKLOG.metric: "waiting",
    OLDEST.metric: "the age of the oldest",
    LATENCY.metric: "the time that 95 % of them took",
    COMPLETED.metric: "completed",
}
_SECONDS = {OLDEST.metric, LATENCY.metric}
_TERMS = {
    "novelty": "it left the range that this series had reached",
    "innovation": "the step from the window before is larger than usual at that time of the day",
    "level": "it is far from its level of late",
    "sustained": "many windows lean to this side",
}
_KINDS: dict[Kind, str] = {"drift": "its daily mean has been drifting for days"}


def model_signal(scored: WindowPoint, score: Score) -> Signal:
    """The signal of an alarm: about one window, so it is over when it is found."""
    metric, handoff, scope_by, scope = scored.point.series
    observed, expected = value_words(metric, score.value), _expected_words(metric, score, scored.point.limit)
    where = f" at {scope_by} {scope}" if scope_by and scope else ""
    begin, end = people_time(scored.start_us), people_time(score.at_us)
    why = _reason(score)
    return Signal(
        signal_id=signal_id(DETECTOR, *scored.point.series, str(score.at_us)),
        detector=DETECTOR,
        kind=FIGURES[metric].kind,
        handoff=handoff,
        scope=scope_of(scope_by, scope),
        case_id="",
        opened_at_us=scored.start_us,
        found_at_us=scored.arrival_us,
        closed_at_us=score.at_us,
        severity="low",
        score=score.anomaly_score,
        confidence=score.confidence,
        expected=expected,
        observed=observed,
        method=score.method,
        explanation=f"{handoff}{where}, {begin} to {end}: {_WORDS[metric]} {observed}, expected {expected}; {why}.",
        evidence=[],
        arrival_us=scored.arrival_us,
        version=scored.arrival_us,
    )


def value_words(metric: str, value: float) -> str:
    """A value of that metric: a count, or a duration."""
    if metric not in _SECONDS:
        return f"{value:,.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.1f}"
    return people_duration(value * SECOND_US)


def _expected_words(metric: str, score: Score, limit: float | None) -> str:
    """The band, without the part that can't be; of the rule, its limit."""
    if score.method == "rule" and limit is not None:
        return f"at most {value_words(metric, limit)}"
    if not math.isfinite(score.upper):
        return value_words(metric, score.expected)
    low, high = value_words(metric, max(0.0, score.lower)), value_words(metric, max(0.0, score.upper))
    return low if low == high else f"{low} to {high}"


def _reason(score: Score) -> str:
    """The term that contributed most; for a drift, and for the rule, what they go by."""
    if score.method == "rule":
        return "three windows in a row are over the limit (the rule judges, since the model can't)"
    if score.kind in _KINDS:
        return _KINDS[score.kind]
    terms = {name: getattr(score.terms, name) for name in _TERMS}
    most = max(terms, key=terms.__getitem__)
    return f"{_TERMS[most]} ({terms[most]:.1f} of {score.surprise:.1f} powers of ten)"
