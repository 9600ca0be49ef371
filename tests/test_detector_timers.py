"""Timers by slots fire as timers in one heap do; work by its age counts as a plain walk over all of it does."""

from bisect import insort
from collections.abc import Callable
from heapq import heappop, heappush

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operators.detectors.ageing import Ageing, AgeingState, Waiting, age_metrics, early_metrics
from operators.detectors.events import CELL_US, Collected, EventDetectors, Handler
from operators.detectors.records import Impact, Scoped, scoped
from operators.detectors.timers import Timer, Timers
from schemas.durations import END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US, from_us
from schemas.events import Arrived, EventBase, TaskCompleted, TaskQueued, TaskRejected

START_US = 1_772_409_600_000_000


class Heap:
    """Timers in one heap: the plain way."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def setter(self, index: int) -> Callable[[int, str], None]:
        return lambda due_us, key: heappush(self.timers, (due_us, index, key))

    def fire(self, now_us: int, due: list[Callable[[str, int, list[str]], None]], out: list[str]) -> None:
        while self.timers and self.timers[0][0] <= now_us:
            due_us, index, key = heappop(self.timers)
            due[index](key, due_us, out)


#: (seconds that go by, whose, the seconds in which it is due, the seconds after which it sets another one).
STEPS = st.lists(
    st.tuples(
        st.integers(0, 90),
        st.integers(0, 2),
        st.sampled_from([-70, -1, 0, 1, 30, 59, 60, 61, 120, 3_600]),
        st.sampled_from([None, -90, 0, 1, 45, 60, 600]),
    ),
    max_size=40,
)


def _fired(timers: Timers | Heap, steps: list[tuple[int, int, int, int | None]], restarts: set[int]) -> list[str]:
    said: list[str] = []
    again: dict[str, int] = {}

    def due_of(index: int) -> Callable[[str, int, list[str]], None]:
        def due(key: str, due_us: int, out: list[str]) -> None:
            out.append(f"{key} of {index} at {due_us}")
            after = again.pop(key, None)
            if after is not None:
                timers.setter(index)(due_us + after * SECOND_US, f"{key}+")

        return due

    due, now_us = [due_of(index) for index in range(3)], START_US
    for number, (passed, index, ahead, after) in enumerate(steps):
        now_us += passed * SECOND_US
        timers.fire(now_us, due, said)
        said.append(f"now {number}")
        if after is not None:
            again[str(number)] = after
        timers.setter(index)(now_us + ahead * SECOND_US, str(number))
        if number in restarts and isinstance(timers, Timers):
            kept, timers = sorted(timers.all()), Timers()
            timers.restore(kept)
    timers.fire(now_us + HOUR_US * 3, due, said)
    assert len(timers.all() if isinstance(timers, Timers) else timers.timers) == 0
    return said


@given(STEPS, st.sets(st.integers(0, 39), max_size=3))
def test_timers_fire_in_the_order_of_one_heap(
    steps: list[tuple[int, int, int, int | None]], restarts: set[int]
) -> None:
    assert _fired(Timers(), steps, restarts) == _fired(Heap(), steps, set())


def test_nothing_is_asked_for_before_the_slot_of_what_is_due_first() -> None:
    timers = Timers()
    timers.setter(0)(START_US + 90 * SECOND_US, "x")
    assert START_US < timers.next_us <= START_US + 90 * SECOND_US
    timers.setter(0)(START_US + 30 * SECOND_US, "y")
    assert timers.next_us <= START_US + 30 * SECOND_US
    assert len(timers) == 2
    said: list[str] = []
    timers.fire(END_OF_TIME_US, [lambda key, _, out: out.append(key)], said)
    timers.fire(END_OF_TIME_US, [], said)
    assert said == ["y", "x"]


_EARLY = (MINUTE_US, 7 * MINUTE_US)
_KEPT_US = HOUR_US


class Plain:
    """What `Ageing` says, by a walk over all work whenever time goes on."""

    def __init__(self, of: "Waits") -> None:
        self.waits = of
        self.ages = sorted((*of.AGES, *_EARLY))
        judged, early = iter(age_metrics("wait", len(of.AGES))), iter(early_metrics("wait", len(_EARLY)))
        self.metrics = [next(judged if age in of.AGES else early) for age in self.ages]
        self.waiting: dict[str, Waiting] = {}
        self.ended: dict[str, int] = {}
        self.good: list[tuple[str, Scoped, int]] = []
        self.bad: list[tuple[str, Scoped, int, int, str, str]] = []

    def due_us(self, work: Waiting, index: int) -> int:
        return self.waits.due_us(work, index)

    def pass_time(self, now_us: int) -> None:
        for key, work in list(self.waiting.items()):
            while work.next < len(self.ages) and self.due_us(work, work.next) <= now_us:
                due_us, metric = self.due_us(work, work.next), self.metrics[work.next]
                if self.ages[work.next] in self.waits.AGES:
                    self.bad.append((metric, work.scope, due_us, work.at_us, work.event_id, key))
                else:
                    self.good.append((metric, work.scope, due_us // CELL_US))
                work.next += 1
            if work.next == len(self.ages):
                del self.waiting[key]

    def over(self, work: Waiting) -> None:
        self.good += [
            (self.metrics[index], work.scope, self.due_us(work, index) // CELL_US)
            for index in range(work.next, len(self.ages))
            if self.ages[index] in self.waits.AGES
        ]

    def forget(self, now_us: int, span_us: int) -> None:
        before = now_us // span_us * span_us - _KEPT_US
        self.ended = {key: at_us for key, at_us in self.ended.items() if abs(at_us) >= before}

    def take(self, arrived: Arrived) -> None:
        event, now_us = arrived.event, arrived.arrival_us
        self.pass_time(now_us)
        key, scope = event.task_id, scoped(node=event.node)  # type: ignore[union-attr]
        if isinstance(event, TaskQueued):
            self.good.append(("wait:heard", scope, now_us // CELL_US))
            if key in self.waiting:
                return
            work = Waiting(now_us, arrived.occurred_us, scope, "", event.event_id, now_us + HOUR_US)
            if key not in self.ended:
                self.waiting[key] = work
            elif self.ended[key] < 0:
                self.ended[key] *= -1
                self.over(work)
        elif isinstance(event, TaskCompleted):
            gone = self.waiting.pop(key, None)
            if gone is not None:
                self.good.append(("wait:heard", gone.scope, now_us // CELL_US))
                self.over(gone)
                self.ended[key] = now_us
            elif key not in self.ended:
                self.ended[key] = -now_us
            else:
                return
            self.forget(now_us, _KEPT_US // 24)
        else:
            self.waiting.pop(key, None)


class Waits(Ageing):
    """Tasks from queued to completed; one that is rejected is not waited for any more."""

    AGES = (2 * MINUTE_US, 5 * MINUTE_US + SECOND_US, 20 * MINUTE_US)

    def __init__(self) -> None:
        super().__init__("wait", self.AGES, _KEPT_US, _EARLY)

    def handlers(self) -> dict[type[EventBase], Handler]:
        return {TaskQueued: self._queued, TaskCompleted: self._completed, TaskRejected: self._rejected}

    def impact(self, key: str, work: Waiting) -> Impact:
        del work
        return Impact(key)

    def _queued(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskQueued)
        until_us = arrived.arrival_us + HOUR_US
        self.begin(event.task_id, arrived, scoped(node=event.node), "", out, until_us=until_us)

    def _completed(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskCompleted)
        self.end(event.task_id, arrived, out)

    def _rejected(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, TaskRejected)
        self.drop(event.task_id)


class ByMinute(Waits):
    """The same at ages of whole minutes."""

    AGES = (2 * MINUTE_US, 5 * MINUTE_US, 20 * MINUTE_US)


class Halfway(Waits):
    """The same by another clock: ages count by half, from what was promised."""

    def due_us(self, work: Waiting, index: int) -> int:
        return work.until_us - HOUR_US + self._ages[index] // 2


KINDS = {"queued": TaskQueued, "completed": TaskCompleted, "rejected": TaskRejected}
NO = (False, False)
TASKS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 30, 59, 60, 61, 300, 301, 1_200, 5_000]),
        st.sampled_from(["queued", "queued", "completed", "completed", "rejected"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["n1", "n2"]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=30,
)


@pytest.mark.parametrize("kind", [Waits, ByMinute, Halfway])
@example(tasks=[(0, "queued", "a", "n1", *NO), (30, "rejected", "a", "n1", *NO), (10, "queued", "a", "n2", *NO)])
@example(tasks=[(at, "completed", task, "n1", *NO) for at, task in ((0, "a"), (3_500, "b"), (500, "c"))])
@example(tasks=[(at, done, "a", "n1", *NO) for at, done in ((0, "completed"), (5_000, "completed"), (1, "queued"))])
@given(tasks=TASKS)
def test_work_by_its_age_counts_as_a_walk_over_all_of_it_does(
    kind: type[Waits], tasks: list[tuple[int, str, str, str, bool, bool]]
) -> None:
    """However the log is cut into batches, and wherever it is resumed from a snapshot."""
    waits, now_us, batch = kind(), START_US, list[Arrived]()
    host, plain = EventDetectors([waits]), Plain(waits)
    good, bad = dict[tuple[str, Scoped, int], float](), list[tuple[str, Scoped, int, int, str, str]]()

    def close(upto_us: int) -> None:
        out = host.update(batch, [], upto_us)
        batch.clear()
        for counted in out.counted():
            for cell, total in counted.cells.items():
                key = counted.metric, counted.scope, cell
                good[key] = good.get(key, 0.0) + total
        for one in out.told():
            assert one.impact is not None
            insort(bad, (one.metric, one.scope, one.arrival_us, one.at_us, one.event_id, one.impact.order_id))

    for number, (passed, type_, task, node, cut, restart) in enumerate(tasks):
        now_us += passed * SECOND_US
        event = KINDS[type_](
            event_id=f"e{number}",
            source="wms-1",
            system="wms",
            occurred_at=from_us(now_us - SECOND_US),
            task_id=task,
            task_type="pick",
            node=node,
        )
        batch.append(Arrived(now_us, "fulfillment", 0, number, now_us - SECOND_US, event))
        plain.take(batch[-1])
        if cut:
            plain.pass_time(now_us)
            close(now_us)
        if cut and restart:
            kept = host.snapshot()
            waits = kind()
            host = EventDetectors([waits])
            host.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=type(kept)))
    plain.pass_time(now_us + 10 * MINUTE_US)
    close(now_us + 10 * MINUTE_US)
    wanted: dict[tuple[str, Scoped, int], float] = {}
    for one in plain.good:
        wanted[one] = wanted.get(one, 0.0) + 1.0
    assert good == wanted
    assert bad == sorted(plain.bad)
    state = msgspec.msgpack.decode(waits.snapshot(), type=AgeingState)
    assert (state.waiting, state.ended) == (plain.waiting, plain.ended)
