"""The pace of stock feeds: pauses as timed scripts, and the whole rule against a plain one over all that was heard."""

from collections.abc import Callable, Sequence

import hypothesis.strategies as st
import msgspec
import numpy as np
from hypothesis import example, given, settings

from operators.detectors.events import CELL_US, Collected
from operators.detectors.integration_feeds import RESUMES, STOPS, Feed, Feeds, FeedSettings, StoppedFeeds
from operators.detectors.integration_minute import WORK, Minute
from schemas.durations import HOUR_US, MINUTE_US
from tests.capture_and_integration import Log, Parts, opened, run, same_in_pieces, times
from tests.scripts import at

HOUR = HOUR_US // MINUTE_US


def parts() -> Parts:
    return lambda: ([], [StoppedFeeds()])


def stock(log: Log, begin: str, end: str, source: str, every_s: float, node: str = "n1") -> None:
    for time in times(begin, end, every_s):
        log.add(time, "inventory.level", sku="k", node=node, on_hand=1, source=source, system=source[:3])


def dispatches(log: Log, begin: str, end: str, every_s: float) -> None:
    for time in times(begin, end, every_s):
        fields = {"shipment_id": f"s-{time}", "order_id": f"o-{time}", "node": "n1"}
        log.add(time, "shipment.dispatched", **fields, source="wms-1", system="wms")


def test_a_feed_is_missed_after_three_of_its_pauses_though_others_speak_no_more_often_than_it_did() -> None:
    log = Log()
    stock(log, "00:00", "06:00", "oms-1", 900)
    stock(log, "00:02", "06:00", "erp-1", 900)
    stock(log, "00:07", "04:00", "wms-1", 900)
    stock(log, "00:00", "06:00", "wms-2", 60, node="n2")  # the retailer is awake
    assert opened(same_in_pieces(parts(), log.in_order(), "06:00")) == [
        "04:36 feed_stopped node=n1 source=wms-1"  # heard at 03:52, its pauses are of 14 minutes
    ]


def test_the_last_lorries_of_the_day_do_not_show_that_a_feed_is_silent() -> None:
    log = Log()
    stock(log, "15:00", "23:00", "wms-2", 60, node="n2")
    stock(log, "15:00", "21:00", "erp-1", 60)
    stock(log, "15:00", "21:02", "wms-1", 60)
    dispatches(log, "15:30", "21:02", 1_800)
    dispatches(log, "21:05", "21:09", 60)
    for source, first in (("erp-1", "21:16"), ("wms-1", "21:07")):  # levels, every quarter of an hour
        stock(log, first, "23:00", source, 900)
    assert opened(same_in_pieces(parts(), log.in_order(), "23:00")) == []


def test_one_feed_that_goes_on_when_all_is_closed_does_not_show_that_the_others_are_silent() -> None:
    log = Log()
    stock(log, "00:00", "3d 20:00", "wms-2", 60, node="n2")
    stock(log, "00:00", "3d 20:00", "erp-1", 3_600)
    for day in ("0d", "1d", "3d"):  # every night, and on a whole day
        for source in ("wms-1", "pos-1"):
            stock(log, f"{day} 08:00", f"{day} 20:00", source, 90)
    assert run(parts(), log.in_order(), "3d 20:00") == []


def test_an_export_before_opening_shows_nothing_once_the_hours_of_a_feed_are_known() -> None:
    log = Log()
    for day in ("0d", "1d", "2d"):
        stock(log, f"{day} 05:00", f"{day} 06:00", "erp-1", 60)
        for source in ("erp-1", "wms-1", "pos-1"):
            stock(log, f"{day} 08:00", f"{day} 20:00", source, 60)
    told = opened(run(parts(), log.in_order(), "2d 20:00"))
    assert [line for line in told if line.startswith("2d")] == []


def test_a_feed_that_does_not_come_back_in_the_morning_is_found_in_the_hours_in_which_it_spoke() -> None:
    log = Log()
    for source, days in (("erp-1", 3), ("pos-1", 3), ("wms-1", 2)):
        for day in range(days):
            stock(log, f"{day}d 08:00", f"{day}d 20:00", source, 60)
    assert opened(run(parts(), log.in_order(), "2d 12:00")) == ["2d 08:11 feed_stopped node=n1 source=wms-1"]


# --- against a plain rule -------------------------------------------------------------------------------------------

#: Who is heard at a node.
SOURCES = (WORK, "erp-1", "oms-1", "wms-1")
RULE = FeedSettings()
FIRST = at("12:00") // CELL_US
Told = tuple[int, str, str]


def plainly(heard: dict[str, np.ndarray]) -> list[Told]:
    """What is to be told, from all that was heard."""
    out: list[Told] = []
    for source in SOURCES[1:]:
        others = np.any([heard[other] for other in SOURCES if other != source], axis=0)
        spoke = np.flatnonzero(heard[source]).tolist()
        ends = [*spoke[1:], len(others)][: len(spoke)]
        hours = {(FIRST + minute) // HOUR for minute in spoke}
        counted = [
            [minute for minute in range(last + 1, end) if _counts(minute, last, hours, FIRST + spoke[0], others)]
            for last, end in zip(spoke, ends, strict=True)
        ]
        seen = [int(others[pause].sum()) for pause in counted]
        for index, (last, end) in enumerate(zip(spoke, ends, strict=True)):
            if end - last <= 10:
                continue
            is_long = _judge(spoke[: index + 1], seen[:index], others)
            for number, minute in enumerate(counted[index], 1):
                if is_long(minute - last, number, int(others[counted[index][:number]].sum())):
                    out.append((FIRST + minute, STOPS, source))
                    out += [(FIRST + end, RESUMES, source)] if end < len(others) else []
                    break
    return sorted(out)


def _counts(minute: int, last: int, spoke: set[int], first: int, others: np.ndarray) -> bool:
    """Whether others speak, and the feed is due: heard within the hour, or in this hour of its last day before.

    `spoke` are the hours in which it did, since the minute `first`: an hour that was over by then says nothing.
    """
    if not others[max(0, minute - 5) : minute + 1].any():
        return False
    day, hour = divmod((FIRST + minute) // HOUR, 24)
    before = [one // 24 for one in spoke if one // 24 < day and (one // 24 * 24 + hour + 1) * HOUR > first]
    return minute - last < HOUR or not before or max(before) * 24 + hour in spoke


def _judge(spoke: list[int], witnesses: list[int], others: np.ndarray) -> Callable[[int, int, int], bool]:
    """Whether a pause is too long, by what is known when it begins: (by the clock, counted, others heard in it)."""
    gaps = np.diff(spoke)
    fades = 0.5 ** (np.minimum(gaps, 2 * HOUR) / 30)
    still = np.append(np.cumprod(fades[::-1])[::-1][1:], 1.0)[: len(gaps)]  # of what each time added
    presence = float(((1 - 0.5 ** (1 / 30)) * still).sum())
    shares = (np.array(witnesses) + others[spoke[1:]]) / gaps
    usual = float(((1 - fades) * shares * still).sum())
    pauses = [0 if gap - 1 > 2 * HOUR else int(gap) - 1 for gap in gaps]
    hours = [(FIRST + one) // HOUR for one in spoke[1:]]
    recent = sorted(set(hours))[-4:]
    longest = max((pause for pause, hour in zip(pauses, hours, strict=True) if hour in recent), default=0)
    learnt = [(one, seen) for one, pause, seen in zip(spoke[1:], pauses, witnesses, strict=True) if pause]
    most = max((seen * 0.5 ** ((learnt[-1][0] - one) / (72 * HOUR)) for one, seen in learnt), default=0.0)
    is_known = len(gaps) >= 8 and spoke[-1] - spoke[0] >= 3 * HOUR

    def is_long(by_clock: int, counted: int, seen: int) -> bool:
        least_us = RULE.least if seen * presence >= 8 else RULE.sure
        enough = seen >= max(4, 2 * most) and seen >= usual * counted / 2
        return is_known and enough and counted * MINUTE_US > least_us and by_clock > RULE.times * longest

    return is_long


#: A feed is heard every so many minutes, for three hours each; 0: never.
paces = st.lists(st.sampled_from((0, 1, 1, 2, 4, 15, 60)), min_size=10, max_size=10)


def test_a_minute_that_is_judged_again_says_nothing_of_pauses() -> None:
    feeds, out = Feeds(RULE), Collected()
    for number in (1, 2, 2, 1, 3):
        feeds.minute(Minute(FIRST + number, {}, {}, {"n1": {"wms-1"}}, False), out)
    once = Feeds(RULE)
    for number in (1, 2, 3):
        once.minute(Minute(FIRST + number, {}, {}, {"n1": {"wms-1"}}, False), out)
    assert feeds.nodes == once.nodes


def minutes_of(spells: Sequence[int], offset: int) -> np.ndarray:
    """In which minutes a feed of these paces is heard."""
    return np.array([bool(pace) and (minute + offset) % pace == 0 for pace in spells for minute in range(3 * HOUR)])


@given(st.tuples(paces, paces, paces, paces), st.tuples(*[st.integers(0, 59)] * 4), st.integers(1, 1_799))
@example(([1] * 10, [1] * 10, [15] * 10, [4] * 3 + [0] + [4] * 6), (0, 1, 2, 3), 500)
@example(([0] * 10, [15] * 10, [15] * 10, [15] * 3 + [0] * 7), (0, 1, 1, 3), 600)
@settings(max_examples=60, deadline=None)
def test_what_is_told_of_feeds_equals_a_plain_rule_over_all_that_was_heard_wherever_it_is_resumed(
    spells: tuple[list[int], ...], offsets: tuple[int, ...], killed: int
) -> None:
    heard = dict(zip(SOURCES, map(minutes_of, spells, offsets), strict=True))
    feeds, out = Feeds(RULE), Collected()
    for number in range(30 * HOUR):
        if number == killed:
            kept, feeds = msgspec.msgpack.encode(feeds.nodes), Feeds(RULE)
            feeds.nodes = msgspec.msgpack.decode(kept, type=dict[str, dict[str, Feed]])
        now = {source for source in SOURCES if heard[source][number]}
        feeds.minute(Minute(FIRST + number, {}, {}, {"n1": now} if now else {}, False), out)
    told = [(tally.arrival_us // CELL_US, tally.metric, tally.event_id) for tally in out.tallies]
    assert sorted(told) == plainly(heard)
