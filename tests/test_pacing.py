"""Lanes that wait for each other: the slowest never waits, and nobody gets further ahead than allowed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.pacing import Pace


def test_a_lane_waits_once_too_many_of_its_events_wait_for_the_slowest() -> None:
    pace = Pace(["fast", "slow"], 10)
    for lane in ("fast", "slow"):
        pace.released(lane, 0, 0)
        pace.heard(lane, 0)
    assert not pace.waits("fast")
    for at in (1, 2, 3):
        pace.released("fast", at, 5)
        pace.heard("fast", at)
    assert pace.waits("fast")
    assert not pace.waits("slow")
    pace.heard("slow", 1)
    assert not pace.waits("fast")


def test_after_a_resume_a_lane_waits_until_the_slowest_has_come_to_where_it_began() -> None:
    pace = Pace(["fast", "slow"], 10)
    pace.released("fast", 100, 0)
    pace.heard("fast", 100)
    assert pace.waits("fast")
    pace.released("slow", 50, 1)
    pace.heard("slow", 50)
    assert not pace.waits("slow")
    assert pace.waits("fast")
    pace.heard("slow", 100)
    assert not pace.waits("fast")


def test_a_lane_alone_never_waits() -> None:
    pace = Pace(["only"], 1)
    for at in range(5):
        pace.released("only", at, 100)
        pace.heard("only", at)
        assert not pace.waits("only")


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=30), min_size=2, max_size=4),
    ahead=st.integers(1, 30),
    turns=st.lists(st.integers(0, 3), max_size=60),
)
def test_whoever_gets_the_turn_all_come_to_the_end_and_what_waits_is_bounded(
    sizes: list[list[int]], ahead: int, turns: list[int]
) -> None:
    lanes = [f"lane-{number}" for number in range(len(sizes))]
    pace = Pace(lanes, ahead)
    at, heard = dict.fromkeys(lanes, 0), dict.fromkeys(lanes, 0)
    order = [lanes[turn % len(lanes)] for turn in turns]
    while any(at[lane] < len(mine) for lane, mine in zip(lanes, sizes, strict=True)):
        lane = (
            order.pop(0)
            if order
            else next(
                lane for lane, mine in zip(lanes, sizes, strict=True) if at[lane] < len(mine) and not pace.waits(lane)
            )
        )
        mine = sizes[lanes.index(lane)]
        if at[lane] >= len(mine) or pace.waits(lane):
            continue
        pace.released(lane, at[lane] + 1, mine[at[lane]])
        at[lane] += 1
        heard[lane] = at[lane] if at[lane] < len(mine) else 1_000
        pace.heard(lane, heard[lane])
        waiting = sum(mine[min(heard.values()) : at[lane]])
        assert waiting <= ahead + max(mine)
