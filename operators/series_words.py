"""How a person is told of figures: their names and values."""

from operators.series_points import FIGURES
from schemas.durations import SECOND_US, people_duration

#: The detector whose findings the models' are.
DETECTOR = "models"


def value_words(metric: str, value: float) -> str:
    """A value of that metric: a count, a share, or a duration."""
    unit = FIGURES[metric].unit
    if unit == "seconds":
        return people_duration(value * SECOND_US)
    if unit == "share":
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.1f}"


def figure_words(name: str, metric: str) -> str:
    """A series as part of a site: `waiting (pick)`."""
    handoff = name.partition(" of ")[2]
    words = FIGURES[metric].words
    return f"{words} ({handoff})" if handoff else words
