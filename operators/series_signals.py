"""What is said of a point that a model, or the rule in its place, finds unusual."""

import math

from operators.anomaly.score import Kind, Score
from operators.findings import scope_of, signal_id
from operators.series_points import FIGURES, WindowPoint
from operators.series_words import DETECTOR, value_words
from schemas.durations import people_time
from schemas.rows import Signal

_TERMS = {
    "novelty": "it left the range that this series had reached",
    "innovation": "the step from the window before is larger than usual at that time of the day",
    "level": "it is far from its level of late",
    "sustained": "many windows lean to this side",
}
_KINDS: dict[Kind, str] = {"drift": "its daily mean has been drifting for days"}
#: A term that adds less than this many powers of ten is not told.
_LEAST_TOLD = 0.05


def model_signal(scored: WindowPoint, score: Score) -> Signal:
    """The signal of an alarm: about one window, so it is over when it is found."""
    metric, handoff, scope_by, scope = scored.point.series
    observed, expected = value_words(metric, score.value), _expected_words(metric, score, scored.point.limit)
    place = f"{scope_by} {scope}" if scope_by and scope else ""
    where = " at ".join(word for word in (handoff, place) if word) or "Everywhere"
    begin, end = people_time(scored.start_us), people_time(score.at_us)
    figure, why = FIGURES[metric], _reason(score)
    return Signal(
        signal_id=signal_id(DETECTOR, *scored.point.series, str(score.at_us)),
        detector=DETECTOR,
        kind=figure.kind,
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
        explanation=f"{where}, {begin} to {end}: {figure.words} {observed}, expected {expected}; {why}.",
        evidence=[],
        arrival_us=scored.arrival_us,
        version=scored.arrival_us,
    )


def _expected_words(metric: str, score: Score, limit: float | None) -> str:
    """The band, without the part that can't be; of the rule, its limit."""
    if score.method == "rule" and limit is not None:
        return f"at most {value_words(metric, limit)}"
    if not math.isfinite(score.upper):
        return value_words(metric, score.expected)
    low, high = value_words(metric, max(0.0, score.lower)), value_words(metric, max(0.0, score.upper))
    return low if low == high else f"{low} to {high}"


def _reason(score: Score) -> str:
    """The term that contributed most, with what each added; for a drift, and for the rule, what they go by."""
    if score.method == "rule":
        return "three windows in a row are over the limit (the rule judges, since the model can't)"
    if score.kind in _KINDS:
        return _KINDS[score.kind]
    terms = sorted(((getattr(score.terms, name), name) for name in _TERMS), reverse=True)
    most = terms[0][1]
    told = [f"{name} {value:.1f}" for value, name in terms if value >= _LEAST_TOLD]
    return f"{_TERMS[most]} ({', '.join(told)}: {score.surprise:.1f} powers of ten)"
