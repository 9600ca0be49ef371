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
from operators.findings import AHEAD_US, BEHIND_US, Doubt, Misdated, OddTime, misdated, odd_time
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


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 300), st.sampled_from([0, -600, -630]), st.booleans()),
            st.tuples(st.integers(0, 300), st.integers(500, 700)),
        ),
        max_size=20,
    ),
    st.sets(st.integers(1, 20)),
)
def test_any_way_to_the_same_minute_tells_the_same(said: Sequence[tuple[int, ...]], stops: set[int]) -> None:
    """Given at once or bit by bit as time goes on, kept and restored at every stop."""

    def give(doubts: SequenceDoubts, one: tuple[int, ...]) -> None:
        time = f"10:{one[0] // 60:02}:{one[0] % 60:02}"
        if len(one) == 3:
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


def test_an_impossible_state_in_doubt_is_told_once_nothing_is_odd_about_it() -> None:
    tracker = HandoffTracker(process_map(FORBIDDEN))
    play = Script(tracker)
    play.send("10:00", "order.cancelled", order_id="o1")
    assert found(play.send("10:00:05", "order.approved", order_id="o1", occurred="10:01", source="shop-1")) == []
    (asked,) = tracker.changes.doubts
    assert asked.why == Misdated(MINUTE_US, OddTime("shop-1", 55 * SECOND_US), None)
    play.send("10:00:06", "order.approved", order_id="o1", occurred="10:01", source="shop-1")
    assert len(tracker.changes.doubts) == 1  # nothing new
    told_now = play.send("10:02", "order.approved", order_id="o1")
    assert found(told_now) == ["impossible_state approved_after_cancel o1 since 10:02"]


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
