"""When windows are written: the schedule equals a simulation that looks at every microsecond that matters."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.windows import Key, ScheduleState, WindowSchedule, WindowSettings

SHAPES = st.builds(
    lambda slide, times, grace, retention: WindowSettings(slide * times, slide, grace, retention),
    st.sampled_from([5, 10]),
    st.integers(1, 4),
    st.integers(0, 12),
    st.integers(0, 60),
)
#: (time since the touch before, key, how long before its arrival it happened)
_TOUCH = st.tuples(st.integers(0, 15), st.sampled_from("ab"), st.integers(-15, 90))
TOUCHES = st.lists(_TOUCH, max_size=25) | st.lists(_TOUCH, min_size=15, max_size=25)
Written = list[tuple[int, str, int]]


def simulated(touches: list[tuple[int, str, int]], windows: WindowSettings) -> tuple[Written, list[list[int]]]:
    """tick, key, window end of every writing; and for each touch the ends of the windows that it came too late for."""
    written: Written = []
    late: list[list[int]] = []
    dirty: set[tuple[str, int]] = set()
    pending = list(touches)
    for now in range(-200, 2_000):
        # What arrives now comes before what is written now.
        while pending and pending[0][0] == now:
            _, key, instant = pending.pop(0)
            missed = []
            for end in range(-400, 2_400):
                if end % windows.slide_us == 0 and end - windows.size_us <= instant < end:
                    if now > end + max(windows.retention_us, windows.grace_us):
                        missed.append(end)
                    else:
                        dirty.add((key, end))
            late.append(missed)
        # A tick is `grace` after the end of some pane.
        if (now - windows.grace_us) % windows.slide_us == 0:
            due = {(key, end) for key, end in dirty if end + windows.grace_us <= now}
            written += sorted(((now, key, end) for key, end in due), key=lambda one: (one[2], one[1]))
            dirty -= due
    return written, late


def timed(drawn: list[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """Arrival, key and event time of each touch."""
    now, out = 100, []
    for step, key, ago in drawn:
        now += step
        out.append((now, key, now - ago))
    return out


@settings(deadline=None, max_examples=400)
@given(drawn=TOUCHES, windows=SHAPES, restore=st.booleans())
def test_the_schedule_equals_a_simulation(
    drawn: list[tuple[int, str, int]], windows: WindowSettings, restore: bool
) -> None:
    touches = timed(drawn)
    schedule, written, late = WindowSchedule(windows), [], []
    for now, key, instant in touches:
        written += [(tick, entry[0], end) for tick, entries in schedule.due(now) for end, entry in entries]
        late.append(list(schedule.touch((key,), instant, now)))
        if restore:
            kept = msgspec.msgpack.encode(schedule.snapshot())
            schedule = WindowSchedule(windows)
            schedule.restore(msgspec.msgpack.decode(kept, type=ScheduleState))
        assert schedule.next_tick() == (None if len(schedule) == 0 else schedule.next_us)
    written += [(tick, entry[0], end) for tick, entries in schedule.due(2_000) for end, entry in entries]
    assert (written, late) == simulated(touches, windows)
    assert len(schedule) == 0


def test_a_window_is_first_written_when_its_grace_is_over_and_corrected_at_ticks() -> None:
    schedule = WindowSchedule(WindowSettings(60, 60, 5, 1_000))
    key: Key = ("k",)
    schedule.touch(key, 59, 30)
    assert list(schedule.due(65)) == []
    assert list(schedule.due(66)) == [(65, [(60, key)])]
    schedule.touch(key, 10, 66)
    schedule.touch(key, 11, 125)
    assert list(schedule.due(125)) == []
    assert list(schedule.due(126)) == [(125, [(60, key)])]


def test_a_window_is_late_only_after_its_retention() -> None:
    schedule = WindowSchedule(WindowSettings(60, 60, 5, 100))
    assert list(schedule.touch(("k",), 0, 160)) == []
    assert list(schedule.touch(("k",), 0, 161)) == [60]
    assert not schedule.touch_window(("k",), 60, 161)
    short = WindowSchedule(WindowSettings(60, 60, 50, 10))  # not before its first writing
    assert list(short.touch(("k",), 0, 110)) == []
    assert list(short.touch(("k",), 0, 111)) == [60]


def test_sliding_windows_are_late_one_by_one() -> None:
    schedule = WindowSchedule(WindowSettings(30, 10, 0, 20))
    assert list(schedule.touch(("k",), 5, 41)) == [10, 20]
    assert [end for _, entries in schedule.due(1_000) for end, _ in entries] == [30]


@pytest.mark.parametrize(
    ("size", "slide", "grace", "retention"),
    [(60, 7, 0, 0), (0, 60, 0, 0), (60, 0, 0, 0), (60, 60, -1, 0), (60, 60, 0, -1)],
)
def test_what_cannot_be_a_window_is_refused(size: int, slide: int, grace: int, retention: int) -> None:
    with pytest.raises(ValueError, match="window"):
        WindowSettings(size, slide, grace, retention)
