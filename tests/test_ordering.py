"""Lanes' slices come in any interleaving; what is released comes in the order of the log, exactly."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.id_hashes import IdHasher
from operators.marks import marks_of
from operators.ordering import Frontier, Reorder
from operators.slices import FrontierState, ReorderState, Slice
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US, from_us
from schemas.errors import StateError
from schemas.events import Arrived, QueueDepth

LANES = ("a", "b", "c")


def arrived(lane: str, offset: int, arrival: int) -> Arrived:
    event = QueueDepth(
        event_id=f"{lane}{offset}", source="mq", system="middleware", occurred_at=from_us(0), queue="q", depth=1
    )
    return Arrived(arrival, lane, 0, offset, 0, event)


def slices(lane: str, steps: list[int], cuts: int) -> list[Slice]:
    """A lane's events, arriving `steps` apart, cut into slices of `cuts`; then its end."""
    now, events = 0, []
    for offset, step in enumerate(steps):
        now += step
        events.append(arrived(lane, offset, now))
    out = []
    for start in range(0, len(events), cuts):
        piece = events[start : start + cuts]
        following = events[start + cuts : start + cuts + 1]
        watermark = following[0].arrival_us if following else piece[-1].arrival_us
        held = [one for one in piece if one.arrival_us < watermark]
        out.append(Slice(lane, watermark, piece[-1].arrival_us, held))
        if len(held) < len(piece):  # equal arrivals must come before the watermark passes them
            events[start + cuts : start + cuts] = []
            out[-1] = Slice(
                lane, piece[0].arrival_us if not held else held[-1].arrival_us + 1, piece[-1].arrival_us, piece
            )
    out.append(Slice(lane, now, now, [], final=True))
    return out


STEPS = st.lists(st.integers(0, 4), max_size=15)


@settings(deadline=None, max_examples=400)
@given(steps=st.tuples(STEPS, STEPS, STEPS), cuts=st.integers(1, 5), seed=st.integers(0, 10_000), restore=st.booleans())
def test_any_interleaving_is_released_in_the_order_of_the_log(
    steps: tuple[list[int], list[int], list[int]], cuts: int, seed: int, restore: bool
) -> None:
    queues = [slices(lane, mine, cuts) for lane, mine in zip(LANES, steps, strict=True)]
    everything = sorted(event for queue in queues for piece in queue for event in piece.events)
    draw = random.Random(seed)
    reorder, released, clocks = Reorder(LANES), [], [BEGIN_OF_TIME_US]
    ends: list[Slice] = []
    while any(queues):
        piece = draw.choice([queue for queue in queues if queue]).pop(0)
        if piece.final:
            ends.append(piece)
        if draw.random() < 0.5:  # a lane may say them, or not
            piece = msgspec.structs.replace(piece, marks=marks_of(piece.events, IdHasher()).packed())
        reorder.push(piece)
        if draw.random() < 0.7:
            given_out = reorder.release()
            assert all(event.arrival_us < given_out.clock_us for event in given_out.events)
            assert all(event.arrival_us >= clocks[-1] for event in given_out.events)
            released += given_out.events
            assert given_out.marks.packed() == marks_of(given_out.events, IdHasher()).packed()
            clocks.append(given_out.clock_us)
            assert not given_out.ended or not any(queues)
        if restore:
            kept = msgspec.msgpack.encode(reorder.snapshot())
            reorder = Reorder(LANES)
            reorder.restore(msgspec.msgpack.decode(kept, type=ReorderState))
            for end in ends:
                reorder.push(end)
    last = reorder.release()
    assert released + last.events == everything
    assert last.ended
    assert last.clock_us == max(sum(mine) for mine in steps) + 1
    assert clocks == sorted(clocks)


def test_nothing_is_released_before_every_lane_was_heard_of() -> None:
    reorder = Reorder(LANES)
    reorder.push(Slice("a", 100, 50, [arrived("a", 0, 50)]))
    reorder.push(Slice("b", 200, 10, [arrived("b", 0, 10)]))
    assert reorder.release().events == []
    assert reorder.release().clock_us == BEGIN_OF_TIME_US
    reorder.push(Slice("c", 50, 0, []))
    assert [event.topic for event in reorder.release().events] == ["b"]  # what arrived at 50 may still be preceded
    reorder.push(Slice("c", 51, 0, []))
    assert [event.topic for event in reorder.release().events] == ["a"]
    assert reorder.release().clock_us == 51


def test_equal_arrivals_come_by_topic_partition_and_offset() -> None:
    reorder = Reorder(("x", "y"))
    late = [arrived("b", 0, 5), arrived("b", 1, 5)]
    reorder.push(Slice("x", END_OF_TIME_US, 5, late, final=True))
    reorder.push(Slice("y", END_OF_TIME_US, 5, [arrived("a", 7, 5)], final=True))
    assert [(event.topic, event.offset) for event in reorder.release().events] == [("a", 7), ("b", 0), ("b", 1)]


def test_a_watermark_never_goes_back() -> None:
    frontier = Frontier(["a"])
    frontier.push("a", 100, 90, final=False)
    frontier.push("a", 50, 40, final=False)
    assert (frontier.watermark_us, frontier.clock_us, frontier.ended) == (100, 100, False)
    frontier.push("a", 0, 0, final=True)
    assert (frontier.watermark_us, frontier.clock_us, frontier.ended) == (END_OF_TIME_US, 91, True)


def test_an_input_that_had_ended_goes_on_or_ends_again_after_a_resume() -> None:
    frontier, resumed = Frontier(["a", "b"]), Frontier(["a", "b"])
    frontier.push("a", 0, 90, final=True)
    frontier.push("b", 40, 30, final=False)
    resumed.restore(frontier.snapshot())
    assert (resumed.watermark_us, resumed.clock_us, resumed.ended) == (40, 40, False)
    frontier.push("b", 0, 50, final=True)
    resumed.restore(frontier.snapshot())
    assert (resumed.watermark_us, resumed.clock_us, resumed.ended) == (91, 91, False)
    resumed.push("b", 70, 60, final=False)  # in another file, say
    assert resumed.watermark_us == 91
    resumed.push("a", 120, 110, final=False)
    resumed.push("b", 130, 120, final=False)
    assert resumed.watermark_us == 120
    resumed.push("a", 0, 110, final=True)
    resumed.push("b", 0, 120, final=True)
    assert (resumed.clock_us, resumed.ended) == (121, True)


def test_a_lane_of_another_number_of_lanes_is_refused_in_words() -> None:
    with pytest.raises(StateError, match="input 'z' came to a group that knows a, b, c"):
        Reorder(LANES).push(Slice("z", 0, 0, []))
    kept = Reorder(("a", "b")).snapshot()
    with pytest.raises(
        StateError, match=r"kept with 2 inputs \(a, b\) and is resumed with 3 \(a, b, c\).*new recovery"
    ):
        Reorder(LANES).restore(kept)
    with pytest.raises(StateError, match="order state of version 99; this code reads"):
        Frontier(["a"]).restore(FrontierState(99, {"a": 0}, {"a": 0}))
