"""Doubts as a script: what waits for how long, what is withheld with what, what survives a snapshot."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators import sequence_doubts
from operators.case_state import Finding, Pass, PassExtras
from operators.detectors.clock_offsets import SourceOffset, offset_tally
from operators.detectors.events import CELL_US
from operators.findings import AHEAD_US, BEHIND_US, Doubt, LateStart, Misdated, OddTime, misdated, odd_time
from operators.handoff_changes import PassRun
from operators.handoff_findings import pass_signal
from operators.handoffs import HandoffTracker
from operators.sequence_doubts import DoubtsState, SequenceDoubts
from operators.site_group import SiteGroup
from schemas.durations import MINUTE_US, SECOND_US
from schemas.errors import StateError
from schemas.rows import Signal
from tests.harness import settings as pipeline_settings
from tests.scripts import Script, at, found, process_map

OMS = "oms-1"
APPROVAL = """
[case.order_id]
begins_with = [{type = "order.created"}]
[[handoff]]
name = "approval"
case = "order_id"
start = {type = "order.created"}
end = {type = "order.approved"}
"""
FORBIDDEN = """
[[forbidden]]
name = "approved_after_cancel"
case = "order_id"
event = {type = "order.approved"}
after = {type = "order.cancelled"}
"""


def doubt(arrival: str, margin_s: float, late_s: float = 0, early_s: float = 0, *, closed: bool = False) -> Doubt:
    """Two events in the wrong order by `margin_s`: dated so long after they came (before: less than 0); 0: not odd."""
    (handoff,) = process_map(APPROVAL).handoff
    end_us = at(arrival)
    current = Pass(start_us=end_us + round(margin_s * SECOND_US), end_us=end_us, signals={})
    current.signals[Finding.OUT_OF_SEQUENCE] = (end_us, end_us if closed else None, end_us)
    signal = pass_signal(Finding.OUT_OF_SEQUENCE, handoff, f"o{arrival}", "", current, end_us)
    late = OddTime("shop-1", round(late_s * SECOND_US)) if late_s else None
    early = OddTime(OMS, round(early_s * SECOND_US)) if early_s else None
    return Doubt(signal, Misdated(round(margin_s * SECOND_US), late, early))


def is_off(minute: str, by_s: float = 0, *, suspect: bool = False, source: str = OMS) -> tuple[str, float, bool, str]:
    return minute, by_s, suspect, source


def heard(doubts: SequenceDoubts, minute: str, by_s: float, suspect: bool, source: str) -> None:
    offset = SourceOffset(by_us=round(by_s * SECOND_US), is_suspect=suspect)
    doubts.hear(offset_tally(source, offset, at(minute) + CELL_US - 1))


def told(doubts: SequenceDoubts, time: str) -> list[str]:
    return [one.case_id for one in doubts.advance(at(time))]


def test_a_finding_is_told_when_its_minute_is_over_unless_a_clock_says_it_all() -> None:
    doubts = SequenceDoubts()
    heard(doubts, *is_off("10:00", -600))
    doubts.ask([doubt("10:00:10", 590, early_s=-601), doubt("10:00:20", 640, early_s=-601)])
    assert told(doubts, "10:00:59.999999") == []
    assert told(doubts, "10:01") == ["o10:00:20"]
    assert doubts.withheld == {OMS: 1}


@pytest.mark.parametrize(
    ("margin_s", "late_s", "early_s", "is_told"),
    [
        (90, 90, 0, False),  # dated after it came: proven by itself, whatever is known of the clock
        (95, 90, 0, True),
        (610, 0, -601, False),
        (613, 0, -601, True),
        (700, 95, -601, False),
        (710, 95, -601, True),
        (300, 0, -300, True),  # it came sooner than the clock is behind: it was dated by a right one
        (20, -601, 0, True),  # the first of the two is dated too early, if at all
    ],
)
def test_two_clocks_are_held_against_each_other(margin_s: float, late_s: float, early_s: float, is_told: bool) -> None:
    doubts = SequenceDoubts()
    heard(doubts, *is_off("10:00", -600))
    doubts.ask([doubt("10:00:10", margin_s, late_s, early_s)])
    assert told(doubts, "10:01") == ["o10:00:10"] * is_told


def test_of_one_source_two_events_are_as_late_as_each_other() -> None:
    doubts = SequenceDoubts()
    heard(doubts, *is_off("10:00", -600))
    asked = doubt("10:00:10", 30, early_s=-601)
    late = OddTime(OMS, -601 * SECOND_US)
    doubts.ask([msgspec.structs.replace(asked, why=msgspec.structs.replace(asked.why, late=late))])
    assert told(doubts, "10:01") == ["o10:00:10"]


@pytest.mark.parametrize(("then", "is_told"), [((-600.0, False), False), ((0.0, False), True)])
def test_a_clock_that_is_suspected_is_waited_for(then: tuple[float, bool], is_told: bool) -> None:
    doubts = SequenceDoubts()
    heard(doubts, *is_off("10:00", suspect=True))
    doubts.ask([doubt("10:00:10", 590, early_s=-601)])
    assert told(doubts, "10:03") == []
    assert doubts.sizes() == {"waiting": 1, "told": 0, "clocks": 1}
    heard(doubts, "10:03", *then, OMS)
    assert told(doubts, "10:04") == ["o10:00:10"] * is_told
    assert doubts.sizes() == {"waiting": 0, "told": int(is_told), "clocks": int(not is_told)}


def test_a_quarter_of_an_hour_is_waited_at_most_and_the_end_of_the_log_ends_it() -> None:
    doubts = SequenceDoubts()
    heard(doubts, *is_off("10:00", suspect=True))
    doubts.ask([doubt("10:00:10", 590, early_s=-601)])
    assert told(doubts, "10:15") == []
    assert told(doubts, "10:16") == ["o10:00:10"]
    doubts.ask([doubt("10:16:10", 590, early_s=-601)])
    assert told(doubts, "10:17") == []
    assert [one.case_id for one in doubts.end()] == ["o10:16:10"]


def test_of_too_many_that_wait_the_first_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_doubts, "_MOST_WAITING", 2)
    doubts = SequenceDoubts()
    heard(doubts, *is_off("10:00", suspect=True))
    doubts.ask([doubt(f"10:00:{second}", 590, early_s=-601) for second in (40, 10, 30, 20)])
    assert told(doubts, "10:01") == ["o10:00:10", "o10:00:20"]
    assert doubts.sizes()["waiting"] == 2


def test_what_takes_a_finding_back_is_withheld_with_it_and_counts_once() -> None:
    doubts = SequenceDoubts()
    heard(doubts, *is_off("10:00", -600))
    doubts.ask([doubt("10:00:10", 590, early_s=-601), doubt("10:02:10", 590, early_s=-601, closed=True)])
    assert told(doubts, "10:05") == []
    assert doubts.withheld == {OMS: 1}


def test_what_corrects_a_finding_that_was_told_is_told() -> None:
    doubts = SequenceDoubts()
    doubts.ask([doubt("10:00:10", 590, early_s=-601)])
    assert told(doubts, "10:01") == ["o10:00:10"]
    heard(doubts, *is_off("10:01", -600))
    first = doubt("10:00:10", 590, early_s=-601)
    doubts.ask([Doubt(msgspec.structs.replace(first.signal, arrival_us=at("10:02"), version=at("10:02")), first.why)])
    assert told(doubts, "10:03") == ["o10:00:10"]
    assert doubts.withheld == {}


def late(time: str, delay_s: float, source: str = OMS) -> LateStart:
    return LateStart(at(time), source, round(delay_s * SECOND_US))


@pytest.mark.parametrize(
    ("lates", "is_told"),
    [
        ([late("10:20", 600)] * 5, True),
        ([late("10:20", 600)] * 4, False),
        ([late("10:20", 715)] * 5, True),
        ([late("10:20", 300)] * 5, False),  # what a queue holds up for less says nothing of ten minutes
        ([late("10:20", 600, "wms-1")] * 5, False),
        ([late("09:50", 600)] * 5, False),  # too long ago
        ([late("10:20:30", 600)] * 100, True),
    ],
)
def test_a_source_whose_effects_come_before_it_says_why_is_late_and_its_clock_is_right(
    lates: list[LateStart], is_told: bool
) -> None:
    doubts = SequenceDoubts()
    heard(doubts, *is_off("10:00", -600))
    doubts.note(lates)
    doubts.ask([doubt("10:20:10", 590, early_s=-601)])
    assert told(doubts, "10:21") == ["o10:20:10"] * is_told
    assert doubts.withheld == ({} if is_told else {OMS: 1})


def test_where_more_is_dated_before_its_cause_than_comes_after_its_effect_it_is_the_clock() -> None:
    doubts = SequenceDoubts()
    heard(doubts, *is_off("10:00", -600))
    doubts.note([late("10:20", 600)] * 6)
    doubts.ask([doubt(f"10:20:{second}", 590, early_s=-601) for second in range(10, 18)])
    assert told(doubts, "10:21") == [f"o10:20:{second}" for second in range(10, 16)]
    assert doubts.withheld == {OMS: 2}


@pytest.mark.parametrize(
    ("started", "ended", "is_late"),
    [
        ("10:00:00", "10:00:20", True),
        ("10:00:00", "10:02:29", True),
        ("10:00:00", "10:02:31", False),  # so close to the start's arrival that it could have followed it
        ("10:00:10", "10:00:00", False),  # the wrong order
        ("10:04:30", "10:04:40", False),  # not odd
    ],
)
def test_a_start_that_came_long_after_its_end_is_late(started: str, ended: str, is_late: bool) -> None:
    tracker = HandoffTracker(process_map(APPROVAL))
    play = Script(tracker)
    play.send(ended, "order.approved", order_id="o1", occurred=ended)
    play.send("10:05:00", "order.created", order_id="o1", lines=[], source="shop-1", occurred=started)
    expected = [LateStart(at("10:05"), "shop-1", at("10:05") - at(started))] if is_late else []
    assert tracker.changes.late_starts == expected


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 300), st.sampled_from([0, -600, -630]), st.booleans()),
            st.tuples(st.integers(0, 300), st.integers(500, 700)),
            st.tuples(st.integers(0, 300)),
        ),
        max_size=30,
    ),
    st.sets(st.integers(1, 20)),
)
def test_any_way_to_the_same_minute_tells_the_same(said: Sequence[tuple[int, ...]], stops: set[int]) -> None:
    """Given at once or bit by bit as time goes on, kept and restored at every stop."""

    def give(doubts: SequenceDoubts, one: tuple[int, ...]) -> None:
        time = f"10:{one[0] // 60:02}:{one[0] % 60:02}"
        if len(one) == 1:
            doubts.note([late(time, 600 + one[0] % 60)] * 2)
        elif len(one) == 3:
            heard(doubts, time[:5], one[1], bool(one[2]), OMS)
        else:
            doubts.ask([doubt(time, one[1], early_s=-640)])

    once, bits = SequenceDoubts(), SequenceDoubts()
    for one in said:
        give(once, one)
    all_at_once = once.advance(at("11:00"))
    got: list[Signal] = []
    for minute in range(21):
        for one in said:
            if one[0] // 60 == minute:
                give(bits, one)
        got += bits.advance(at(f"10:{minute:02}") + MINUTE_US)
        if minute in stops:
            kept = msgspec.msgpack.decode(msgspec.msgpack.encode(bits.snapshot()), type=DoubtsState)
            bits = SequenceDoubts()
            bits.restore(kept)
    got += bits.advance(at("11:00"))
    assert got == all_at_once
    assert bits.withheld == once.withheld


def test_state_of_another_version_is_refused_and_that_of_before_is_read() -> None:
    with pytest.raises(StateError, match="sequence doubts' state of version 9; this code reads 1"):
        SequenceDoubts().restore(DoubtsState(9, [], [], [], {}, []))
    site = SiteGroup("site:0000", pipeline_settings())
    before = msgspec.msgpack.encode(msgspec.msgpack.decode(site.snapshot())[:-1])
    SiteGroup("site:0000", pipeline_settings()).restore(before)
    tracker = HandoffTracker(process_map(APPROVAL))
    tracker.restore(msgspec.structs.replace(tracker.snapshot(), version=5))
    extras = msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(PassExtras(fired_us=7)))[:6])
    assert msgspec.msgpack.decode(extras, type=PassExtras) == PassExtras(fired_us=7)


# --- what is in doubt ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead_us", "is_odd"),
    [(0, False), (AHEAD_US, False), (AHEAD_US + 1, True), (-BEHIND_US, False), (-BEHIND_US - 1, True)],
)
def test_an_event_is_oddly_dated_beyond_how_messages_travel(ahead_us: int, is_odd: bool) -> None:
    arrived = Script(HandoffTracker(process_map(APPROVAL))).arrived("10:00", "order.created", order_id="o1", lines=[])
    arrived = msgspec.structs.replace(arrived, occurred_us=arrived.arrival_us + ahead_us)
    assert odd_time(arrived) == (OddTime(OMS, ahead_us) if is_odd else None)


def test_only_a_first_that_is_dated_late_or_a_second_that_is_dated_early_leaves_a_doubt() -> None:
    ahead, behind = OddTime("a", 90 * SECOND_US), OddTime("b", -90 * SECOND_US)
    assert misdated(1, None, None) is None
    assert misdated(1, behind, ahead) is None
    assert misdated(1, ahead, None) == Misdated(1, ahead, None)
    assert misdated(1, None, behind) == Misdated(1, None, behind)


def test_a_wrong_order_of_events_that_came_in_time_is_told_by_the_tracker_and_a_doubt_is_not() -> None:
    tracker = HandoffTracker(process_map(APPROVAL))
    play = Script(tracker)
    play.send("10:00:10", "order.created", order_id="o1", lines=[], occurred="10:00:10")
    said = play.send("10:00:20", "order.approved", order_id="o1", occurred="10:00:05")
    assert found(said) == ["out_of_sequence approval o1 since 10:00:05"]
    play.send("10:01", "order.created", order_id="o2", lines=[], source="shop-1")
    assert found(play.send("10:03", "order.approved", order_id="o2", occurred="10:00:55")) == []
    (asked,) = tracker.changes.doubts
    assert asked.why == Misdated(5 * SECOND_US, None, OddTime(OMS, -125 * SECOND_US))
    ((*_, last),) = tracker.changes.taken()
    assert last.doubts == [asked]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(last), type=PassRun) == last  # to another process
    assert not last  # no change for windows
    assert tracker.changes.taken() == [[]]


def test_what_was_told_without_a_doubt_is_never_again_in_doubt() -> None:
    tracker = HandoffTracker(process_map(APPROVAL))
    play = Script(tracker)
    play.send("10:00:10", "order.created", order_id="o1", lines=[])
    assert len(play.send("10:00:20", "order.approved", order_id="o1", occurred="10:00:05")) == 2
    corrected = play.send("10:05", "order.approved", order_id="o1", occurred="10:00:01")
    assert found(corrected) == ["out_of_sequence approval o1 since 10:00:01"]
    assert tracker.changes.doubts == []


def test_a_doubt_about_a_pass_lasts_until_it_is_taken_back() -> None:
    tracker = HandoffTracker(process_map(APPROVAL))
    play = Script(tracker)
    play.send("10:01", "order.created", order_id="o2", lines=[], source="shop-1")
    play.send("10:03", "order.approved", order_id="o2", occurred="10:00:55")
    assert found(play.send("10:04", "order.created", order_id="o2", lines=[], occurred="10:00:50")) == []
    first, then = tracker.changes.doubts
    assert first.why == then.why
    assert found([first.signal, then.signal]) == [
        "out_of_sequence approval o2 since 10:00:55",
        "out_of_sequence approval o2 since 10:00:55 until 10:04",
    ]


class Forbidden:
    """An order that is approved and cancelled: what is found of it, by the tracker and of what is in doubt, as told."""

    def __init__(self) -> None:
        self.tracker, self.doubts = HandoffTracker(process_map(FORBIDDEN)), SequenceDoubts()
        self.play = Script(self.tracker)
        self.told: list[str] = []

    def send(self, arrival: str, what: str, dated: str = "", source: str = "shop-1") -> None:
        self.told += found(
            self.play.send(arrival, f"order.{what}", order_id="o1", source=source, occurred=dated or arrival)
        )
        for part in self.tracker.changes.taken():
            for run in part:
                self.doubts.ask(msgspec.msgpack.decode(msgspec.msgpack.encode(run.doubts), type=list[Doubt]))

    def until(self, time: str) -> list[str]:
        """All that was told until then; what is kept is read back."""
        self.told += found(self.doubts.advance(at(time)))
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(self.doubts.snapshot()), type=DoubtsState)
        self.doubts = SequenceDoubts()
        self.doubts.restore(kept)
        return self.told


def test_an_impossible_state_that_was_withheld_is_told_once_nothing_is_odd_about_it() -> None:
    order = Forbidden()
    order.send("09:59:30", "approved", dated="10:00:10")
    order.send("10:00:00", "cancelled", source=OMS)
    assert order.until("10:01") == []
    assert order.doubts.withheld == {"shop-1": 1}
    order.send("10:02", "approved")
    assert order.until("10:03") == ["impossible_state approved_after_cancel o1 since 10:02"]
    order.send("10:04", "approved")
    order.send("10:05", "approved", dated="10:07")
    assert len(order.until("10:30")) == 1


@pytest.mark.parametrize("dated", ["10:02", "10:03"], ids=["no doubt", "a doubt again"])
def test_an_impossible_state_that_was_told_in_spite_of_a_doubt_is_not_told_again(dated: str) -> None:
    order = Forbidden()
    order.send("10:00:00", "cancelled", source=OMS)
    order.send("10:00:05", "approved", dated="10:01")  # ahead by less than that
    (asked,) = order.doubts.snapshot().waiting[0][1]
    assert asked.why == Misdated(MINUTE_US, OddTime("shop-1", 55 * SECOND_US), None)
    order.send("10:00:06", "approved", dated="10:00:10")  # nothing new
    assert order.doubts.sizes()["waiting"] == 1
    assert order.until("10:01") == ["impossible_state approved_after_cancel o1 since 10:01"]
    order.send("10:02", "approved", dated=dated)
    assert len(order.until("10:30")) == 1
    assert order.doubts.withheld == {}


def test_an_impossible_state_that_waits_in_several_findings_is_told_once() -> None:
    order = Forbidden()
    heard(order.doubts, *is_off("10:00", suspect=True))
    order.send("10:00:00", "approved")
    order.send("10:05", "cancelled", dated="09:55", source=OMS)
    order.send("10:06", "approved")
    assert order.until("10:10") == []
    assert order.doubts.sizes()["waiting"] == 2
    at_the_end = SequenceDoubts()
    at_the_end.restore(order.doubts.snapshot())
    assert found(at_the_end.end()) == ["impossible_state approved_after_cancel o1 since 10:00"]
    assert order.until("10:40") == ["impossible_state approved_after_cancel o1 since 10:00"]


def test_a_doubt_that_is_withheld_again_counts_once() -> None:
    order = Forbidden()
    order.send("09:59:30", "approved", dated="10:00:10")
    order.send("10:00:00", "cancelled", source=OMS)
    order.send("10:00:05", "cancelled", dated="09:59:50", source=OMS)
    assert order.until("10:30") == []
    assert order.doubts.withheld == {"shop-1": 1}


# --- offsets -------------------------------------------------------------------------------------------------------


@given(
    st.floats(-4.9, 4.9).map(lambda minutes: round(minutes * MINUTE_US)),
    st.lists(st.lists(st.integers(0, 30 * SECOND_US), min_size=1, max_size=5), min_size=1, max_size=60),
)
def test_a_clock_is_never_said_to_be_further_ahead_than_it_is(ahead_us: int, delays: list[list[int]]) -> None:
    """And, once a message came as fast as any can, no less; what a clock that is behind by little does is not said."""
    offset, usual = SourceOffset(), 0.0
    for known, minute in enumerate(delays, 1):
        least_us = min(minute) - ahead_us
        usual += (least_us - usual) / known
        offset.hear(least_us, is_run=False)
        offset.stand(usual, is_off=False, is_run=False)
        recent_us = [min(one) for one in delays[max(0, known - 10) : known]]
        assert offset.by_us <= max(0, ahead_us)
        if ahead_us - min(recent_us) > AHEAD_US:
            assert offset.by_us == ahead_us - min(recent_us)
    assert len(offset.recent_us) <= 10
