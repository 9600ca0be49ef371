"""A job that is resumed under another process map or other settings goes on, or says in words why it can't."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from operators.case_state import HandoffState
from operators.group_state import SitePiece
from operators.groups import CaseGroup
from operators.handoff_windows import HandoffWindows, HandoffWindowsState
from operators.handoffs import HandoffTracker
from operators.pipeline import PipelineSettings
from operators.process_map import Handoff, ProcessMap
from operators.slices import Slice
from operators.stock import StockReconciler, StockSettings, StockState
from operators.windows import WindowSettings
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, rfc3339
from schemas.errors import StateError
from schemas.events import Arrived, Event
from schemas.rows import HandoffPass, HandoffWindow, LateEvent, Row, Signal, StockWindow
from tests.handoff_logs import arrivals
from tests.harness import START_US, PurePipeline
from tests.shop import CASE_TYPES, Said, log_of, seeded, shop_map, shop_settings

CLOSE_US = START_US + 3 * HOUR_US


def resumed(log: list[Said], before: PipelineSettings, after: PipelineSettings, steps: int) -> list[Row]:
    """What is written by a job that takes 7 messages a step and is resumed with other settings after some steps."""
    job = PurePipeline(log_of(log), before, 7)
    for _ in range(steps):
        job.step(job.settings.lanes[0])
    job.keep_and_restore(after)
    del job.rows[:]
    return job.run()


def with_map(settings: PipelineSettings, change: Callable[[list[Handoff]], list[Handoff]]) -> PipelineSettings:
    handoffs = change(settings.process.handoff)
    names = {one.name for one in handoffs}
    kept = [msgspec.structs.replace(one, requires=[name for name in one.requires if name in names]) for one in handoffs]
    return msgspec.structs.replace(settings, process=msgspec.structs.replace(settings.process, handoff=kept))


SHOP = shop_settings(retention_us=DAY_US, close_at_us=CLOSE_US)


@pytest.mark.parametrize("gone", [handoff.name for handoff in shop_map().handoff])
def test_a_handoff_that_was_taken_out_of_the_map_is_spoken_of_no_more(gone: str) -> None:
    after = with_map(SHOP, lambda handoffs: [one for one in handoffs if one.name != gone])
    rows = resumed(seeded(CASE_TYPES, 3, 120, 1_500), SHOP, after, 8)
    assert {row.handoff for row in rows if isinstance(row, HandoffWindow | HandoffPass)} == {
        one.name for one in after.process.handoff
    }


def kept_and_read(tracker: HandoffTracker, process: ProcessMap) -> HandoffTracker:
    other = HandoffTracker(process)
    other.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(tracker.snapshot()), type=HandoffState))
    return other


def windows_kept_and_read(windows: HandoffWindows, process: ProcessMap, settings: WindowSettings) -> HandoffWindows:
    other = HandoffWindows(process.handoff, settings)
    other.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(windows.snapshot()), type=HandoffWindowsState))
    return other


APPROVED = [Said(number, "order.approved", number, 60 * number, 0, 1, 1) for number in range(3)]  # each line l1
MINUTES = WindowSettings(MINUTE_US, MINUTE_US, 5 * SECOND_US, 10 * MINUTE_US)


@pytest.mark.parametrize(
    "change", [{"per": []}, {"per": ["source", "line_id"]}, {"scope": "source"}, {"start_case": "correlation_id"}]
)
def test_a_handoff_that_means_something_else_begins_anew(change: dict[str, Any]) -> None:
    process = shop_map()
    tracker, windows = HandoffTracker(process), HandoffWindows(process.handoff, MINUTES)
    tracker.update(arrivals(APPROVED))
    windows.update([tracker.changes.run()])
    windows.advance(START_US + 3 * MINUTE_US)
    changed = msgspec.structs.replace(
        process,
        handoff=[
            msgspec.structs.replace(one, **change) if one.name == "allocation" else one for one in process.handoff
        ],
    )
    tracker, windows = kept_and_read(tracker, changed), windows_kept_and_read(windows, changed, MINUTES)
    out = tracker.update(arrivals([Said(3, "order.cancelled", 0, 240, 0, 1, 1)]))  # of the line
    out += tracker.advance(START_US + HOUR_US)
    assert {one.handoff for one in out} == {"line_promise"}
    windows.update([tracker.changes.run()])
    rows = windows.advance(START_US + HOUR_US)
    assert {row.handoff for row in rows if isinstance(row, HandoffWindow)} == {"line_promise"}


def test_state_of_the_version_before_goes_on_under_the_same_map() -> None:
    tracker = HandoffTracker(shop_map())
    tracker.update(arrivals(APPROVED))
    state = tracker.snapshot()
    names = [f"{one.name}|{one.start}|{one.end}" for one in tracker._rules.entries]
    other = HandoffTracker(shop_map())
    other.restore(msgspec.structs.replace(state, version=4, handoffs=names))
    assert other.snapshot() == state


@pytest.mark.parametrize(("slide", "slide_said"), [(5, "5 min"), (1, "60 s")])
def test_windows_of_another_shape_are_refused_in_words(slide: int, slide_said: str) -> None:
    windows = HandoffWindows(shop_map().handoff, MINUTES)
    other = msgspec.structs.replace(MINUTES, size_us=5 * MINUTE_US, slide_us=slide * MINUTE_US)
    words = f"are 5 min and {slide_said}, but the state was kept with 60 s and 60 s: set them back"
    with pytest.raises(StateError, match=f"window and slide of the process map {words}"):
        windows_kept_and_read(windows, shop_map(), other)


def test_a_longer_retention_does_not_write_windows_again_that_were_forgotten() -> None:
    process = shop_map()
    tracker, windows = HandoffTracker(process), HandoffWindows(process.handoff, MINUTES)
    log = [Said(number, "order.approved", number, number, 0, 1, 1) for number in range(3)]
    log += [Said(3, "order.allocated", 0, 30, 0, 1, 1), Said(4, "order.approved", 9, 7_200, 0, 1, 1)]
    tracker.update(arrivals(log))
    windows.update([tracker.changes.run()])
    rows = windows.advance(START_US + 3 * HOUR_US)
    windows = windows_kept_and_read(windows, process, msgspec.structs.replace(MINUTES, retention_us=DAY_US))
    late = [Said(5, "order.allocated", 0, 20, 12_000, 1, 1), Said(6, "order.approved", 8, 7_190, 4_000, 1, 1)]
    tracker.update(arrivals(late))
    windows.update([tracker.changes.run()])
    rows = windows.advance(START_US + 4 * HOUR_US)
    begun = {row.window_end_us: row.started for row in rows if isinstance(row, HandoffWindow) and row.started}
    assert not [end for end in begun if end <= START_US + MINUTE_US]
    assert [row for row in rows if isinstance(row, LateEvent)]


class Counted:
    """A case group, and the windows that its changes go to."""

    def __init__(self, retention_us: int) -> None:
        self.settings = shop_settings(retention_us=retention_us, close_at_us=CLOSE_US)
        self.cases = CaseGroup("case:0000", self.settings)
        self.windows = HandoffWindows(self.settings.process.handoff, self.settings.handoff_windows)

    def take(self, log: list[Said], upto_us: int) -> list[LateEvent]:
        """What of the log is recorded as late."""
        events = arrivals(log)
        (lane,) = self.settings.lanes
        said = self.cases.on_batch([Slice(lane, upto_us, events[-1].arrival_us, events)])
        for _, piece in said.pieces:
            assert isinstance(piece, SitePiece)
            self.windows.update(piece.changes)
        return [row for row in self.windows.advance(upto_us) if isinstance(row, LateEvent)]

    def resumed(self, retention_us: int) -> "Counted":
        """As it was kept, with another retention."""
        other = Counted(retention_us)
        other.cases.restore(self.cases.snapshot())
        other.windows.restore(
            msgspec.msgpack.decode(msgspec.msgpack.encode(self.windows.snapshot()), type=HandoffWindowsState)
        )
        return other


@pytest.mark.parametrize("more", [[DAY_US], [2 * DAY_US, DAY_US]], ids=["longer", "longer than that, and back"])
def test_what_is_too_late_by_the_shorter_retention_is_recorded_under_a_longer_one(more: list[int]) -> None:
    """Whatever the settings became since: those windows are closed."""
    begins = [Said(n, "order.approved", n, 60 * n, 0, 1, 1) for n in range(7)]
    late = [Said(20 + n, type_, 30 + n, 20 + n, 3_700 + 10 * n, 1, 1) for n, type_ in enumerate(CASE_TYPES)]
    late += [Said(60 + n, "order.allocated", n, 61 * n, 3_900, 1, 1) for n in range(7)]
    before, one = Counted(10 * MINUTE_US), Counted(10 * MINUTE_US)
    for job in (before, one):
        assert job.take(begins, START_US + HOUR_US) == []
    for retention_us in more:
        one = one.resumed(retention_us)
    expected = before.take(late, START_US + 2 * HOUR_US)
    assert len(expected) > 20
    assert one.take(late, START_US + 2 * HOUR_US) == expected
    again = one.resumed(more[-1])
    assert again.take([Said(90, "order.approved", 90, 60, 7_300, 1, 1)], START_US + 3 * HOUR_US) != []
    in_time = [Said(91, "order.approved", 91, 2 * 3_600, 10_000, 1, 1)]
    assert again.take(in_time, START_US + 5 * HOUR_US) == []


# --- stock ------------------------------------------------------------------------------------------------------


class AtOnceAtRest(StockReconciler):
    """Lets its items rest as soon as it can."""

    MOST_AWAKE = 0


def stock_kept_and_read(stock: StockReconciler, settings: StockSettings, windows: WindowSettings) -> StockReconciler:
    other = AtOnceAtRest(settings, windows)
    other.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(stock.snapshot()), type=StockState))
    return other


def said_of_item(at_us: int, kind: str, late_us: int = 0, system: str = "wms", **own: object) -> Arrived:
    body = {"source": system, "system": system, "sku": "k", "node": "n", "order_id": "o", "reason": "sale"}
    event = msgspec.convert(
        {**body, **own, "type": kind, "event_id": f"{kind} {at_us}", "occurred_at": rfc3339(at_us)}, Event
    )
    return Arrived(int(at_us) + late_us, "log", 0, 0, int(at_us), event)


def test_a_longer_retention_forgets_no_reservation_and_writes_no_window_again_that_was_forgotten() -> None:
    retained = msgspec.structs.replace(MINUTES, retention_us=HOUR_US)
    stock: StockReconciler = AtOnceAtRest(StockSettings(), retained)
    until = rfc3339(START_US + 20 * DAY_US)
    stock.update(
        [
            said_of_item(START_US, "inventory.level", on_hand=10),
            said_of_item(START_US + 1, "reservation.created", reservation_id="r", qty=4, expires_at=until),
            said_of_item(START_US + HOUR_US, "inventory.level", on_hand=20),
        ]
    )
    stock.advance(START_US + 6 * HOUR_US)  # folding is due, and not done yet of an item at rest
    stock = stock_kept_and_read(stock, StockSettings(), msgspec.structs.replace(retained, retention_us=DAY_US))
    out = stock.update(
        [
            said_of_item(START_US + MINUTE_US, "inventory.level", 7 * HOUR_US, "erp", on_hand=10),
            said_of_item(START_US + 8 * HOUR_US, "inventory.adjusted", delta=-1),
        ]
    )
    out += stock.advance(START_US + 9 * HOUR_US)
    assert [one.occurred_at_us for one in out if isinstance(one, LateEvent)] == [START_US + MINUTE_US]
    (row,) = [one for one in out if isinstance(one, StockWindow)]
    assert (row.on_hand, row.available_to_promise) == ({"erp": 10.0, "wms": 19.0}, 15.0)


@pytest.mark.parametrize(("settle_min", "found_min"), [(10, 30), (30, 30), (60, 60)])
def test_what_had_begun_to_differ_is_found_though_the_settle_time_was_changed(settle_min: int, found_min: int) -> None:
    stock = StockReconciler(StockSettings(settle=Duration(30 * MINUTE_US)), MINUTES)
    stock.update(
        [
            said_of_item(START_US - 1, "inventory.level", on_hand=10),
            said_of_item(START_US, "inventory.level", system="erp", on_hand=100),
        ]
    )
    stock.advance(START_US + 5 * MINUTE_US)
    stock = stock_kept_and_read(stock, StockSettings(settle=Duration(settle_min * MINUTE_US)), MINUTES)
    (found,) = [one for one in stock.advance(START_US + DAY_US) if isinstance(one, Signal)]
    assert (found.kind, found.opened_at_us, found.arrival_us) == (
        "stock_delta",
        START_US,
        START_US + found_min * MINUTE_US,
    )
