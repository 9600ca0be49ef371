"""What `make soak` judges: that nothing was lost, and that memory and latency are flat."""

import statistics
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from soak_disturbances import Disturbance
from soak_watch import STATE, Sample, quantile

#: Below this length nothing reaches its plateau, and being flat is not judged.
JUDGED_FROM_MINUTES = 20.0
#: Flat: the memory's slope in an hour, relative to its median.
MEMORY_SLOPE = 0.05
#: Flat: p99 of the last third relative to the first.
LATENCY_FACTOR = 1.5
#: Steady: in nearly all undisturbed looks the producer is not late, and less than so many seconds of input wait in it.
_STEADY_SHARE, _STEADY_S = 0.95, 2.5
#: Flat: the second half of the judged time relative to the first, of whatever keeps at least so many entries.
STATE_GROWTH, STATE_LEAST = 0.10, 1_000
#: What is let go a dozen windows at a time rises and falls; its high tide is what must not rise.
_TIDE = 90
#: Told beside the state, and none: how many cases were not kept.
_COUNTERS = frozenset({f"{STATE}incidents.unnamed_cases"})


class Criterion(msgspec.Struct, frozen=True):
    """One thing that must hold. `holds` is None where it was not judged."""

    name: str
    holds: bool | None
    figures: str


class Row(msgspec.Struct, frozen=True):
    """A kind of state: how many entries it did not exceed nine tenths of the time, in the halves of what is judged."""

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
    columns = sorted({column for sample in samples for column in sample.values if column.startswith(STATE)} - _COUNTERS)
    rows = []
    for column in columns:
        halves = [
            [sample.values[column] for sample in part if column in sample.values]
            for part in (samples[:half], samples[half:])
        ]
        if all(halves):
            rows.append(Row(column.removeprefix(STATE), *(float(np.percentile(half, _TIDE)) for half in halves)))
    return rows


def steadiness(
    samples: Sequence[Sample], disturbances: Sequence[Disturbance], rate: float, minutes: float, settle_s: float
) -> Criterion:
    """Whether the input came as it should: if not, the rest says little about the job."""
    quiet = [sample for sample in calm(samples, disturbances, settle_s) if "feed_waiting" in sample.values]
    steady = [
        sample.values["feed_waiting"] <= rate * _STEADY_S and sample.values["feed_behind_s"] <= _STEADY_S
        for sample in quiet
    ]
    share = statistics.mean(steady) if steady else 0.0
    figures = f"in {share:.1%} of the undisturbed looks less than {_STEADY_S:g} s of input waited for the broker"
    holds = share >= _STEADY_SHARE if minutes >= JUDGED_FROM_MINUTES else None
    return Criterion("the input was steady", holds, f"{figures}; limit {_STEADY_SHARE:.0%}")


def flatness(
    samples: Sequence[Sample],
    disturbances: Sequence[Disturbance],
    minutes: float,
    settle_s: float,
    plateau_s: float,
) -> list[Criterion]:
    """Memory, latency and state; not judged of a run that is too short for it.

    Latency counts from `settle_s` after a disturbance. What is kept has to have come and gone once after a restart, so
    memory and state count from `plateau_s` after.
    """
    third_s = minutes * 60 / 3
    quiet = calm(samples, disturbances, settle_s)
    first, last = (
        [sample for sample in quiet if third_s * number <= sample.at_s < third_s * (number + 1)] for number in (0, 2)
    )
    full = [sample for sample in calm(samples, disturbances, plateau_s) if sample.at_s >= third_s]
    criteria = [_flat_memory(full), _flat_latency(first, last), _flat_state(full)]
    if minutes >= JUDGED_FROM_MINUTES:
        return criteria
    return [msgspec.structs.replace(one, holds=None) for one in criteria]


def _flat_memory(samples: Sequence[Sample]) -> Criterion:
    name, found = "memory is flat", memory(samples, "job_rss_mb")
    if found is None:
        return Criterion(name, None, "too few samples")
    median, an_hour = found
    share = an_hour / median
    figures = f"{median:,.0f} MB, slope {an_hour:+,.1f} MB ({share:+.1%}) an hour; limit {MEMORY_SLOPE:.0%}"
    return Criterion(name, share <= MEMORY_SLOPE, figures)


def _flat_latency(first: Sequence[Sample], last: Sequence[Sample]) -> Criterion:
    name, before, after = "latency is flat", latency(first, 0.99), latency(last, 0.99)
    if before is None or after is None:
        return Criterion(name, None, "too few samples")
    figures = (
        f"p99 {before:.2f} s in the first third, {after:.2f} s in the last (x{after / before:.2f}; limit "
        f"x{LATENCY_FACTOR}); median {latency(first, 0.5):.2f} s and {latency(last, 0.5):.2f} s; "
        f"the machine's load {_load(first):.1f} and {_load(last):.1f}"
    )
    return Criterion(name, after <= LATENCY_FACTOR * before, figures)


def _flat_state(samples: Sequence[Sample]) -> Criterion:
    name, rows = "state is bounded", [row for row in states(samples) if max(row.first, row.second) >= STATE_LEAST]
    if not rows:
        return Criterion(name, None, f"nothing has {STATE_LEAST:,} entries")
    most = max(rows, key=lambda row: row.growth)
    figures = (
        f"{most.name} grew most, from {most.first:,.0f} to {most.second:,.0f} entries ({most.growth:+.1%}); "
        f"limit {STATE_GROWTH:.0%}"
    )
    return Criterion(name, most.growth <= STATE_GROWTH, figures)


def _load(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.values.get("machine_load", 0.0) for sample in samples)
