"""A signal in the terminal: its sentence, what it rests on, and the series as a small plot of characters."""

from collections.abc import Callable, Iterator, Sequence

from dataflows.explaining.subject import Judged, Subject, span
from dataflows.reporting.steps import ticks
from operators.series_words import value_words
from schemas.durations import people_time

_ROWS = 12
_VALUE, _BAND, _EXPECTED, _ALARM, _THIS = "●", "░", "·", "△", "▲"
_MOST_EVIDENCE = 10


def told(subject: Subject, columns: int) -> Iterator[str]:
    """Line by line, at most `columns` wide."""
    signal = subject.signal
    scope = ", ".join(f"{name} {value}" for name, value in signal.scope.items())
    over = people_time(signal.closed_us) if signal.closed_us is not None else "not over"
    yield signal.explanation
    yield ""
    rows = {
        "signal": signal.signal_id,
        "kind": f"{signal.kind}, by {signal.detector} ({signal.method})",
        "about": " · ".join(word for word in (signal.handoff, scope, signal.case_id) if word),
        "held": f"from {people_time(signal.opened_us)}, found {people_time(signal.found_us)}, over {over}",
        "observed": signal.observed,
        "expected": signal.expected,
        "rated": f"{signal.severity}, score {signal.score:.2g}, confidence {signal.confidence:.0%}",
    }
    for name, value in rows.items():
        if value:
            yield f"{name:>9}  {value}"
    for incident_id, role, kind, status in subject.incidents:
        yield f"{'incident':>9}  {incident_id}: {role} of {kind}, {status}"
    for number, one in enumerate(signal.evidence[:_MOST_EVIDENCE]):
        yield f"{'' if number else 'evidence':>9}  {one}"
    if len(signal.evidence) > _MOST_EVIDENCE:
        yield f"{'':>9}  and {len(signal.evidence) - _MOST_EVIDENCE} more"
    yield ""
    if subject.points:
        yield from _plot(subject, columns)
    else:
        yield _why_nothing(subject)


def _why_nothing(subject: Subject) -> str:
    """What there is to say where there is no series."""
    signal = subject.signal
    if not signal.handoff and subject.judged_us is None:
        return "It is about no handoff, so there is no series to show."
    return f"Of {signal.handoff or subject.metric} nothing is kept from that time, so there is no series to show."


def _plot(subject: Subject, columns: int) -> Iterator[str]:
    points, metric = subject.points, subject.metric
    lowest, highest = span(points)
    labels = [value_words(metric, lowest + (highest - lowest) * row / (_ROWS - 1)) for row in range(_ROWS)]
    margin = max(map(len, labels))
    width = max(20, columns - margin - 3)
    begin_us, end_us = points[0].at_us, max(points[-1].at_us, points[0].at_us + 1)

    def column(at_us: int) -> int:
        return min(width - 1, (at_us - begin_us) * width // (end_us - begin_us))

    def row(value: float) -> int:
        share = (min(highest, max(lowest, value)) - lowest) / (highest - lowest)
        return round(share * (_ROWS - 1))

    cells = [[" "] * width for _ in range(_ROWS)]
    for number, one in _shown(points, column):
        _put(cells, number, one, row)
    place = f" at {subject.place}" if subject.place else ""
    legend = f"{_VALUE} seen, {_EXPECTED} expected, {_BAND} band, {_ALARM} alarm"
    legend += f", {_THIS} this one" if subject.judged_us is not None else ""
    yield f"{' of '.join(word for word in (metric, subject.signal.handoff) if word)}{place} ({legend})"
    for level in reversed(range(_ROWS)):
        yield f"{labels[level]:>{margin}} ┤{''.join(cells[level])}".rstrip()
    yield f"{'':>{margin}} └{_marks(subject, width, column)}".rstrip()
    yield _scale(begin_us, end_us, width, margin)


def _put(cells: list[list[str]], number: int, one: Judged, row: Callable[[float], int]) -> None:
    """A window in its column: the value over what was expected over the band."""
    if one.lower is not None and one.upper is not None:
        for level in range(row(one.lower), row(one.upper) + 1):
            cells[level][number] = _BAND
    if one.expected is not None:
        cells[row(one.expected)][number] = _EXPECTED
    cells[row(one.value)][number] = _VALUE


def _marks(subject: Subject, width: int, column: Callable[[int], int]) -> str:
    """The alarms, on the axis; the one that is explained over all others."""
    marks = [" "] * width
    for one in subject.points:
        number = column(one.at_us)
        if one.at_us == subject.judged_us:
            marks[number] = _THIS
        elif one.alarm and marks[number] == " ":
            marks[number] = _ALARM
    return "".join(marks)


def _shown(points: Sequence[Judged], column: Callable[[int], int]) -> Iterator[tuple[int, Judged]]:
    """For each column the window that is furthest from what was expected."""
    best: dict[int, Judged] = {}
    for one in points:
        number = column(one.at_us)
        if number not in best or _off(one) >= _off(best[number]):
            best[number] = one
    yield from best.items()


def _off(one: Judged) -> float:
    return one.value if one.expected is None else abs(one.value - one.expected)


def _scale(begin_us: int, end_us: int, width: int, margin: int) -> str:
    line = [" "] * width
    free = 0
    for at_us, label in ticks(begin_us, end_us, max(2, width // 12)):
        begin = (at_us - begin_us) * width // (end_us - begin_us)
        if begin >= free and begin + len(label) <= width:
            line[begin : begin + len(label)] = label
            free = begin + len(label) + 1
    return f"{'':>{margin}}  {''.join(line)}".rstrip()
