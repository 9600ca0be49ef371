"""What a quiet partition brings after time had gone on past it is counted, however it comes."""

from hypothesis import given
from hypothesis import strategies as st

from operators.lane_state import Reads, TimeRules
from operators.partitions import PartitionQueue
from schemas.decode import EventDecoder
from schemas.durations import END_OF_TIME_US, SECOND_US, rfc3339
from schemas.events import Arrived
from tests.scripts import DAY

RULES = TimeRules(guard_leaps=False)
#: Messages that say when they were logged, in seconds, or to where time goes on without any.
STEPS = st.lists(st.one_of(st.integers(0, 60), st.lists(st.integers(0, 60), min_size=1, max_size=60)), max_size=12)


def reads(first: int, claims: list[int]) -> Reads:
    raws = [
        b'{"type":"queue.depth","event_id":"e%d","source":"mq","system":"middleware","queue":"q","depth":1,'
        b'"occurred_at":"%s"}' % (first + place, rfc3339(DAY).encode())
        for place, _ in enumerate(claims)
    ]
    offsets = list(range(first, first + len(claims)))
    return Reads(offsets, offsets, raws, EventDecoder().decode(raws), [DAY + claim * SECOND_US for claim in claims])


@given(STEPS)
def test_a_message_is_overtaken_that_arrives_later_than_any_up_to_it_says(steps: list[int | list[int]]) -> None:
    queue, said = PartitionQueue("orders", 0, RULES), list[int]()
    for step in steps:
        if isinstance(step, int):
            queue.raise_to(DAY + step * SECOND_US)
        else:
            queue.add(reads(len(said), step), ended=False)
            said += step
    events, _, _ = queue.take_before(END_OF_TIME_US)
    assert len(events) == len(said)
    logged = [DAY + max(said[: place + 1]) * SECOND_US for place in range(len(said))]
    behind = [event.arrival_us - at for event, at in zip(events, logged, strict=True) if event.arrival_us > at]
    assert (queue.overtaken.count, queue.overtaken.most_us) == (len(behind), max(behind, default=0))


def test_what_comes_after_a_resume_is_held_against_what_was_read_before() -> None:
    """Producers' clocks that go back are no reason: a replay puts those messages at the same place."""
    first = PartitionQueue("orders", 0, RULES)
    first.add(reads(0, [50]), ended=False)
    first.take_before(END_OF_TIME_US)
    second = PartitionQueue("orders", 0, RULES)
    second.restore(first.snapshot())
    second.add(reads(1, [40]), ended=False)
    second.raise_to(DAY + 60 * SECOND_US)
    second.add(reads(2, [45, 55]), ended=False)
    events, _, _ = second.take_before(END_OF_TIME_US)
    assert [(event.arrival_us - DAY) // SECOND_US for event in events if isinstance(event, Arrived)] == [50, 60, 60]
    assert (second.overtaken.count, second.overtaken.most_us) == (2, 10 * SECOND_US)
