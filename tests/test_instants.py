"""Many moments at once are what each is alone."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operators import instants
from operators.instants import to_us_all
from schemas.durations import LONGEST_US, Duration, from_us, to_us
from tests.strategies import times

#: Where MessagePack begins to write a moment in another way.
EDGES = [
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC),
    datetime(2514, 5, 30, 1, 53, 3, 999_999, tzinfo=UTC),
    datetime(2514, 5, 30, 1, 53, 4, tzinfo=UTC),
    datetime(2026, 3, 2, 6, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=-11, minutes=-30))),
]
MOMENTS = (
    times()
    | st.sampled_from(EDGES)
    | st.integers(to_us(EDGES[1]), to_us(EDGES[3])).map(from_us)  # most are of these years
)


@given(st.lists(MOMENTS, max_size=40), st.sampled_from(["as they are", "whole seconds", "with a fraction"]))
@example(EDGES, "as they are")
@example([EDGES[1]] * 70_000, "as they are")
@example([EDGES[1]] * 5 + [EDGES[0]] * 4, "as they are")  # as many bytes as 9 of another kind
def test_each_is_what_it_is_alone(moments: list[datetime], kind: str) -> None:
    if kind == "whole seconds":
        moments = [moment.replace(microsecond=0) for moment in moments]
    elif kind == "with a fraction":
        moments = [moment.replace(microsecond=moment.microsecond or 1) for moment in moments]
    assert to_us_all(moments).tolist() == list(map(to_us, moments))


@given(st.lists(st.tuples(st.integers(to_us(EDGES[1]), to_us(EDGES[4])), st.booleans()), max_size=40))
@example([(0x65_D6_FF_00 * 1_000_000 + 1, False), (0x65_D6_FF_00 * 1_000_000, True)])  # its bytes look like another's
def test_moments_of_these_years_are_read_all_at_once(drawn: list[tuple[int, bool]]) -> None:
    expected = [at_us // 1_000_000 * 1_000_000 if is_whole else at_us for at_us, is_whole in drawn]
    with pytest.MonkeyPatch.context() as patched:
        patched.delattr(instants, "to_us")  # what one moment after the other would be asked by
        assert to_us_all([from_us(at_us) for at_us in expected]).tolist() == expected


@given(st.integers(0, LONGEST_US) | st.integers(0, 10**9))
@example(1)
@example(LONGEST_US)
def test_a_duration_is_written_as_it_is_read(length_us: int) -> None:
    assert Duration.parse(Duration(length_us).written) == length_us


def test_a_duration_is_written_as_a_person_would() -> None:
    lengths = ("0s", "90m", "365d", "1h30m", "1d1h", "1.5s", "0.25ms")
    assert [Duration.parse(one).written for one in lengths] == [
        "0s",
        "1h30m",
        "365d",
        "1h30m",
        "1d1h",
        "1s500ms",
        "0.25ms",
    ]
