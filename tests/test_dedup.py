"""Dropping repeats equals a plain dictionary with a horizon, in bounded memory."""

import random
from hashlib import blake2b

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.dedup import Dedup, duplicate_row
from operators.dedup_state import DedupState
from operators.id_hashes import IdHasher
from schemas.durations import from_us
from schemas.errors import StateError
from schemas.events import Arrived, SaleRecorded

HORIZON_US = 100
START_US = 1_700_000_000_000_000
FIRST = 10985335740102637560


def arrived(offset: int, arrival: int, source: str, event_id: str) -> Arrived:
    event = SaleRecorded(
        event_id=event_id, source=source, system="pos", occurred_at=from_us(START_US), sku="k", node="n", qty=1
    )
    return Arrived(START_US + arrival, "commerce", 0, offset, START_US, event)


#: (time since the one before, source, event id)
DRAWN = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 30, 49, 50, 99, 100, 101, 250]),
        st.sampled_from(["a", "ab"]),
        st.sampled_from(["c", "bc", "d"]),
    ),
    max_size=60,
)


def log(drawn: list[tuple[int, str, str]]) -> list[Arrived]:
    now, out = 0, []
    for offset, (step, source, event_id) in enumerate(drawn):
        now += step
        out.append(arrived(offset, now, source, event_id))
    return out


@settings(deadline=None, max_examples=400)
@given(drawn=DRAWN, batch=st.integers(1, 20), restore=st.booleans())
def test_it_equals_a_dictionary_with_a_horizon(drawn: list[tuple[int, str, str]], batch: int, restore: bool) -> None:
    events = log(drawn)
    kept: list[Arrived] = []
    dropped: list[tuple[Arrived, int]] = []
    through: dict[tuple[str, str], int] = {}
    for one in events:
        key = (one.event.source, one.event.event_id)
        before = through.get(key)
        if before is not None and one.arrival_us - before <= HORIZON_US:
            dropped.append((one, before))
        else:
            through[key] = one.arrival_us
            kept.append(one)
    dedup, found = Dedup(HORIZON_US), ([], [])
    for start in range(0, len(events), batch):
        for mine, its in zip(found, dedup.split(events[start : start + batch]), strict=True):
            mine.extend(its)
        if restore:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(dedup.snapshot()), type=DedupState)
            dedup = Dedup(HORIZON_US)
            dedup.restore(state)
    assert found == (kept, dropped)
    assert dedup.turned_early == 0


@pytest.mark.parametrize("batch", [1, 97, 5_000])
def test_many_ids_over_many_segments(batch: int) -> None:
    """Segments are closed, merged and let go; what is dropped stays that of a dictionary, however the log was cut."""
    rng = random.Random(5)
    horizon, now, through = 40_000, 0, dict[str, int]()
    events, repeats = [], []
    for offset in range(60_000 if batch > 1 else 6_000):
        now += rng.randrange(3)
        name = f"é{rng.randrange(offset + 1)}" if rng.random() < 0.3 else f"e{offset}"
        events.append(arrived(offset, now, "aé"[offset % 2], name))
        key = f"{offset % 2}{name}"
        if key in through and now - through[key] <= horizon:
            repeats.append((offset, through[key]))
        else:
            through[key] = now
    dedup, found = Dedup(horizon), list[tuple[int, int]]()
    for number, start in enumerate(range(0, len(events), batch)):
        kept, dropped = dedup.split(events[start : start + batch])
        assert len(kept) + len(dropped) == len(events[start : start + batch])
        found += [(one.offset, seen - START_US) for one, seen in dropped]
        if number % 7 == 6:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(dedup.snapshot()), type=DedupState)
            dedup = Dedup(horizon)
            dedup.restore(state)
    assert found == repeats
    assert dedup.turned_early == 0


def test_hashes_of_ids_are_those_of_every_run() -> None:
    """Kept state hangs on them. What differs in source, length, a late byte or a trailing zero differs."""
    pairs = [("s", "a"), ("s", "a\0"), ("t", "a"), ("s", "b" * 128), ("s", "b" * 127 + "c"), ("s", "é"), ("s", "")]
    sources, ids = zip(*pairs, strict=True)
    together = IdHasher().hashes(sources, ids).tolist()
    assert len(set(together)) == len(pairs)
    assert together == [IdHasher().hashes([source], [one])[0] for source, one in pairs]
    assert together[0] == FIRST
    many = IdHasher().hashes(["s"] * 200_000, [str(number) for number in range(200_000)])
    assert len(np.unique(many)) == 200_000
    spread = np.bincount((many >> np.uint64(56)).astype(np.int64), minlength=256)
    assert spread.min() > 600
    assert spread.max() < 970


IDS = st.text(st.sampled_from("ab\0é日\ud800"), max_size=20) | st.integers(0, 130).map(lambda length: "x" * length)


@given(st.lists(st.tuples(st.sampled_from(["s", "é"]), IDS), min_size=1, max_size=20))
def test_hashes_are_what_they_are_said_to_be(pairs: list[tuple[str, str]]) -> None:
    sources, ids = zip(*pairs, strict=True)
    assert IdHasher().hashes(sources, ids).tolist() == [plain_hash(*pair) for pair in pairs]


def plain_hash(source: str, one: str) -> int:
    """The words of an id one after the other, then the finaliser: number by number."""
    text = one.encode("utf-8", "surrogatepass")
    mixed = int.from_bytes(blake2b(source.encode(), digest_size=8).digest(), "little") ^ len(text) * 0xC2B2AE3D27D4EB4F
    for at in range(0, len(text), 8):
        mixed = (mixed ^ int.from_bytes(text[at : at + 8], "little")) * 0x9E3779B97F4A7C15 % 2**64
        mixed ^= mixed >> 32
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ mixed >> 33) * factor % 2**64
    return mixed ^ mixed >> 33


def test_memory_is_bounded_by_two_horizons() -> None:
    dedup = Dedup(HORIZON_US)
    for number in range(10_000):
        dedup.split([arrived(number, number, "a", f"e{number}")])
        assert len(dedup) <= 2 * (HORIZON_US + 2)
    dedup.split([arrived(0, 20_000, "a", "e")])
    assert len(dedup) == 1


@pytest.mark.parametrize("sources", [1, 7])
def test_memory_is_bounded_by_max_ids_and_says_so(sources: int) -> None:
    dedup = Dedup(HORIZON_US, max_ids=10)
    events = [arrived(number, 0, f"s{number % sources}", f"e{number}") for number in range(1_000)]
    for one in events:
        assert dedup.split([one]) == ([one], [])
        assert len(dedup) <= 20
    assert dedup.turned_early >= 98
    assert dedup.split(events[-1:])[0] == []  # the latest are remembered
    assert dedup.split(events[:1])[0] == events[:1]  # the oldest had to be forgotten


def test_a_repeat_is_kept_on_record() -> None:
    first, again = arrived(3, 0, "a", "e"), arrived(4, 50, "a", "e")
    _, dropped = Dedup(HORIZON_US).split([first, again])
    row = duplicate_row(*dropped[0])
    assert (row.offset, row.type, row.event_id, row.first_arrival_us, row.seen_at_us) == (
        4,
        "sale.recorded",
        "e",
        START_US,
        START_US + 50,
    )


def test_state_of_another_version_is_refused_in_words() -> None:
    with pytest.raises(StateError, match="dedup state of version 99; this code reads"):
        Dedup(HORIZON_US).restore(DedupState(99, 0, 0, []))
