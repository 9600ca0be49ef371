"""What `make soak` judges: that nothing was lost, and that memory and latency are flat."""

import statistics
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from soak_watch import Sample, quantile

#: Below this length nothing reaches its plateau, and being flat is not judged.
JUDGED_FROM_MINUTES = 20.0
#: Flat: the memory's slope in an hour, relative to its median.
MEMORY_SLOPE = 0.05
#: Flat: p99 of the last third relative to the first.
LATENCY_FACTOR = 1.5
#: Flat: the second half of the judged time relative to the first, of whatever keeps at least so many entries.
STATE_GROWTH, STATE_LEAST = 0.10, 1_000


class Disturbance(msgspec.Struct):
    """Something done to the run: when it began, when it was over, and when the job had caught up (run seconds)."""

    name: str
    what: str
    begin_s: float
    end_s: float | None = None
    recovered_s: float | None = None
    detail: str = ""


class Criterion(msgspec.Struct, frozen=True):
    """One thing that must hold. `holds` is None where it was not judged."""

    name: str
    holds: bool | None
    figures: str


class Row(msgspec.Struct, frozen=True):
    """A kind of state: its median entries in the halves of the judged time."""

    name: str
    first: float
    second: float

    @property
    def growth(self) -> float:
        return self.second / self.first - 1 if self.first else 0.0


def calm(samples: Sequence[Sample], disturbances: Sequence[Disturbance], settle_s: float) -> list[Sample]:
    """The samples outside of disturbances, until the job had caught up, and `settle_s` more."""

    def covers(one: Disturbance, at_s: float) -> bool:
        over = one.recovered_s if one.recovered_s is not None else one.end_s
        return one.begin_s - settle_s / 4 <= at_s and (over is None or at_s <= over + settle_s)

    return [sample for sample in samples if not any(covers(one, sample.at_s) for one in disturbances)]


def slope(at: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> float:
    """Theil–Sen: the median of the slopes between all pairs, which some odd points don't move."""
    first, second = np.triu_indices(len(at), 1)
    return float(np.median((values[second] - values[first]) / (at[second] - at[first])))


def memory(samples: Sequence[Sample], column: str) -> tuple[float, float] | None:
    """(median MB, slope in MB an hour); None with too few samples."""
    points = [(sample.at_s / 3600, sample.values[column]) for sample in samples if sample.values.get(column)]
    if len(points) < 10:
        return None
    at, values = np.array(points).T
    return float(np.median(values)), slope(at, values)


def latency(samples: Sequence[Sample], share: float) -> float | None:
    """A quantile over all rows that the samples counted."""
    total: dict[float, float] = {}
    for sample in samples:
        for bound, count in sample.buckets.items():
            total[bound] = total.get(bound, 0.0) + count
    return quantile(share, total)


def states(samples: Sequence[Sample]) -> list[Row]:
    """What operators keep, in the halves of the samples."""
    half = len(samples) // 2
    columns = sorted({column for sample in samples for column in sample.values if column.startswith("state.")})
    rows = []
    for column in columns:
        halves = [
            [sample.values[column] for sample in part if column in sample.values]
            for part in (samples[:half], samples[half:])
        ]
        if all(halves):
            rows.append(Row(column.removeprefix("state."), *map(statistics.median, halves)))
    return rows


def flatness(
    samples: Sequence[Sample], disturbances: Sequence[Disturbance], minutes: float, settle_s: float
) -> list[Criterion]:
    """Memory, latency and state."""
    quiet = calm(samples, disturbances, settle_s)
    length_s = minutes * 60
    quiet = [sample for sample in quiet if sample.at_s <= length_s]
    late = [sample for sample in quiet if sample.at_s >= length_s / 3]
    judged = minutes >= JUDGED_FROM_MINUTES
    out = []

    found = memory(late, "job_rss_mb")
    if found is None:
        out.append(Criterion("memory is flat", None, "too few samples"))
    else:
        median, per_hour = found
        figures = f"{median:,.0f} MB, slope {per_hour:+,.1f} MB ({per_hour / median:+.1%}) an hour; limit {MEMORY_SLOPE:.0%}"
        out.append(Criterion("memory is flat", per_hour <= MEMORY_SLOPE * median if judged else None, figures))

    first = [sample for sample in quiet if sample.at_s < length_s / 3]
    last = [sample for sample in quiet if sample.at_s >= 2 * length_s / 3]
    before, after = latency(first, 0.99), latency(last, 0.99)
    if before is None or after is None:
        out.append(Criterion("latency is flat", None, "too few samples"))
    else:
        medians = (latency(first, 0.5), latency(last, 0.5))
        figures = (
            f"p99 {before:.2f} s in the first third, {after:.2f} s in the last (x{after / before:.2f}; limit "
            f"x{LATENCY_FACTOR}); median {medians[0]:.2f} s and {medians[1]:.2f} s"
        )
        out.append(Criterion("latency is flat", after <= LATENCY_FACTOR * before if judged else None, figures))

    rows = [row for row in states(late) if max(row.first, row.second) >= STATE_LEAST]
    if not rows:
        out.append(Criterion("state is bounded", None, "too few samples"))
    else:
        worst = max(rows, key=lambda row: row.growth)
        figures = f"{worst.name} grew most, {worst.first:,.0f} to {worst.second:,.0f} ({worst.growth:+.1%})"
        out.append(
            Criterion(
                "state is bounded",
                worst.growth <= STATE_GROWTH if judged else None,
                f"{figures}; limit {STATE_GROWTH:.0%}",
            )
        )
    return out
