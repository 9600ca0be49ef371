"""The picture of a signal's series: values, band and alarms, the scores under them. One SVG that loads nothing."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from textwrap import wrap

from dataflows.explaining.subject import Judged, Subject, span
from dataflows.reporting.axis import WIDTH, TimeAxis
from dataflows.reporting.markup import Markup, joined, tag
from operators.anomaly.budget import LEAST
from operators.series_words import value_words
from schemas.durations import people_time

_LEFT = 92
_LINE = 17
_VALUES, _SCORES, _BETWEEN = 260, 90, 34
_GAP_STEPS = 5

_STYLE = """
svg { background: #ffffff; font: 12px system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
text { fill: #1a2230; } .soft, .tick { fill: #5b6675; font-size: 11.5px; } .head { font-size: 15px; font-weight: 600; }
.grid { stroke: #dde2e8; } .band { fill: #2563a833; } .expected { fill: none; stroke: #5b6675; stroke-dasharray: 4 3; }
.value { fill: none; stroke: #2563a8; stroke-width: 1.6; stroke-linecap: round; } .score { fill: #8794a3; }
.least { stroke: #c99700; stroke-dasharray: 3 3; } .held { fill: #b3261e14; }
.alarm { fill: none; stroke: #b3261e; stroke-width: 1.6; } .this { fill: #b3261e; stroke: #b3261e; }
"""


def picture(subject: Subject) -> Markup:
    """Draw it; the subject has points."""
    signal, points = subject.signal, subject.points
    lines = wrap(signal.explanation, 160)
    top = 34 + _LINE * len(lines) + 36
    bottom = top + _VALUES
    axis = TimeAxis(points[0].at_us, max(points[-1].at_us, points[0].at_us + 1), _LEFT)
    scores_top = bottom + _BETWEEN
    end_us = signal.closed_us if signal.closed_us is not None else points[-1].at_us
    x, width = axis.x(signal.opened_us), max(1.0, axis.x(end_us) - axis.x(signal.opened_us))
    parts = [
        tag("style", Markup(_STYLE)),
        tag("title", signal.explanation),
        tag("text", _head(subject), x=16, y=24, class_="head"),
        *(tag("text", line, x=16, y=44 + _LINE * number) for number, line in enumerate(lines)),
        tag("rect", x=f"{x}", y=top, width=f"{width:.1f}", height=scores_top + _SCORES - top, class_="held"),
        axis.scale(top, scores_top + _SCORES),
        _values(subject, axis, top, bottom),
        _scores(points, axis, scores_top),
    ]
    height = scores_top + _SCORES + 16
    return tag("svg", joined(parts), xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {height}", role="img")


def _head(subject: Subject) -> str:
    signal = subject.signal
    where = f" at {subject.place}" if subject.place else ""
    said = " of ".join(word for word in (subject.metric, signal.handoff) if word) + where
    return f"{signal.kind}: {said}; {signal.method}, confidence {signal.confidence:.0%}; {people_time(signal.found_us)}"


def _values(subject: Subject, axis: TimeAxis, top: int, bottom: int) -> Markup:
    points, metric = subject.points, subject.metric
    lowest, highest = span(points)

    def y(value: float) -> float:
        share = (max(lowest, value) - lowest) / (highest - lowest)
        return round(bottom - share * (bottom - top), 1)

    parts = []
    for step in range(5):
        value = lowest + step * (highest - lowest) / 4
        parts.append(tag("line", x1=_LEFT, x2=f"{axis.right}", y1=f"{y(value)}", y2=f"{y(value)}", class_="grid"))
        label = value_words(metric, value)
        parts.append(tag("text", label, x=_LEFT - 8, y=f"{y(value) + 4}", text_anchor="end", class_="tick"))
    for run in _runs(points):
        band = [
            (axis.x(one.at_us), y(one.lower), y(one.upper))
            for one in run
            if one.lower is not None and one.upper is not None
        ]
        if band:
            there = [f"{x},{high}" for x, _, high in band]
            back = [f"{x},{low}" for x, low, _ in reversed(band)]
            parts.append(tag("polygon", points=" ".join((*there, *back)), class_="band"))
        expected = [(axis.x(one.at_us), y(one.expected)) for one in run if one.expected is not None]
        if expected:
            parts.append(tag("path", d=_path(expected), class_="expected"))
        parts.append(tag("path", d=_path([(axis.x(one.at_us), y(one.value)) for one in run]), class_="value"))
    for one in points:
        if one.alarm:
            is_this = one.at_us == subject.judged_us
            circle = tag(
                "circle",
                tag("title", _alarm_words(one, metric)),
                cx=f"{axis.x(one.at_us)}",
                cy=f"{y(one.value)}",
                r=6 if is_this else 4,
                class_="alarm this" if is_this else "alarm",
            )
            parts.append(circle)
    return tag("g", joined(parts))


def _scores(points: Sequence[Judged], axis: TimeAxis, top: int) -> Markup:
    """A bar for each window that was news, and the least score of an alarm."""
    highest = max(LEAST * 1.2, *(point.score for point in points))
    bottom = top + _SCORES
    least = bottom - LEAST / highest * _SCORES
    parts = [
        tag("text", "score", x=_LEFT - 8, y=top + 10, text_anchor="end", class_="tick"),
        tag("line", x1=_LEFT, x2=f"{axis.right}", y1=bottom, y2=bottom, class_="grid"),
        tag("line", x1=_LEFT, x2=f"{axis.right}", y1=f"{least:.1f}", y2=f"{least:.1f}", class_="least"),
        tag("text", f"{LEAST}", x=_LEFT - 8, y=f"{least + 4:.1f}", text_anchor="end", class_="tick"),
    ]
    for one in points:
        if one.score > 0.0:
            height = one.score / highest * _SCORES
            x, y = f"{axis.x(one.at_us) - 1:.1f}", f"{bottom - height:.1f}"
            class_ = "score this" if one.alarm else "score"
            parts.append(tag("rect", x=x, y=y, width=2, height=f"{height:.1f}", class_=class_))
    return tag("g", joined(parts))


def _alarm_words(one: Judged, metric: str) -> str:
    expected = "" if one.expected is None else f", expected {value_words(metric, one.expected)}"
    return f"{one.alarm} at {people_time(one.at_us)}: {value_words(metric, one.value)}{expected} ({one.method})"


def _runs(points: Sequence[Judged]) -> Iterator[list[Judged]]:
    """The points without a gap between them."""
    steps = sorted(after.at_us - before.at_us for before, after in pairwise(points))
    longest = _GAP_STEPS * steps[len(steps) // 2] if steps else 0
    run: list[Judged] = []
    for one in points:
        if run and one.at_us - run[-1].at_us > longest:
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _path(places: Sequence[tuple[float, float]]) -> str:
    """A line through the places; one alone is a dot."""
    (x, y), *rest = places
    return f"M{x},{y}" + ("".join(f"L{x},{y}" for x, y in rest) or "h0")
