"""Panels over a common time axis, as SVG, drawn by hand: no plotting library is worth a dependency for one picture."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TypeAlias

import msgspec

Points: TypeAlias = list[tuple[float, float]]

_WIDTH, _LEFT, _RIGHT, _TOP = 980, 78, 170, 58
_PANEL, _GAP, _FOOT = 116, 26, 58
_COLOURS = ("#2563a8", "#d1622b", "#3d8b57", "#8a5aa8", "#8c8c2c", "#5f6b7a")
_FONT = 'font-size="11" font-family="ui-sans-serif, system-ui, sans-serif"'
_MARK = 'text-anchor="middle" font-weight="600" fill="#a33"'
_INK, _FAINT, _BAND = "#26323f", "#dfe4e9", "#f2c9c0"


class Curve(msgspec.Struct, frozen=True):
    """A line with its name; where there is a gap of more than `Plot.gap_s` between points, so there is in the line."""

    name: str
    points: Points


class Panel(msgspec.Struct, frozen=True):
    """Curves with a common axis: title, unit, and whether the axis is logarithmic."""

    title: str
    unit: str
    curves: list[Curve]
    log: bool = False
    least: float = 0.0


class Band(msgspec.Struct, frozen=True):
    """A span of time that is marked in all panels."""

    name: str
    begin_s: float
    end_s: float


class Plot(msgspec.Struct, frozen=True):
    """All of it. Times are seconds from the beginning, drawn as minutes."""

    title: str
    subtitle: str
    length_s: float
    panels: list[Panel]
    bands: list[Band]
    gap_s: float

    def svg(self) -> str:
        """The picture."""
        height = _TOP + len(self.panels) * (_PANEL + _GAP) + _FOOT
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT} fill="{_INK}">',
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="{_LEFT}" y="24" font-size="16" font-weight="600">{escape(self.title)}</text>',
            f'<text x="{_LEFT}" y="42" fill="#5f6b7a">{escape(self.subtitle)}</text>',
        ]
        for number, panel in enumerate(self.panels):
            parts.extend(self._panel(panel, _TOP + 14 + number * (_PANEL + _GAP)))
        parts.extend(self._time_axis(_TOP + 14 + len(self.panels) * (_PANEL + _GAP) - _GAP))
        return "\n".join([*parts, "</svg>", ""])

    def _x(self, at_s: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_s / self.length_s

    def _panel(self, panel: Panel, top: float) -> Iterator[str]:
        right, bottom = _WIDTH - _RIGHT, top + _PANEL
        values = [value for curve in panel.curves for _, value in curve.points]
        axis = _Axis(values, top, bottom, log=panel.log, least=panel.least)
        for band in self.bands:
            left, width = self._x(band.begin_s), max(2.0, self._x(band.end_s) - self._x(band.begin_s))
            yield f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_PANEL}" fill="{_BAND}" opacity="0.6"/>'
        for value in axis.ticks:
            y = axis.y(value)
            yield f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_FAINT}"/>'
            yield _text(_LEFT - 7, y + 3.5, _number(value), 'text-anchor="end"')
        yield f'<text x="{_LEFT}" y="{top - 6}" font-weight="600">{escape(panel.title)}'
        yield f'<tspan font-weight="400" fill="#5f6b7a"> {escape(panel.unit)}</tspan></text>'
        for number, curve in enumerate(panel.curves):
            colour = _COLOURS[number % len(_COLOURS)]
            for run in self._runs(curve.points):
                points = " ".join(f"{self._x(at):.1f},{axis.y(value):.1f}" for at, value in run)
                yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
            y = top + 10 + 15 * number
            yield f'<line x1="{right + 10}" x2="{right + 24}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2.5"/>'
            yield _text(right + 29, y + 4, curve.name, "")
        yield f'<rect x="{_LEFT}" y="{top}" width="{right - _LEFT}" height="{_PANEL}" fill="none" stroke="#aab4be"/>'

    def _runs(self, points: Points) -> Iterator[Points]:
        run: Points = []
        for point in points:
            if run and point[0] - run[-1][0] > self.gap_s:
                yield run
                run = []
            run.append(point)
        if run:
            yield run

    def _time_axis(self, bottom: float) -> Iterator[str]:
        step = _step(self.length_s / 60, 12)
        for number in range(int(self.length_s / 60 / step + 1e-9) + 1):
            minute = number * step
            yield _text(self._x(minute * 60), bottom + 16, _number(minute))
        yield _text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 33, "minutes since the start")
        for number, band in enumerate(self.bands, 1):
            yield _text((self._x(band.begin_s) + self._x(band.end_s)) / 2, _TOP + 25, str(number), _MARK)
        told = " · ".join(f"{number} {band.name}" for number, band in enumerate(self.bands, 1))
        yield _text(_LEFT, bottom + 52, told, 'fill="#a33"')


class _Axis:
    """Where a value is drawn, and which values are named."""

    def __init__(self, values: Sequence[float], top: float, bottom: float, *, log: bool, least: float) -> None:
        self._top, self._bottom, self._log = top, bottom, log
        most = max(values, default=1.0) or 1.0
        if log:
            low = max(least, 1e-3)
            self._low, self._high = (
                math.floor(math.log10(low)),
                max(math.ceil(math.log10(max(most, low))), math.floor(math.log10(low)) + 1),
            )
            every = max(1, (self._high - self._low) // 4)
            self.ticks = [10.0**power for power in range(self._low, self._high + 1, every)]
        else:
            step = _step(most, 4)
            self._low, self._high = 0, step * math.ceil(most / step + 1e-9)
            self.ticks = [step * number for number in range(round(self._high / step) + 1)]

    def y(self, value: float) -> float:
        """From the top of the picture."""
        place = math.log10(max(value, 10.0**self._low)) if self._log else value
        share = (place - self._low) / (self._high - self._low)
        return self._bottom - min(1.0, share) * (self._bottom - self._top)


def _text(x: float, y: float, text: str, style: str = 'text-anchor="middle"') -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _step(most: float, parts: int) -> float:
    """A round step of which about `parts` reach `most`."""
    rough = most / parts
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * one for one in (1, 2, 5, 10) if power * one >= rough)


def _number(value: float) -> str:
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"
