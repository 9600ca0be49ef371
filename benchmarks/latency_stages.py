"""What the slowest findings wait for: their time, cut where they pass from one stage of the job to the next.

- `held`: until the lane lets go of what caused it. It is fetched, waits for quiet partitions, and for the job, while
  that works on what came before;
- `epoch`: the part of that in which an epoch ended;
- `groups`: until the writer has the row;
- `writer`, `insert`: until its block begins, and is in.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

SHARES = (0.5, 0.95, 0.99)
STAGES = ("held", "epoch", "groups", "writer", "insert")
HEADINGS = ("benchmark", "rows", "p50 s", "p95 s", "p99 s", "slowest", "")


class Waited(msgspec.Struct, frozen=True):
    """Seconds below which so many rows were visible; `slowest_s` is what the slowest hundredth took on average.

    Of a stage, what was spent in it, by the slowest hundredth of the whole.
    """

    id: str
    rows: int
    p50_s: float
    p95_s: float
    p99_s: float
    slowest_s: float

    def line(self) -> tuple[str, ...]:
        """For a table with `HEADINGS`."""
        times_s = (self.p50_s, self.p95_s, self.p99_s, self.slowest_s)
        return (self.id, f"{self.rows:,}", *(f"{seconds:.2f}" for seconds in times_s), "")


class Passed(msgspec.Struct, frozen=True):
    """One row: when what caused it arrived, it came to the writer, its block began and was in; seconds."""

    arrival_s: float
    given_s: float
    began_s: float
    in_s: float


class Course(msgspec.Struct, frozen=True):
    """What a job did, in seconds of one clock.

    `released` says how far the slowest lane had come and when; `epochs` from when to when one ended: a lane was asked
    for its position, and the first one read on.
    """

    released: list[tuple[float, float]]
    epochs: list[tuple[float, float]]


def waited(name: str, late_s: Sequence[float], whole_s: Sequence[float]) -> Waited:
    """Quantiles of `late_s`, and its mean over the slowest hundredth by `whole_s`."""
    ordered = sorted(late_s)
    p50, p95, p99 = (ordered[int(len(ordered) * share)] for share in SHARES)
    slowest = sorted(zip(whole_s, late_s, strict=True), reverse=True)[: max(1, len(ordered) // 100)]
    return Waited(name, len(ordered), p50, p95, p99, sum(late for _, late in slowest) / len(slowest))


def by_stage(name: str, rows: Iterable[Passed], course: Course) -> Iterator[Waited]:
    """The whole, then each stage."""
    released = iter(course.released)
    at_s, upto_s = next(released)
    parts: dict[str, list[float]] = {stage: [] for stage in STAGES}
    whole: list[float] = []
    for row in sorted(rows, key=lambda row: row.arrival_s):
        while upto_s <= row.arrival_s:
            at_s, upto_s = next(released, (row.given_s, float("inf")))
        let_go_s = max(row.arrival_s, min(at_s, row.given_s))
        epoch_s = sum(max(0.0, min(let_go_s, end) - max(row.arrival_s, begin)) for begin, end in course.epochs)
        held_s = let_go_s - row.arrival_s - epoch_s
        spent_s = (held_s, epoch_s, row.given_s - let_go_s, row.began_s - row.given_s, row.in_s - row.began_s)
        whole.append(row.in_s - row.arrival_s)
        for stage, seconds in zip(STAGES, spent_s, strict=True):
            parts[stage].append(seconds)
    if whole:
        yield waited(name, whole, whole)
        for stage in STAGES:
            yield waited(f"{name}.{stage}", parts[stage], whole)
