"""The parts that handoffs and their windows stand on, each against something plain: timers, and open passes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.case_kind import CaseKind
from operators.case_state import PassRecord
from operators.case_timers import CaseTimers
from operators.handoff_open import OpenPasses
from operators.handoff_series import Series
from operators.process_map import CaseRule
from schemas.durations import DAY_US, END_OF_TIME_US, HOUR_US, MINUTE_US, Duration

SPANS = st.sampled_from([1, MINUTE_US, HOUR_US, DAY_US, 90 * DAY_US])
#: (how far ahead a timer is set, how far time goes on then), each as a share of some span.
AHEAD = st.builds(lambda share, span: round(share * span), st.floats(-0.5, 2), SPANS)
ON = st.builds(lambda share, span: round(share * span), st.floats(0, 1), SPANS) | st.just(0)


@settings(deadline=None, max_examples=300)
@given(moves=st.lists(st.tuples(st.lists(AHEAD, max_size=6), ON), max_size=15), start=st.integers(-DAY_US, DAY_US))
def test_timers_are_those_before_each_time_and_none_is_lost(moves: list[tuple[list[int], int]], start: int) -> None:
    timers, now, pending, number = CaseTimers(), start, set[tuple[int, str]](), 0
    for aheads, on in moves:
        for ahead in aheads:
            number += 1
            timers.add(now + ahead, f"c{number}")
            pending.add((now + ahead, f"c{number}"))
        assert len(timers) == len(pending)
        now += on
        taken = list(timers.before(now))
        due = {one for one in pending if one[0] < now}
        assert sorted(taken) == sorted(due)
        pending -= due
    assert sorted(timers.before(END_OF_TIME_US)) == sorted(pending)
    assert len(timers) == 0


def test_what_is_set_while_timers_run_out_runs_out_too_if_it_is_due() -> None:
    timers = CaseTimers()
    timers.add(0, "a")
    seen = []
    for at, case_id in timers.before(10 * HOUR_US):
        seen.append(at)
        timers.add(at + HOUR_US, case_id)
    assert seen == [number * HOUR_US for number in range(10)]
    assert list(timers.before(10 * HOUR_US + 1)) == [(10 * HOUR_US, "a")]


MOVES = st.lists(st.tuples(st.sampled_from(["add", "add", "remove", "ask", "keep"]), st.integers(0, 50)), max_size=80)


@settings(deadline=None, max_examples=400)
@given(moves=MOVES, end=st.integers(-5, 60))
def test_open_passes_are_those_that_were_added_and_not_removed(moves: list[tuple[str, int]], end: int) -> None:
    opened, plain = OpenPasses(), list[int]()
    for what, number in moves:
        if what == "add":
            opened.add(number)
            plain.append(number)
        elif what == "remove" and plain:
            gone = plain.pop(number % len(plain))
            opened.remove(gone)
        elif what == "ask":
            below = sorted(one for one in plain if one < number)
            assert opened.before(number) == (len(below), below[0] if below else None)
        elif what == "keep":
            assert opened.starts_us() == sorted(plain)
            opened = OpenPasses(opened.starts_us())
        assert len(opened) == len(plain)
    below = sorted(one for one in plain if one < end)
    assert opened.before(end) == (len(below), below[0] if below else None)


def test_what_is_over_takes_no_more_room_than_what_is_open() -> None:
    opened = OpenPasses()
    for number in range(10_000):
        opened.add(number)
        if number >= 10:
            opened.remove(number - (number * 7) % 10)
        if number % 100 == 0:
            opened.before(number)
    opened.before(10_000)
    assert len(opened._started) <= 2 * len(opened) + 200


@given(batches=st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1), max_size=5))
def test_what_is_over_is_in_order_of_its_end_whether_it_came_so_or_not(batches: list[list[tuple[int, int]]]) -> None:
    series = Series.of(("pick", "n1"))
    for batch in batches:
        spans = sorted((end, end - length) for end, length in batch)
        series.ended_in_order([start for _, start in spans], [end for end, _ in spans])
    every = [(end, end - length) for batch in batches for end, length in batch]
    assert list(series.over_us) == sorted(end for end, _ in every)
    assert sorted(zip(series.over_us, series.over_start_us, strict=True)) == sorted(every)


@settings(deadline=None, max_examples=400)
@given(
    retention=st.integers(0, 12),
    abandon=st.integers(0, 40),
    moves=st.lists(st.tuples(st.integers(0, 25), st.booleans(), st.integers(-5, 30)), min_size=1, max_size=12),
)
def test_when_a_case_is_let_go_is_what_asking_it_one_by_one_comes_to(
    retention: int, abandon: int, moves: list[tuple[int, bool, int]]
) -> None:
    kind = CaseKind(CaseRule(retention=Duration(retention), abandon_after=Duration(abandon)), 1)
    case = kind.begin("c", 0)
    asked, now = retention, 0
    for gap, is_open, ahead in [*moves, (1_000, False, 0)]:
        over = case.last_arrival_us + retention
        for record in case.passes.values():
            if record.is_open:
                over = max(over, max(case.last_arrival_us, record.deadline_us or 0) + abandon)
        now += gap
        while asked < now and over > asked:
            asked = min(over, asked + max(retention, 1))
        dropped_at = kind.outlook(case)[2]
        assert (dropped_at < now) == (asked < now)
        if asked < now:
            assert dropped_at == asked
            return
        kind.pass_asked(case, now)
        assert case.expiry_us == asked
        kind.arrived("c", case, now)
        case.passes[0] = PassRecord(now, None if is_open else now, 0, 0, 0, 0, now + ahead, now)
    raise AssertionError("never let go of")
