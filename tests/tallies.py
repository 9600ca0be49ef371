"""What detectors count, as records."""

from operators.detectors.events import CELL_US, Collected
from operators.detectors.records import Tally


def all_tallies(out: Collected) -> list[Tally]:
    """The bad ones, the gauges, and the good ones added up by the minute."""
    good = [
        Tally(counted.metric, counted.scope, cell * CELL_US, cell * CELL_US, 0.0, total)
        for counted in out.counted()
        for cell, total in counted.cells.items()
    ]
    return [*out.told(), *good]
