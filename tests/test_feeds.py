"""Stock feeds that stop while others go on, as timed scripts."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from operators.feed_state import FeedState
from operators.feeds import FeedBeats, FeedWatch
from schemas.durations import HOUR_US, MINUTE_US
from schemas.errors import StateError
from schemas.events import Arrived
from tests.scripts import Script, at, found

STALE_US = 40 * MINUTE_US  # cells of five minutes


class Feeds:
    """Beats of one key group, watched; as a script's operator."""

    def __init__(self) -> None:
        self.beats = FeedBeats(STALE_US)
        self.watch = FeedWatch(STALE_US)
        self.thinned = 0

    def update(self, events: Sequence[Arrived], /) -> Sequence[Any]:
        beats = self.beats.update(events)
        self.thinned += len(beats)
        self.watch.update(beats)
        return self.watch.advance(events[-1].arrival_us + 1)

    def advance(self, watermark: int, /) -> Sequence[Any]:
        return self.watch.advance(watermark)


def run(*spells: tuple[str, str, str], step: int = 5, node: str = "n1") -> tuple[list[str], Feeds]:
    """Each feed is heard every `step` minutes from its first time to its last; all that is found."""
    feeds = Feeds()
    play = Script(feeds)
    heard = sorted(
        (instant, source)
        for source, first, last in spells
        for instant in range(at(first), at(last) + 1, step * MINUTE_US)
    )
    out: list[str] = []
    for instant, source in heard:
        minutes = (instant - at("00:00")) // MINUTE_US
        time = f"{minutes // 1_440}d {minutes % 1_440 // 60:02}:{minutes % 60:02}"
        fields = {"sku": "k", "node": node, "on_hand": 1, "source": source, "system": source[:3]}
        out += [f"{time[3:]} {line}" for line in found(play.send(time, "inventory.level", **fields))]
    return out, feeds


def test_a_feed_that_stops_while_another_goes_on_is_found_and_closed_when_it_is_heard_again() -> None:
    lines, _ = run(("wms-1", "10:00", "14:00"), ("erp-1", "10:00", "11:00"), ("erp-1", "13:00", "14:00"))
    about = "feed_stopped node=n1 source=erp-1 since 11:05"
    assert lines == [f"11:45 {about}", f"13:00 {about} until 13:00"]


def test_a_silence_shorter_than_stale_after_is_no_finding() -> None:
    lines, _ = run(("wms-1", "10:00", "14:00"), ("erp-1", "10:00", "11:00"), ("erp-1", "11:40", "14:00"))
    assert lines == []


def test_a_quiet_night_is_no_finding() -> None:
    lines, _ = run(
        ("wms-1", "10:00", "20:00"),
        ("erp-1", "10:00", "20:00"),
        ("wms-1", "1d 06:00", "1d 08:00"),
        ("erp-1", "1d 06:05", "1d 08:00"),
    )
    assert lines == []


def test_a_feed_that_does_not_come_back_from_the_night_is_found_once_the_other_has_gone_on_long_enough() -> None:
    lines, _ = run(("wms-1", "10:00", "20:00"), ("erp-1", "10:00", "20:00"), ("wms-1", "1d 06:00", "1d 08:00"))
    assert lines == ["06:40 feed_stopped node=n1 source=erp-1 since 20:05"]


def test_a_witness_with_gaps_of_its_own_says_nothing() -> None:
    lines, _ = run(("wms-1", "10:00", "16:00"), ("erp-1", "10:00", "11:00"), step=30)
    assert lines == []  # silent for more than half of stale_after each time


def test_a_node_with_one_feed_cannot_be_judged() -> None:
    assert run(("wms-1", "10:00", "11:00"), ("wms-1", "15:00", "16:00"))[0] == []
    feeds = Feeds()
    play = Script(feeds)
    for minutes in range(0, 300, 5):
        node, source = ("n1", "wms-1") if minutes > 60 else ("n2", "erp-1")
        time = f"{10 + minutes // 60}:{minutes % 60:02}"
        fields = {"sku": "k", "node": node, "on_hand": 1, "source": source}
        assert found(play.send(time, "inventory.level", **fields)) == []  # the other feed is of another node


def test_a_feed_says_only_once_a_cell_that_it_is_alive() -> None:
    _, feeds = run(("wms-1", "10:00", "10:59"), step=1)
    assert feeds.thinned == 12
    assert len(feeds.beats.snapshot()) == 1


def test_it_does_not_matter_how_items_are_spread_over_key_groups() -> None:
    play = Script(Feeds())
    events = []
    for minute in range(0, 240, 2):
        for source, last in (("wms-1", 240), ("erp-1", 70)):
            if minute <= last:
                time = f"{10 + minute // 60}:{minute % 60:02}"
                fields = {"sku": f"k{minute % 7}", "node": "n1", "on_hand": 1, "source": source}
                events.append(play.arrived(time, "inventory.level", **fields))
    whole = FeedWatch(STALE_US)
    whole.update(FeedBeats(STALE_US).update(events))
    parts = FeedWatch(STALE_US)
    for group in range(3):
        mine = [one for one in events if int(one.event.sku[1:]) % 3 == group]  # type: ignore[union-attr] # levels only
        parts.update(FeedBeats(STALE_US).update(mine))
    signals = whole.advance(at("15:00"))
    assert [one.kind for one in signals] == ["feed_stopped"]
    assert parts.advance(at("15:00")) == signals


def test_a_snapshot_goes_on_where_it_was_taken() -> None:
    play = Script(Feeds())
    one, other = FeedWatch(STALE_US), FeedWatch(STALE_US)
    for watch in (one, other):
        watch.update(FeedBeats(STALE_US).update([play.arrived("10:00", "inventory.level", **_level("erp-1"))]))
    for minute in range(0, 120, 5):
        time = f"{10 + minute // 60}:{minute % 60:02}"
        beats = FeedBeats(STALE_US).update([play.arrived(time, "inventory.level", **_level("wms-1"))])
        again = FeedWatch(STALE_US)
        again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(other.snapshot()), type=FeedState))
        other = again
        one.update(beats)
        other.update(beats)
        if minute % 15 == 0:
            assert other.advance(at(time)) == one.advance(at(time))
    signals = one.advance(at("13:00"))
    assert other.advance(at("13:00")) == signals
    assert HOUR_US > STALE_US


def _level(source: str) -> dict[str, object]:
    return {"sku": "k", "node": "n1", "on_hand": 1, "source": source}


def test_state_of_another_version_is_refused_in_words() -> None:
    with pytest.raises(StateError, match="feed state of version 99; this code reads"):
        FeedWatch(STALE_US).restore(FeedState(99, [], {}))
