"""A node whose figures follow one cause, until in the end much waits and little is done, each within its range."""

import random

import msgspec

from operators.anomaly.point import Point
from operators.series_points import FIGURES, WindowPoint
from schemas.durations import MINUTE_US, SECOND_US
from tests.harness import START_US

STEP_US = 5 * MINUTE_US
#: Of `pick` by node: more waiting goes with longer times and with more done.
TOGETHER = {"backlog": (50.0, 10.0), "p95_s": (600.0, 120.0), "completed": (80.0, 16.0)}


def tick(number: int, load: float, *, node: str = "n1", noise: random.Random, leave_out: str = "") -> list[WindowPoint]:
    """All series of one node at one window's end, which follow one cause."""
    at_us = START_US + (number + 1) * STEP_US
    points = []
    for metric, (usual, width) in sorted(TOGETHER.items()):
        if metric != leave_out:
            value = usual + width * (load + noise.gauss(0, 0.1))
            series = (metric, "pick", "node", node)
            figure = FIGURES[metric]
            point = Point(series, "", at_us, value, figure.direction, figure.least)
            points.append(WindowPoint(at_us + 5 * SECOND_US, at_us - STEP_US, point))
    return points


def log(ticks: int, seed: int = 3, *, apart: bool = False, leave_out: str = "") -> list[WindowPoint]:
    """Ticks of one node; in the end, if `apart`, much waits and little is done, each within its usual range."""
    noise = random.Random(seed)
    out = []
    for number in range(ticks):
        out += tick(number, noise.gauss(0, 1), noise=noise, leave_out=leave_out)
    if apart:
        last = {one.point.series[0]: one for one in tick(ticks, 0.0, noise=noise)}
        for metric, load in (("backlog", 1.9), ("completed", -1.9), ("p95_s", 0.0)):
            usual, width = TOGETHER[metric]
            changed = msgspec.structs.replace(last[metric].point, value=usual + width * load)
            last[metric] = msgspec.structs.replace(last[metric], point=changed)
        out += [last[metric] for metric in sorted(last)]
    return out
