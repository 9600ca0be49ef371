"""Windows do not depend on columns, on batches, or on resuming: each change as a record gives the same."""

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators import handoff_windows
from operators.handoff_changes import PassChanges, PassRun
from operators.handoff_columns import Columns, ManyChanges
from operators.handoff_series import Series
from operators.handoff_windows import HandoffWindows, HandoffWindowsState
from operators.handoffs import HandoffTracker
from operators.process_map import ProcessMap
from operators.windows import Key, WindowSettings
from schemas.durations import DAY_US, END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US
from schemas.rows import HandoffWindow, LateEvent
from tests.handoff_logs import COMMON, AsRecords, Batch, arrivals, encoded
from tests.harness import START_US
from tests.shop import CASE_TYPES, Said, said, shop_map


def changes_of(log: Batch, process: ProcessMap, changes: PassChanges) -> list[PassRun]:
    """Changes for windows, as `changes` holds them."""
    tracker, runs = HandoffTracker(process, changes=changes), []
    for start in range(0, len(log), 40):
        tracker.update(log[start : start + 40])
        runs.append(changes.run())
    tracker.advance(END_OF_TIME_US)
    return [*runs, changes.run()]


def written(
    windows: HandoffWindows, runs: list[PassRun], times: Sequence[int], settings_: WindowSettings, *, resume: bool
) -> list[HandoffWindow | LateEvent]:
    out: list[HandoffWindow | LateEvent] = []
    windows.update(runs)
    for time in (*times, START_US + 3 * HOUR_US):
        out += windows.advance(time)
        if resume:
            kept = msgspec.msgpack.encode(windows.snapshot())
            windows = HandoffWindows(shop_map().handoff, settings_)
            windows.restore(msgspec.msgpack.decode(kept, type=HandoffWindowsState))
    return out + windows.advance(END_OF_TIME_US)


def one_by_one(log: Batch, chosen: WindowSettings) -> list[HandoffWindow | LateEvent]:
    """The rows of windows that take each change as a record, and no straight way."""
    windows = HandoffWindows(shop_map().handoff, chosen)
    windows._is_tumbling = False
    return written(
        windows, changes_of(log, shop_map(), AsRecords(correctable_us=-END_OF_TIME_US)), [], chosen, resume=False
    )


@COMMON
@given(
    events=said(*CASE_TYPES),
    shape=st.sampled_from([(60, 60), (30, 30), (10, 10), (30, 90)]),
    retention=st.sampled_from([5 * MINUTE_US, DAY_US]),
    few=st.sampled_from([0, 0, 8, 1_000]),
    stretch=st.sampled_from([1, 8]),
    steps=st.lists(st.integers(1, 600), max_size=12),
    resume=st.booleans(),
)
def test_windows_do_not_depend_on_the_way_on_batches_or_on_resuming(
    events: list[Said],
    shape: tuple[int, int],
    retention: int,
    few: int,
    stretch: int,
    steps: list[int],
    resume: bool,
) -> None:
    chosen = WindowSettings(shape[1] * SECOND_US, shape[0] * SECOND_US, 5 * SECOND_US, retention)
    log = arrivals(events, stretch)
    times = [START_US + sum(steps[: number + 1]) * SECOND_US for number in range(len(steps))]
    windows = HandoffWindows(shop_map().handoff, chosen)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(handoff_windows, "_FEW", few)
        rows = written(
            windows, changes_of(log, shop_map(), PassChanges(correctable_us=retention)), times, chosen, resume=resume
        )
    assert encoded(rows) == encoded(one_by_one(log, chosen))


def busy(late: int) -> Batch:
    """Steps of many cases in half an hour, some seconds late; of every `late` events (0: none) one is anything."""
    draw = random.Random(late)
    log: list[Said] = []
    for case in range(800):
        moment, value = draw.randrange(1_200), draw.randrange(10)
        for type_ in ("order.created", "order.approved", "task.queued", "task.completed"):
            log.append(Said(len(log), type_, case, moment, draw.randrange(6), value, value))
            moment += draw.randrange(240)
            if late and len(log) % late == 0:
                log.append(Said(len(log), draw.choice(CASE_TYPES), draw.randrange(800), moment, 400, value, value))
    return arrivals(log)


@pytest.mark.parametrize("few", [0, 48, 10_000])
@pytest.mark.parametrize("late", [0, 50])
def test_busy_windows_do_not_depend_on_the_way(few: int, late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handoff_windows, "_FEW", few)
    chosen = WindowSettings(10 * SECOND_US, 10 * SECOND_US, 5 * SECOND_US, DAY_US)
    log = busy(late)
    times = [START_US + number * 70 * SECOND_US for number in range(30)]
    windows = HandoffWindows(shop_map().handoff, chosen)
    rows = written(windows, changes_of(log, shop_map(), PassChanges()), times, chosen, resume=False)
    assert encoded(rows) == encoded(one_by_one(log, chosen))
    assert len(rows) > 200


def test_what_was_open_at_a_window_of_backlog_alone_is_in_it_though_it_is_over_by_the_end_of_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handoff_windows, "_FEW", 0)
    chosen = WindowSettings(10 * SECOND_US, 10 * SECOND_US, 5 * SECOND_US, DAY_US)
    log = arrivals([Said(0, "order.created", 0, 10, 0, 2, 1), Said(1, "order.approved", 0, 130, 0, 2, 1)])
    runs = changes_of(log, shop_map(), PassChanges())
    rows = written(HandoffWindows(shop_map().handoff, chosen), runs, [], chosen, resume=False)
    assert encoded(rows) == encoded(one_by_one(log, chosen))
    approvals = [row for row in rows if isinstance(row, HandoffWindow) and row.handoff == "approval"]
    assert [(row.window_end_us - START_US) // SECOND_US for row in approvals if row.backlog] == [20, 120]


def test_columns_are_taken_for_most_and_records_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = ManyChanges.take

    def counting(
        self: ManyChanges, columns: Columns, placed: Sequence[Series], backlogged: set[Key], since_us: int
    ) -> None:
        taken.append(len(columns.series))
        take(self, columns, placed, backlogged, since_us)

    monkeypatch.setattr(ManyChanges, "take", counting)
    chosen = WindowSettings(MINUTE_US, MINUTE_US, 5 * SECOND_US, DAY_US)
    runs = changes_of(busy(200), shop_map(), PassChanges())
    times = [START_US + number * 300 * SECOND_US for number in range(6)]
    written(HandoffWindows(shop_map().handoff, chosen), runs, times, chosen, resume=False)
    assert 300 < sum(taken) < sum(map(len, runs))
