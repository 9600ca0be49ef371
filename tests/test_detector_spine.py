"""Where detectors live: order of events, timers and findings; cells by scope; rates; thresholds by scope."""

import random
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.process_maps import load_process_map
from operators.dealing import wanted_metrics
from operators.detectors.catalogue import (
    case_detectors,
    interface_detectors,
    item_detectors,
    read_metrics,
    scope_detectors,
)
from operators.detectors.events import CELL_US, Collected, EventDetector, EventDetectors, Handler
from operators.detectors.policy import ByScope, Override, Policy, find_problems, paths_of
from operators.detectors.rates import RateRule, RateState, RateWatch, Seen, surprise_of_number, surprise_of_share
from operators.detectors.records import Impact, Scoped, ScopeFinding, Tally, scoped
from operators.detectors.scopes import MOST_MEMBERS, ScopeDetectors
from operators.detectors.settings import DetectorSettings
from schemas.durations import HOUR_US, MINUTE_US, Duration
from schemas.errors import StateError
from schemas.events import Arrived, EventBase, OrderCreated
from schemas.rows import Signal
from tests.harness import settings
from tests.logs import START_US
from tests.tallies import all_tallies

WEB = scoped(channel="web")
RULE = RateRule(window=Duration(10 * MINUTE_US), least=4, share=0.2, score=3, quiet=Duration(5 * MINUTE_US))


def words(seen: Seen) -> tuple[str, str, str]:
    return f"at most {seen.usual:.0%}", f"{seen.bad:g} of {seen.total:g}", f"{seen.where}: {seen.cases} orders."


def watch(rule: RateRule = RULE, *, counts: bool = False, overrides: list[Override] | None = None) -> RateWatch:
    policy = Policy(rule, overrides or [], {"air": ["s1*"]}, "capture.incomplete")
    return RateWatch("capture", "incomplete_orders", "incomplete", policy, words, counts=counts)


def tallies(minute: float, bad: int, good: int, scope: Scoped = WEB, first: int = 0) -> list[Tally]:
    at = START_US + round(minute * MINUTE_US)
    found = [
        Tally("incomplete", scope, at + n, at, 1.0, 1.0, f"e{first + n}", Impact(f"o{minute:g}-{first + n}", value=2.5))
        for n in range(bad)
    ]
    return [*found, Tally("incomplete", scope, at, at, 0.0, float(good))] if good else found


def run(detector: RateWatch, days: list[list[Tally]], *, keep: bool = False, seed: int = 0) -> list[ScopeFinding]:
    host, out = ScopeDetectors([detector]), []
    shuffled = random.Random(seed)
    for minute, some in enumerate(days):
        host.update(shuffled.sample(some, len(some)))
        out += host.advance(START_US + (minute + 1) * MINUTE_US)
        if keep:
            state = msgspec.msgpack.encode(host.snapshot())
            host = ScopeDetectors([detector])
            host.restore(msgspec.msgpack.decode(state, type=type(ScopeDetectors([]).snapshot())))
    return out


def breakdown(quiet: int = 30) -> list[list[Tally]]:
    before = [tallies(minute, 0, 10) for minute in range(30)]
    broken = [tallies(30 + minute, 5, 5) for minute in range(5)]
    return before + broken + [tallies(35 + minute, 0, 10) for minute in range(quiet)]


def test_a_rate_opens_names_every_case_once_and_closes() -> None:
    found = run(watch(), breakdown())
    signals = [finding.signal for finding in found]
    assert {signal.signal_id for signal in signals} == {signals[0].signal_id}
    assert [signal.version for signal in signals] == sorted({signal.version for signal in signals})
    assert signals[0].found_at_us == START_US + 31 * MINUTE_US, "a minute after it began"
    assert signals[0].opened_at_us == START_US + 30 * MINUTE_US
    assert signals[0].scope == {"channel": "web"}
    assert signals[0].kind == "incomplete_orders"
    assert [signal.closed_at_us is None for signal in signals] == [True] * (len(signals) - 1) + [False]
    named = [impact.order_id for finding in found for impact in finding.impacts]
    assert len(named) == len(set(named)) == 25


@pytest.mark.parametrize(
    "days",
    [
        [tallies(minute, 0, 10) for minute in range(60)],
        [tallies(minute, 3 if minute == 30 else 0, 10) for minute in range(60)],  # too few
        [tallies(minute, 5 if minute == 30 else 0, 60) for minute in range(60)],  # too small a share
        [tallies(minute, 3, 10) for minute in range(300)][100:],  # always like that, as the memory knows
    ],
    ids=["clean", "few", "small share", "usual"],
)
def test_a_rate_is_quiet_about_what_is_usual(days: list[list[Tally]]) -> None:
    rule = msgspec.structs.replace(RULE, usual=0.25)
    assert run(watch(rule), days) == []


def test_cells_do_not_depend_on_the_order_of_tallies_nor_on_restarts() -> None:
    plain = run(watch(), breakdown())
    assert run(watch(), breakdown(), seed=5) == plain
    assert run(watch(), breakdown(), keep=True) == plain
    assert plain


@given(st.lists(st.integers(1, 600), min_size=1, max_size=12))
def test_what_is_found_does_not_depend_on_how_far_time_comes_at_once(steps: list[int]) -> None:
    days = breakdown()
    plain = run(watch(), days)
    host, out, now, given_ = ScopeDetectors([watch()]), [], 0, 0
    for step in [*steps, 70 * 60]:
        now = min(now + step, len(days) * 60)
        while given_ < len(days) and given_ * 60 < now:  # all that arrived before `now`
            host.update(days[given_])
            given_ += 1
        out += host.advance(START_US + now * 1_000_000)
    assert out == plain


def test_counts_without_a_total_are_held_against_the_usual_number() -> None:
    rule = RateRule(window=Duration(10 * MINUTE_US), least=4, score=4, usual=0.1, quiet=Duration(5 * MINUTE_US))
    days = [tallies(minute, 1 if minute % 10 == 0 else 0, 0) for minute in range(120)]
    assert run(watch(rule, counts=True), days) == []
    burst = [*days, *([tallies(120 + n, 4, 0) for n in range(4)]), *([[]] * 30)]
    opened = run(watch(rule, counts=True), burst)
    assert opened[0].signal.found_at_us <= START_US + 123 * MINUTE_US
    assert opened[-1].signal.closed_at_us is not None, "it closes without anything coming"


def test_what_is_counted_at_once_is_as_what_is_counted_one_by_one() -> None:
    out = Collected()
    for minute in (0, 0, 1, 61):
        out.good("incomplete", WEB, START_US + minute * MINUTE_US, 2.0)
    out.good("incomplete", scoped(channel="pos"), START_US)
    out.bad("incomplete", WEB, START_US, START_US, "e1", impact=Impact("o1"))
    one_by_one, at_once = ScopeDetectors([watch()]), ScopeDetectors([watch()])
    one_by_one.update(all_tallies(out))
    at_once.update(out.told())
    at_once.count(out.counted())
    assert at_once.snapshot() == one_by_one.snapshot()
    assert at_once.sizes() == {"scopes": 2, "busy": 0, "cells": 3}
    assert sum(tally.total for tally in all_tallies(out)) == 10.0


def test_what_nobody_judges_is_not_told() -> None:
    out = Collected(frozenset({"incomplete"}))
    for metric in ("incomplete", "idle"):
        out.good(metric, WEB, START_US)
        out.bad(metric, WEB, START_US, START_US)
    assert [counted.metric for counted in out.counted()] == ["incomplete"]
    assert [tally.metric for tally in out.told()] == ["incomplete"]
    assert {tally.metric for tally in all_tallies(out)} == {"incomplete"}
    wanted = wanted_metrics(settings())
    assert {metric for detector in scope_detectors(DetectorSettings()) for metric in detector.METRICS} < wanted
    assert "cancelled" not in read_metrics(DetectorSettings())


class Thorough(RateWatch):
    """Looks at every window."""

    def is_clean(self, state: RateState, rule: RateRule, number: int) -> bool:
        del state, rule, number
        return False


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 0, 0, 1, 4]), st.integers(0, 9)), max_size=80),
    st.booleans(),
)
def test_a_window_without_bad_ones_needs_no_look(minutes: list[tuple[int, int, int]], counts: bool) -> None:
    policy = Policy(RULE, [], {}, "capture.incomplete")
    thorough = Thorough("capture", "incomplete_orders", "incomplete", policy, words, counts=counts)
    days: list[list[Tally]] = []
    for gap, bad, good in minutes:
        days += [[]] * gap
        days.append(tallies(len(days), bad, good))
    days += [[]] * 20
    assert run(watch(counts=counts), days) == run(thorough, days)


def test_a_rate_can_open_in_a_minute_in_which_all_is_well() -> None:
    counts = [(0, 60), (2, 0), (0, 0), (2, 0), (0, 1)]  # only now do four minutes leave out the many good ones
    found = run(watch(), [tallies(minute, *some) for minute, some in enumerate(counts)])
    assert [finding.signal.found_at_us for finding in found] == [START_US + 5 * MINUTE_US]


def test_scopes_that_nothing_comes_of_are_forgotten() -> None:
    host = ScopeDetectors([watch()])
    host.update(tallies(0, 1, 9))
    host.advance(START_US + HOUR_US)
    assert host.sizes()["scopes"] == 1
    for day in range(1, 17):
        host.update([*tallies(day * 24 * 60 + (-(START_US // CELL_US)) % 60, 0, 1, scoped(channel="pos"))])
        host.advance(START_US + day * 24 * HOUR_US + 2 * HOUR_US)
    assert host.sizes()["scopes"] == 1


def test_a_cell_keeps_so_many_members_and_counts_the_rest() -> None:
    found = run(watch(), [tallies(0, MOST_MEMBERS + 10, 0)])
    assert len(found[0].impacts) == MOST_MEMBERS
    assert found[0].signal.observed.startswith(f"{MOST_MEMBERS + 10} of")


def test_surprise_grows_and_is_zero_for_what_is_usual() -> None:
    assert surprise_of_share(2, 100, 0.02) == surprise_of_number(3, 3) == surprise_of_share(0, 0, 0.5) == 0
    shares = [surprise_of_share(bad, 100, 0.02) for bad in range(3, 101)]
    numbers = [surprise_of_number(count, 3) for count in range(4, 60)]
    assert shares == sorted(shares)
    assert numbers == sorted(numbers)
    assert numbers[-1] > 30, "it does not saturate"
    assert surprise_of_share(100, 100, 0.02) == pytest.approx(169.9, abs=0.1), "0.02 ** 100"


# --- thresholds ----------------------------------------------------------------------------------------------


def test_later_overrides_win_and_match_by_group_region_and_channel() -> None:
    overrides = [
        Override(channel="web", set={"capture.incomplete.least": 7, "capture.other.least": 1}),
        Override(node_group="air", set={"capture.incomplete.window": "1h"}),
        Override(region="north", set={"capture.incomplete.least": 9.5}),
    ]
    policy = Policy(RULE, overrides, {"air": ["s1*"]}, "capture.incomplete")
    assert policy.of(scoped(channel="pos")) is RULE
    assert policy.of(WEB).least == 7
    assert policy.of(WEB, "north").least == 9.5
    assert policy.of(scoped(node="s17")).window == HOUR_US
    assert policy.of(scoped(node="s2")) is RULE
    assert policy.of(WEB) is policy.of(WEB)


def test_every_mistake_in_overrides_is_told() -> None:
    overrides = [
        Override(set={"capture.incomplete.window": "1d"}),
        Override(node_group="ari", set={"capture.incomplete.window": "soon"}),
        Override(channel="web", set={"enabled": False, "order_retention": "1d", "capture.within": "1h"}),
        Override(channel="web", set={"capture.incomplete.leas": 1}),
        Override(channel="web", set={"detectors.capture.incomplete.least": 1}),
    ]
    problems = find_problems(DetectorSettings(), overrides, {"air": []}, "andon.toml")
    keys = [problem.key for problem in problems]
    assert keys == [
        "detectors.override[0]",
        "detectors.override[1].node_group",
        'detectors.override[1].set."capture.incomplete.window"',
        "detectors.override[2].set.enabled",
        "detectors.override[2].set.order_retention",
        'detectors.override[2].set."capture.within"',
        'detectors.override[3].set."capture.incomplete.leas"',
        'detectors.override[4].set."detectors.capture.incomplete.least"',
    ]
    assert [problem.expected for problem in problems[3:6]] == [
        "is the same everywhere, whatever the scope: set enabled under [detectors]",
        "is the same everywhere, whatever the scope: set order_retention under [detectors]",
        "is the same everywhere, whatever the scope: set within under [detectors.capture]",
    ]
    assert "did you mean 'capture.incomplete.least'" in problems[-2].expected
    assert problems[-1].expected == 'is named from within detectors: write "capture.incomplete.least"'


def test_overrides_can_change_what_detectors_ask_for_by_scope_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    policy = DetectorSettings.policy

    def noted(settings: DetectorSettings, path: str) -> Policy[ByScope]:
        asked.append(f"{path}.")
        return policy(settings, path)

    monkeypatch.setattr(DetectorSettings, "policy", noted)
    settings = DetectorSettings()
    case_detectors(settings, load_process_map("default"))
    item_detectors(settings)
    interface_detectors(settings)
    scope_detectors(settings)
    known = paths_of(DetectorSettings)
    records = {path for path in known if path.startswith(tuple(asked))}
    of_all = {"capture.within", "routing.elsewhere.window", "routing.elsewhere.memory"}
    assert {path for path, by_scope in known.items() if by_scope} == records - of_all
    with pytest.raises(TypeError, match=r"demand\.surge is a DemandRule"):
        policy(settings, "demand.surge")


def test_every_detector_has_a_name_of_its_own() -> None:
    """Its state is kept and given back by it, and its findings are: one that was copied would take another's."""
    process = load_process_map("default")
    chosen = DetectorSettings()
    firsts = case_detectors(chosen, process), item_detectors(chosen), interface_detectors(chosen)
    for group in (*firsts, scope_detectors(chosen)):
        names = [detector.NAME for detector in group]
        assert sorted(names) == sorted(set(names))


# --- the first part ------------------------------------------------------------------------------------------


class Watcher(EventDetector):
    """Says what it is called for, and sets a timer 10 s after each event."""

    NAME = "watcher"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        return {OrderCreated: self._created}

    def _created(self, arrived: Arrived, out: Collected) -> None:
        second = (arrived.arrival_us - START_US) // 1_000_000
        self.calls.append(f"event {second}")
        self.set_timer(arrived.arrival_us + 10_000_000, str(second))
        out.good("orders", WEB, arrived.arrival_us)

    def found(self, signal: Signal, out: Collected) -> None:
        del out
        self.calls.append(f"found {(signal.arrival_us - START_US) // 1_000_000}")

    def due(self, key: str, due_us: int, out: Collected) -> None:
        del out
        self.calls.append(f"due {key} at {(due_us - START_US) // 1_000_000}")

    def snapshot(self) -> bytes:
        return b"kept"

    def restore(self, state: bytes) -> None:
        assert state == b"kept"


def order(second: int) -> Arrived:
    at = START_US + second * 1_000_000
    event = msgspec.convert(
        {
            "event_id": f"e{second}",
            "source": "shop",
            "system": "ecom",
            "occurred_at": "2026-03-02T10:00:00Z",
            "order_id": f"o{second}",
            "lines": [],
            "type": "order.created",
        },
        OrderCreated,
    )
    return Arrived(at, "orders", 0, second, at, event)


def said(second: int) -> Signal:
    at = START_US + second * 1_000_000
    return Signal("s", "d", "overdue", "", {}, "", at, at, None, "low", 0, 1, "", "", "rule", "", [], at, 1)


EVENTS, SAID = [order(second) for second in (0, 5, 12, 12, 30)], [said(second) for second in (12, 11, 40)]
ORDER = [
    *("event 0", "event 5", "due 0 at 10", "found 11", "found 12", "event 12", "event 12", "due 5 at 15"),
    *("due 12 at 22", "due 12 at 22", "event 30", "due 30 at 40", "found 40"),
]


@given(st.sets(st.sampled_from([3, 11, 13, 20, 31, 39]), max_size=6), st.booleans())
def test_events_timers_and_findings_come_in_one_order_however_the_log_is_cut(cuts: set[int], keep: bool) -> None:
    watcher = Watcher()
    host, begin = EventDetectors([watcher]), -1
    for end in [*sorted(cuts), 60]:
        upto = START_US + end * 1_000_000
        since = START_US + begin * 1_000_000
        events = [one for one in EVENTS if since <= one.arrival_us < upto]
        host.update(events, [one for one in SAID if since <= one.arrival_us < upto], upto)
        begin = end
        if keep:
            state, calls = host.snapshot(), watcher.calls
            watcher = Watcher()
            watcher.calls = calls
            host = EventDetectors([watcher])
            host.restore(state)
    assert watcher.calls == ORDER


def test_good_ones_are_added_up_by_the_minute() -> None:
    found = EventDetectors([Watcher()]).update([order(0), order(59), order(61)], [], START_US + HOUR_US)
    begin = START_US // CELL_US * CELL_US
    counted = sorted((tally.arrival_us - begin, tally.total, tally.bad) for tally in all_tallies(found))
    assert sum(total for _, total, _ in counted) == 3
    assert {bad for _, _, bad in counted} == {0.0}
    assert len(counted) == 2


def test_states_of_another_version_are_refused() -> None:
    host = EventDetectors([])
    with pytest.raises(StateError, match="version 9"):
        host.restore(msgspec.structs.replace(host.snapshot(), version=9))
    scopes = ScopeDetectors([])
    for version in (2, 9):  # 2: tags stood where cases do
        with pytest.raises(StateError, match=f"version {version}"):
            scopes.restore(msgspec.structs.replace(scopes.snapshot(), version=version))
