"""Money at risk over time: one stepped area for each currency."""

from collections.abc import Sequence

from dataflows.reporting.axis import WIDTH, TimeAxis
from dataflows.reporting.markup import Markup, joined, tag
from dataflows.reporting.period import Money
from dataflows.reporting.steps import Steps
from dataflows.reporting.words import count, moment
from dataflows.reporting.words import money as amount

_LEFT = 84
_TOP = 30
_HEIGHT = 170


def currencies(points: Sequence[Money]) -> list[str]:
    """Those that anything is at risk in, the one with the highest peak first."""
    peaks: dict[str, float] = {}
    for point in points:
        peaks[point.currency] = max(point.value, peaks.get(point.currency, 0.0))
    return sorted(peaks, key=lambda name: (-peaks[name], name))


def peak(points: Sequence[Money], currency: str) -> Money:
    """When most was at risk."""
    return max((point for point in points if point.currency == currency), key=lambda point: (point.value, -point.step))


def money_plot(points: Sequence[Money], currency: str, steps: Steps) -> Markup:
    """The plot of one currency. A step that has no point had nothing at risk."""
    values = {point.step: point for point in points if point.currency == currency}
    top_value = _rounded_up(max(point.value for point in values.values()))
    axis = TimeAxis(steps.begin_us, steps.end_us, _LEFT)
    bottom = _TOP + _HEIGHT

    def y(value: float) -> float:
        return round(bottom - value / top_value * _HEIGHT, 1)

    begins = [*steps.begins(), steps.end_us]
    corners: list[str] = [f"M{axis.left},{bottom}"]
    columns: list[Markup] = []
    for step in range(steps.count):
        here, there = axis.x(begins[step]), axis.x(min(begins[step + 1], steps.end_us))
        point = values.get(step)
        height = y(point.value) if point is not None else bottom
        corners.append(f"L{here},{height} L{there},{height}")
        if point is not None:
            of = f" in {count(point.orders, 'order')}" if point.orders else ""
            words = f"{moment(begins[step])}: {amount(point.value, currency)}{of}"
            columns.append(
                tag(
                    "rect",
                    tag("title", words),
                    x=f"{here}",
                    y=f"{_TOP}",
                    width=f"{there - here:.1f}",
                    height=_HEIGHT,
                    class_="touch",
                )
            )
    corners.append(f"L{axis.right},{bottom} Z")
    levels = [top_value * quarter / 4 for quarter in range(5)]
    lines = [
        joined(
            (
                tag("line", x1=f"{axis.left}", x2=f"{axis.right}", y1=f"{y(level)}", y2=f"{y(level)}", class_="grid"),
                tag("text", _said(level), x=f"{_LEFT - 8}", y=f"{y(level) + 4}", text_anchor="end", class_="tick"),
            )
        )
        for level in levels
    ]
    drawn = tag(
        "svg",
        tag("title", f"{currency or 'Money'} at risk over time"),
        axis.scale(_TOP, bottom),
        joined(lines),
        tag("path", d=" ".join(corners), class_="area"),
        joined(columns),
        viewBox=f"0 0 {WIDTH} {bottom + 8}",
        class_="plot money",
        role="img",
    )
    return tag("div", drawn, class_="wide")


def _rounded_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 times a power of ten: quarters of it can be read."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    return next(factor * power for factor in (1, 2, 4, 6, 8, 10) if factor * power >= value)


def _said(level: float) -> str:
    return f"{level:,.0f}" if level == int(level) else f"{level:g}"
