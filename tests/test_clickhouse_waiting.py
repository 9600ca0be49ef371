"""Waiting against its own arithmetic: no store, a clock that only sleeping and attempts move."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BlockRejected, StoreRefused, StoreUnavailable
from sinks.clickhouse.waiting import Waiting
from tests.clickhouse_stores import FakeTime, Recorder


def _away(time: FakeTime, times: int, seconds: float = 0.0, then: Exception | None = None) -> Callable[[], str]:
    """An attempt that takes `seconds` and fails `times` times."""
    left = [times]

    def attempt() -> str:
        time.now += seconds
        if left[0]:
            left[0] -= 1
            raise StoreUnavailable("away")
        if then is not None:
            raise then
        return "done"

    return attempt


@given(seed=st.integers(0, 1_000), times=st.integers(1, 20))
def test_pauses_double_to_a_limit_with_jitter_and_are_cut_into_slices(seed: int, times: int) -> None:
    time, watch = FakeTime(), Recorder()
    waiting = Waiting(watch=watch, sleep=time.sleep, clock=time.clock, jitter=random.Random(seed))
    assert waiting.answered(_away(time, times)) == "done"
    assert waiting.pauses == len(watch.waits) == times
    for number, (error, pause_s, waited_s) in enumerate(watch.waits):
        length = min(0.5 * 2**number, 30.0)
        assert error == "away"
        assert length / 2 <= pause_s <= length
        assert waited_s == pytest.approx(sum(pause for _, pause, _ in watch.waits[:number]))
    assert sum(time.sleeps) == pytest.approx(sum(pause for _, pause, _ in watch.waits))
    assert all(slept <= 0.5 for slept in time.sleeps if slept not in {pause for _, pause, _ in watch.waits})
    assert max(time.sleeps) <= 1.0
    assert watch.ticks == len(time.sleeps)
    assert watch.recoveries == [pytest.approx(time.now)]


def test_two_that_lost_one_server_do_not_come_back_in_step() -> None:
    nows = []
    for _ in range(2):
        time = FakeTime()
        Waiting(sleep=time.sleep, clock=time.clock).answered(_away(time, 8))
        nows.append(time.now)
    assert nows[0] != nows[1]


def test_patience_counts_what_attempts_take() -> None:
    time = FakeTime()
    waiting = Waiting(patience_s=600, sleep=time.sleep, clock=time.clock)
    with pytest.raises(StoreUnavailable):
        waiting.answered(_away(time, 1_000, seconds=60))
    assert 600 <= time.now <= 690


def test_without_an_end_to_patience_there_is_none() -> None:
    time = FakeTime()
    Waiting(patience_s=None, sleep=time.sleep, clock=time.clock).answered(_away(time, 10_000))
    assert time.now > 2 * 86_400


@pytest.mark.parametrize("answer", [BlockRejected("no"), StoreRefused("no")])
def test_a_refusal_is_an_answer(answer: Exception) -> None:
    time, watch = FakeTime(), Recorder()
    waiting = Waiting(watch=watch, sleep=time.sleep, clock=time.clock)
    with pytest.raises(type(answer)):
        waiting.answered(_away(time, 3, then=answer))
    assert watch.recoveries == [pytest.approx(time.now)]
    with pytest.raises(type(answer)):
        waiting.answered(_away(time, 0, then=answer))
    assert len(watch.recoveries) == 1, "nobody had waited"
