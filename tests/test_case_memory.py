"""What detectors know of a case: kept until nothing was heard of it for the retention, however it rests meanwhile."""

from collections.abc import Mapping
from heapq import heappop, heappush

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.detectors.case_memory import CaseMemory
from operators.detectors.events import Collected, EventDetector, EventDetectors
from schemas.durations import DAY_US, HOUR_US, MINUTE_US
from schemas.errors import StateError

RETENTION_US = 4 * HOUR_US
SPAN_US = RETENTION_US // 24


class Seen(msgspec.Struct, array_like=True):
    """How often something was heard of a case."""

    times: int = 0
    last_us: int = 0


class Counting(EventDetector):
    """Remembers cases, with timers of its own that the test looks at."""

    NAME = "counting"
    VERSION = 3

    def __init__(self, retention_us: int = RETENTION_US) -> None:
        super().__init__()
        self.cases = CaseMemory(Seen, self.VERSION, retention_us, self)

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """Only its memory sets timers."""
        del out
        assert self.cases.due(key, due_us)

    def sizes(self) -> Mapping[str, int]:
        """Cases known."""
        return {"cases": len(self.cases)}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return self.cases.snapshot()

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        self.cases.restore(state)


STEPS = st.lists(
    st.tuples(st.integers(0, 90), st.sampled_from("abcde"), st.sampled_from(["hear", "drop", "look", "resume"])),
    max_size=60,
)


@given(STEPS)
def test_a_case_is_known_for_the_retention_after_it_was_last_heard_of_and_a_span_longer_at_most(
    steps: list[tuple[int, str, str]],
) -> None:
    detector, timers, now_us = Counting(), list[tuple[int, str]](), DAY_US
    detector.set_timer = lambda due_us, key: heappush(timers, (due_us, key))
    plain: dict[str, tuple[int, int]] = {}
    for minutes, case_id, deed in steps:
        now_us += minutes * MINUTE_US
        while timers and timers[0][0] <= now_us:
            due_us, key = heappop(timers)
            detector.due(key, due_us, Collected())
        forgettable = {one for one, (_, last_us) in plain.items() if last_us + RETENTION_US + SPAN_US <= now_us}
        for one in forgettable:
            assert detector.cases.get(one) is None
        for one, (times, last_us) in plain.items():
            if last_us + RETENTION_US > now_us:
                assert detector.cases.get(one) == Seen(times, last_us)
        if deed == "drop":
            detector.cases.drop(case_id)
            plain.pop(case_id, None)
        elif deed == "resume":
            kept = detector.snapshot()
            detector = Counting()
            detector.set_timer = lambda due_us, key: heappush(timers, (due_us, key))
            detector.restore(kept)
        elif deed == "hear":
            known = detector.cases.heard(case_id, now_us)
            known.times += 1
            plain[case_id] = known.times, now_us
    assert len(detector.cases) <= len("abcde")


def test_of_many_cases_few_are_objects_and_none_is_kept_for_ever() -> None:
    detector = Counting(retention_us=HOUR_US)
    host = EventDetectors([detector])
    for number in range(30_000):
        detector.cases.heard(f"order-{number}", DAY_US + number).times = number
    assert (known := detector.cases.get("order-7")) is not None
    assert known.times == 7
    assert detector.cases._cases.awake < 12_000, "the rest is bytes"
    host.update([], [], DAY_US + 2 * HOUR_US)
    assert detector.sizes() == {"cases": 0}
    assert host.snapshot().timers == []


def test_a_memory_of_another_version_or_none_at_all_is_refused_in_words() -> None:
    older = Counting()
    older.cases._version = 2
    with pytest.raises(StateError, match="counting of version 2; this code reads 3"):
        Counting().restore(older.snapshot())
    with pytest.raises(StateError, match="what counting kept can't be read"):
        Counting().restore(b"no state")
