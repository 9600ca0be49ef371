"""What was let through is known, by its latest time, until it is let go: whatever falls in one place of the table."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators import seen_ids
from operators.seen_ids import NEVER_US, SeenIds

#: Few beginnings, by which the table places them, and few ends: some are the same, many fall together.
HASHES = st.builds(lambda begin, end: begin << 60 | end, st.integers(0, 3), st.integers(0, 40))
BATCHES = st.lists(st.tuples(st.lists(HASHES, max_size=30, unique=True), st.integers(0, 25)), max_size=12)


@settings(deadline=None, max_examples=300)
@given(batches=BATCHES, room=st.sampled_from([1, 8, 64]), numbers=st.sampled_from([1 << 30, 40]))
def test_it_equals_a_list(batches: list[tuple[list[int], int]], room: int, numbers: int) -> None:
    least, most = seen_ids._LEAST_ROOM, seen_ids._NUMBERS
    seen_ids._LEAST_ROOM, seen_ids._NUMBERS = room, numbers  # grows, shrinks and begins its numbers anew all the time
    try:
        ids, kept, now = SeenIds(), list[tuple[int, int]](), 0
        for hashes, let_go in batches:
            times = list(range(now, now + len(hashes)))
            now += len(hashes)
            wanted = [*hashes, 7, 1 << 61]
            latest = dict(kept)
            found = ids.seen_us(np.array(wanted, np.uint64))
            expected = [latest.get(one, NEVER_US) for one in wanted]
            assert (found.tolist() if found is not None else [NEVER_US] * len(wanted)) == expected
            ids.append(np.array(hashes, np.uint64), np.array(times, np.int64))
            kept += zip(hashes, times, strict=True)
            count = min(let_go, len(kept))
            ids.let_go(count)
            del kept[:count]
            assert len(ids) == len(kept)
            assert [column.tolist() for column in ids.ordered()] == [[one[at] for one in kept] for at in (0, 1)]
    finally:
        seen_ids._LEAST_ROOM, seen_ids._NUMBERS = least, most


def test_room_follows_what_is_kept() -> None:
    ids, rng = SeenIds(), np.random.default_rng(3)
    sizes = []
    for _ in range(40):
        ids.append(rng.integers(0, 1 << 63, 5_000).astype(np.uint64), np.zeros(5_000, np.int64))
        sizes.append(ids._mask + 1)
    assert all(one <= after for one, after in pairwise(sizes))
    assert sizes[-1] <= 2 * len(ids)
    ids.let_go(199_000)
    assert ids._mask + 1 == seen_ids._LEAST_ROOM
    assert ids.seen_us(ids.ordered()[0]) is not None
