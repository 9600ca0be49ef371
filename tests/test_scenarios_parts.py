"""The simulator's parts by themselves: the queue against an oracle, the agenda, the settings."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.agenda import Agenda
from scenarios.breakdowns.registry import KINDS
from scenarios.local_time import LocalTime
from scenarios.middleware import MiddlewareQueue
from scenarios.settings import BreakdownSpec, SimulationSettings, read_settings
from scenarios.simulate import simulate
from scenarios.truth import clean_periods
from schemas.durations import HOUR_US, SECOND_US, Duration, Instant, rfc3339
from schemas.errors import SettingsError


def _served_by_steps(put_us: list[int], rates: list[tuple[int, int, float]], usual: float) -> list[float]:
    """Departures by walking through time, one millisecond at a time: an oracle with nothing clever in it."""
    out: list[float] = []
    now, step = 0.0, 1_000
    for put in put_us:
        now, left = max(now, float(put)), 1.0
        while left > 0:
            rate = next((rate for begin, end, rate in rates if begin <= now < end), usual)
            done = rate * step / SECOND_US
            now += step if done <= left else step * left / done
            left -= done
        out.append(now)
    return out


@given(
    gaps=st.lists(st.integers(0, 400_000), min_size=1, max_size=25),
    begin=st.integers(0, 2_000_000),
    length=st.integers(1, 3_000_000),
    slow=st.floats(0.5, 20),
)
def test_a_queue_serves_as_a_server_that_is_walked_through_time(
    gaps: list[int], begin: int, length: int, slow: float
) -> None:
    queue = MiddlewareQueue("q", 10.0)
    queue.slow_down(begin, begin + length, slow)
    at, put = 0, []
    for gap in gaps:
        at += gap
        put.append(at)
    left = [queue.put(instant) for instant in put]
    expected = _served_by_steps(put, [(begin, begin + length, slow)], 10.0)
    assert left == sorted(left)
    # The oracle sees a change of rate up to a step late; an error carries over to those that wait behind.
    for got, wanted in zip(left, expected, strict=True):
        assert abs(got - wanted) <= 1_000 * max(20 / 0.5, 10 / 0.5)


def test_depth_counts_who_waits_and_how_long() -> None:
    queue = MiddlewareQueue("q", 1.0)
    for _ in range(3):
        queue.put(0)
    assert queue.depth(500_000) == (3, 0.5)
    assert queue.depth(2 * SECOND_US) == (1, 2.0)
    assert queue.depth(3 * SECOND_US) == (0, 0.0)


def test_the_agenda_keeps_to_time_and_to_the_order_of_booking() -> None:
    agenda, seen = Agenda(0), list[tuple[int, str]]()

    def note(what: str) -> None:
        seen.append((agenda.now, what))

    agenda.at(20, note, "late")
    agenda.at(10, note, "first")
    agenda.at(10, lambda: agenda.at(5, note, "already past"))
    agenda.at(10, note, "second")
    agenda.at(30, note, "not yet")
    agenda.run_until(30)
    assert seen == [(10, "first"), (10, "second"), (10, "already past"), (20, "late")]
    assert agenda.now == 30


def test_clean_periods_are_the_long_gaps() -> None:
    hour = HOUR_US
    broken = [(5 * hour, 7 * hour), (2 * hour, 4 * hour + hour // 2), (6 * hour, 8 * hour)]
    periods = clean_periods(0, 12 * hour, broken, "EUR")
    spans = [(record.begin[11:16], record.end[11:16], record.kind) for record in periods]
    assert spans == [("00:00", "02:00", "none"), ("08:00", "12:00", "none")]


def test_settings_are_read_from_toml_with_their_breakdowns() -> None:
    text = """
    seed = 3
    start = "2026-03-03"
    duration = "6h"
    [[breakdowns]]
    kind = "feed_stopped"
    begin = "1h"
    end = "2h"
    parameters = { node = "store-003", lost = true }
    """
    settings = read_settings(text, "day.toml")
    assert (settings.seed, settings.start, settings.duration) == (3, Instant.parse("2026-03-03"), 6 * HOUR_US)
    assert settings.breakdowns[0].parameters == {"node": "store-003", "lost": True}


def test_every_problem_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings('stores = 0\ncurrency = "euro"\n', "day.toml")
    assert [problem.key for problem in caught.value.problems] == ["stores", "currency"]
    settings = SimulationSettings(
        orders_per_day=0,
        breakdowns=(
            BreakdownSpec(kind="flood"),
            BreakdownSpec(kind="refund_lag", begin=Duration(HOUR_US), end=Duration(HOUR_US)),
            BreakdownSpec(kind="feed_stopped", parameters={"nodes": "store-001"}),
        ),
    )
    with pytest.raises(SettingsError) as caught:
        simulate(settings, tmp_path / "out")
    text = str(caught.value)
    assert all(kind in text for kind in KINDS)
    assert [problem.key.split(".")[0] for problem in caught.value.problems] == [
        "orders_per_day",
        "breakdowns[0]",
        "breakdowns[1]",
        "breakdowns[2]",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ([BreakdownSpec(kind="feed_stopped", parameters={"node": "store-999"})], "store-001 to dc-01"),
        ([BreakdownSpec(kind="queue_saturation"), BreakdownSpec(kind="queue_saturation")], "must not begin"),
        (
            [
                BreakdownSpec(kind="feed_stopped"),
                BreakdownSpec(kind="feed_stopped", parameters={"node": "store-002"}),
            ],
            "both are feed_stopped at store-002",
        ),
    ],
)
def test_what_only_the_retailer_can_refuse(tmp_path: Path, specs: list[BreakdownSpec], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        simulate(SimulationSettings(breakdowns=tuple(specs)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_registry_names_each_kind_by_its_own_name() -> None:
    assert all(name == kind.kind for name, kind in KINDS.items())
    assert Counter(kind.kind for kind in KINDS.values()).most_common(1)[0][1] == 1


def test_the_day_begins_an_hour_earlier_or_later_once_the_clocks_are_changed() -> None:
    def clock(local: LocalTime, text: str) -> tuple[str, float]:
        begin, since = local.day(Instant.parse(f"2026-03-{text}:00Z"))
        return rfc3339(begin)[8:16], since / HOUR_US

    utc, spring, autumn = LocalTime(), LocalTime(), LocalTime()
    spring.change(Instant.parse("2026-03-29T01:00:00Z"), HOUR_US)
    autumn.change(Instant.parse("2026-03-29T01:00:00Z"), -HOUR_US)
    assert clock(utc, "29T07:00") == ("29T00:00", 7)
    assert clock(spring, "28T23:30") == ("28T00:00", 23.5)
    assert clock(spring, "29T00:30") == ("28T23:00", 1.5)
    assert clock(spring, "29T07:00") == ("28T23:00", 8)
    assert clock(spring, "29T23:30") == ("29T23:00", 0.5)
    assert clock(autumn, "28T23:30") == ("28T00:00", 23.5)
    assert clock(autumn, "29T09:00") == ("29T01:00", 8)
    assert clock(autumn, "30T00:30") == ("29T01:00", 23.5)
    saturday = Instant.parse("2026-03-28")
    assert [rfc3339(spring.after(saturday, days))[8:13] for days in (0, 1, 2)] == ["28T00", "28T23", "29T23"]
    assert [rfc3339(autumn.after(saturday, days))[8:13] for days in (0, 1, 2)] == ["28T00", "29T01", "30T01"]
