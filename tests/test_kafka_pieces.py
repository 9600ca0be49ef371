"""A lane's backlog in growing pieces: in all the same, the oldest first, and never stuck."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflows.kafka import pieces
from dataflows.kafka.pieces import Pieces
from operators.lane_state import Reads, TimeRules
from operators.lanes import LaneMerge
from operators.partitions import PartitionQueue
from schemas.decode import EventDecoder
from schemas.durations import END_OF_TIME_US, SECOND_US, rfc3339
from schemas.events import Arrived
from tests.scripts import DAY

_FAR_US = DAY + 3_600 * SECOND_US


def _merge(partitions: list[list[int]], horizon_us: int) -> LaneMerge:
    """Partitions with messages at these milliseconds of the day; each knows that no more comes before `horizon_us`."""
    merge = LaneMerge()
    for number, times_ms in enumerate(partitions):
        queue = PartitionQueue("queues", number, msgspec.structs.replace(TimeRules(), guard_leaps=False))
        merge.add(queue)
        at = [DAY + ms * 1_000 for ms in sorted(times_ms)]
        raws = [_message(number, index, at_us) for index, at_us in enumerate(at)]
        offsets = list(range(len(at)))
        queue.read_to(len(at), len(at) - 1)
        queue.add(Reads(offsets, offsets, raws, EventDecoder().decode(raws), at), ended=False)
        queue.raise_to(horizon_us)
    return merge


def _message(partition: int, number: int, at_us: int) -> bytes:
    head = {"type": "queue.depth", "event_id": f"{partition}-{number}", "source": "mq", "system": "middleware"}
    return msgspec.json.encode({**head, "queue": "q", "depth": 1, "occurred_at": rfc3339(at_us)})


def _taken(merge: LaneMerge, cut: Pieces, ceiling_us: int) -> list[list[Arrived]]:
    """Piece by piece, as long as something is left."""
    found: list[list[Arrived]] = []
    while True:
        merged = merge.release(cut.ceiling_us(merge, ceiling_us))
        found.append([] if merged is None else merged.events)
        if not cut.left:
            return found


@settings(deadline=None, max_examples=100)
@given(
    partitions=st.lists(st.lists(st.integers(0, 2_000), max_size=150), min_size=1, max_size=4),
    first=st.integers(1, 40),
    ceiling_ms=st.none() | st.integers(0, 2_500),
)
def test_pieces_are_the_same_in_all_and_each_is_bounded(
    partitions: list[list[int]], first: int, ceiling_ms: int | None
) -> None:
    ceiling_us = END_OF_TIME_US if ceiling_ms is None else DAY + ceiling_ms * 1_000
    whole = _merge(partitions, _FAR_US).release(ceiling_us)
    assert whole is not None
    merge, before = _merge(partitions, _FAR_US), pieces._FIRST
    pieces._FIRST = first
    try:
        found = _taken(merge, Pieces(8 * first), ceiling_us)
    finally:
        pieces._FIRST = before
    assert [event for piece in found for event in piece] == whole.events
    assert merge.released_us == whole.watermark_us
    for most, piece in zip((first, 2 * first, 4 * first), found, strict=False):
        last_us = piece[-1].arrival_us if piece else 0
        assert sum(event.arrival_us < last_us for event in piece) < most, "more only of one millisecond"
    assert len(found) <= 4, "from the batch on all goes at once"


def test_a_backlog_goes_in_growing_pieces_until_it_is_one_for_which_throughput_counts() -> None:
    merge, cut = _merge([list(range(0, 20_000, 2)), list(range(1, 20_000, 2))], DAY + 20 * SECOND_US), Pieces(8_192)
    assert [len(piece) for piece in _taken(merge, cut, END_OF_TIME_US)] == [1_024, 2_048, 4_096, 20_000 - 7 * 1_024]


def test_little_goes_at_once_and_a_backlog_after_it_begins_with_little() -> None:
    cut = Pieces(8_192)
    for backlog in (3_000, 1_000, 3_000):
        merge = _merge([list(range(backlog))], _FAR_US)
        expected = [1_024, 3_000 - 1_024] if backlog == 3_000 else [1_000]
        assert [len(piece) for piece in _taken(merge, cut, END_OF_TIME_US)] == expected


def test_messages_of_one_time_go_together_however_many() -> None:
    merge = _merge([[5] * 3_000, [7] * 10], _FAR_US)
    assert [len(piece) for piece in _taken(merge, Pieces(8_192), END_OF_TIME_US)] == [3_000, 10]


def test_where_batches_are_small_nothing_is_cut() -> None:
    merge = _merge([list(range(3_000))], _FAR_US)
    assert [len(piece) for piece in _taken(merge, Pieces(1_024), END_OF_TIME_US)] == [3_000]
