"""What rows wait for, by stage: every second of a row is in exactly one."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # scripts, not a package
from latency_stages import STAGES, Course, Passed, by_stage

#: The lane comes to 2 s at 3 s, stands through an epoch's end from 4 to 6 s, and comes to 7 s at 8 s.
COURSE = Course(released=[(1.0, 0.5), (3.0, 2.0), (8.0, 7.0)], epochs=[(4.0, 6.0)])


@pytest.mark.parametrize(
    ("row", "spent_s"),
    [
        (Passed(1.0, 3.5, 3.6, 3.8), (2.0, 0.0, 0.5, 0.1, 0.2)),
        (Passed(5.0, 8.5, 8.5, 9.0), (2.0, 1.0, 0.5, 0.0, 0.5)),
        (Passed(3.0, 8.5, 8.5, 9.0), (3.0, 2.0, 0.5, 0.0, 0.5)),
        (Passed(9.0, 9.5, 9.6, 9.7), (0.5, 0.0, 0.0, 0.1, 0.1)),
    ],
    ids=["in quiet times", "while an epoch ends", "before one ends", "after all that is known of lanes"],
)
def test_a_row_is_where_its_job_stood(row: Passed, spent_s: tuple[float, ...]) -> None:
    whole, *stages = by_stage("t", [row], COURSE)
    assert (whole.id, whole.rows, whole.p99_s) == ("t", 1, row.in_s - row.arrival_s)
    assert [one.id for one in stages] == [f"t.{stage}" for stage in STAGES]
    assert [one.slowest_s for one in stages] == pytest.approx(spent_s)


@given(st.lists(st.tuples(*[st.floats(0, 9)] * 4), min_size=1, max_size=300))
def test_stages_of_the_slowest_add_up_to_the_whole(times: list[tuple[float, ...]]) -> None:
    rows = [Passed(*sorted(one)) for one in times]
    whole, *stages = by_stage("t", rows, COURSE)
    slowest = sorted((row.in_s - row.arrival_s for row in rows), reverse=True)[: max(1, len(rows) // 100)]
    assert whole.slowest_s == pytest.approx(sum(slowest) / len(slowest))
    assert whole.p50_s <= whole.p95_s <= whole.p99_s <= slowest[0]
    assert all(0 <= one.p50_s <= whole.p99_s + slowest[0] for one in stages)
