"""How ready promotions are: the rows equal a plain computation over the log, and asking changes no finding."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflows.process_maps import load_process_map
from operators.detectors import demand as demand_module
from operators.detectors.cover import SkuWatch
from operators.detectors.cover_state import CoverRule
from operators.detectors.demand import Demand, DemandRule
from operators.detectors.events import EventDetectors
from operators.detectors.inventory_settings import DemandSettings
from operators.detectors.readiness import ItemReady, PromotionAsked
from operators.detectors.records import ScopeFinding
from operators.detectors.settings import DetectorSettings
from operators.group_state import IncidentGroupState
from operators.incident_group import IncidentGroup
from operators.promotions import Promotions, PromotionsState, readiness, words
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, people_time, rfc3339
from schemas.errors import StateError
from schemas.rows import PromotionReadiness, Row, Signal
from tests.harness import START_US, PurePipeline, encoded, final
from tests.harness import settings as pipeline_settings
from tests.test_detector_inventory import Log, a_day, promote, refuse, run_on
from tests.test_detector_inventory import run as found_in

COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SKUS = ("a", "b", "c", "d")
NODES = ("n1", "n2")
#: Orders come in the first two hours, one more of each item here: what came before is usual then.
KNOWN_US = START_US + 4 * HOUR_US
END_US = START_US + 9 * HOUR_US + 20 * MINUTE_US


class Script(msgspec.Struct, frozen=True):
    """Orders by item (how many, units each), and what happens when, in minutes from the start of the log."""

    orders: dict[str, tuple[int, int]]
    levels: list[tuple[int, str, str, int]]
    bought: list[tuple[int, str, int, int]]
    promotions: list[tuple[int, str, str, list[str]]]
    lasts_us: int = 7 * DAY_US
    horizon_us: int = DAY_US


def scripts() -> st.SearchStrategy[Script]:
    skus = st.sampled_from(SKUS)
    minutes = st.integers(0, 540)
    told = st.tuples(st.integers(241, 540), st.sampled_from(["started", "started", "ended"]), st.sampled_from("pq"))
    return st.builds(
        Script,
        orders=st.fixed_dictionaries({sku: st.tuples(st.integers(0, 6), st.integers(1, 3)) for sku in SKUS}),
        levels=st.lists(st.tuples(minutes, skus, st.sampled_from(NODES), st.integers(0, 90)), max_size=12),
        bought=st.lists(st.tuples(minutes, skus, st.integers(0, 1_800), st.integers(1, 60)), max_size=4),
        promotions=st.lists(
            st.builds(lambda one, named: (*one, named), told, st.lists(skus, max_size=4)), min_size=1, max_size=5
        ),
        lasts_us=st.sampled_from([7 * DAY_US, 2 * HOUR_US]),
        horizon_us=st.sampled_from([DAY_US, 6 * HOUR_US]),
    )


def ordered_at(script: Script) -> list[tuple[int, str, int]]:
    """(arrival, item, units) of each order."""
    known = [sku for sku, (many, _) in script.orders.items() if many]
    early = [
        (START_US + (15 * number + place) * MINUTE_US, sku, script.orders[sku][1])
        for place, sku in enumerate(known)
        for number in range(script.orders[sku][0])
    ]
    return [*sorted(early), *((KNOWN_US + place * SECOND_US, sku, 1) for place, sku in enumerate(known))]


def promoted_at(script: Script) -> list[tuple[int, str, str, list[str]]]:
    """No two at once, none at a whole minute."""
    told = [(START_US + one[0] * MINUTE_US, *one[1:]) for one in script.promotions]
    return sorted((at_us + (1 + place) * SECOND_US, *more) for place, (at_us, *more) in enumerate(told))  # type: ignore[misc] # the same shape


def log_of(script: Script) -> dict[str, Sequence[bytes]]:
    topics: dict[str, list[tuple[int, dict[str, Any]]]] = {
        name: [] for name in ("orders", "inventory", "supply", "commerce")
    }
    for at_us, sku, units in ordered_at(script):
        lines = [{"line_id": "1", "sku": sku, "qty": units}]
        topics["orders"].append((at_us, {"type": "order.created", "order_id": f"o{at_us}", "lines": lines}))
    for minute, sku, node, on_hand in [*script.levels, (560, "z", "n1", 1)]:
        body = {"type": "inventory.level", "sku": sku, "node": node, "on_hand": on_hand}
        topics["inventory"].append((START_US + minute * MINUTE_US, body))
    for number, (minute, sku, ahead, qty) in enumerate(script.bought):
        due = rfc3339(START_US + (minute + ahead) * MINUTE_US)
        body = {"type": "po.created", "po_id": f"po{number}", "supplier": "s", "node": "n1", "expected_at": due}
        topics["supply"].append((START_US + minute * MINUTE_US, body | {"lines": [{"sku": sku, "qty": qty}]}))
    for at_us, what, name, skus in promoted_at(script):
        body = {"type": f"promotion.{what}", "promotion_id": name, "skus": skus, "channel": "shop"}
        topics["commerce"].append((at_us, body))
    system = {"orders": "ecom", "inventory": "wms", "supply": "erp", "commerce": "ecom"}
    return {
        topic: [
            msgspec.json.encode(
                {"event_id": f"{topic}-{place}", "version": 1, "source": topic, "system": system[topic]}
                | {"occurred_at": rfc3339(at_us)}
                | body
            )
            for place, (at_us, body) in enumerate(sorted(said, key=lambda one: one[0]))
        ]
        for topic, said in topics.items()
    }


#: Read once: it takes a tenth of the time that a script does.
DEFAULT_MAP = load_process_map("default")


def rules(script: Script) -> DetectorSettings:
    """Nothing surges, nothing fades, and three lines are enough to know."""
    surge = DemandRule(least=1_000_000, known=3.0, memory=Duration(10**9 * DAY_US), promoted=Duration(script.lasts_us))
    return DetectorSettings(demand=DemandSettings(surge=surge, cover=CoverRule(horizon=Duration(script.horizon_us))))


def rows_of(script: Script, *, lanes: int = 1, groups: int = 1, batch: int = 1_000, every: int = 0) -> list[Row]:
    """All rows; with `every`, everything is killed and resumed after so many steps."""
    pipeline = msgspec.structs.replace(
        pipeline_settings(lanes=lanes, groups=groups), process=DEFAULT_MAP, detectors=rules(script)
    )
    pure = PurePipeline(log_of(script), pipeline, batch)
    steps = 0
    while not pure.ended:
        for lane in pipeline.lanes:
            pure.step(lane)
            steps += 1
            if every and steps % every == 0:
                pure.keep_and_restore()
    return pure.rows


# --- the oracle -------------------------------------------------------------------------------------------------


def asked_of(script: Script) -> list[tuple[int, str, int, set[str]]]:
    """(when, promotion, its start, its items) of each time it was asked, by the words of the docs alone."""
    told, running, out = promoted_at(script), dict[str, tuple[int, set[str]]](), []
    moments = sorted([*told, *((START_US + hour * HOUR_US, "hour", "", []) for hour in range(1, 10))])
    for at_us, what, name, skus in moments:
        running = {one: kept for one, kept in running.items() if at_us < kept[0] + script.lasts_us}
        if what == "hour":
            out += [(at_us, one, start, set(named)) for one, (start, named) in running.items()]
        elif what == "started" and skus and name in running:
            running[name][1].update(skus)
        elif what == "started" and skus:
            running[name] = at_us, set(skus)
            out.append((at_us, name, at_us, set(skus)))
        elif what == "ended" and name in running:
            left = running[name][1] - set(skus) if skus else set[str]()
            running[name] = running[name][0], left
            if not left:
                del running[name]
    return out


def usual_day(script: Script, sku: str, at_us: int) -> float:
    lines = sum(many for many, _ in script.orders.values())
    if lines < 3:
        return 0.0
    many, units = script.orders[sku]
    came = [arrival for arrival, _, _ in ordered_at(script) if arrival <= at_us]
    by_hour = [arrival // HOUR_US for arrival in came]
    busiest = max(map(by_hour.count, by_hour))
    day = max(len(came) * DAY_US / max(at_us - came[0], HOUR_US), 12 * busiest)
    return round(many * units / lines * day, 3)


def item_of(script: Script, sku: str, at_us: int, end_us: int) -> tuple[float, float, float, float]:
    """Units expected, there, coming, and how many hours they last."""
    hourly = 3.0 * usual_day(script, sku, at_us) / 24
    expected = round(hourly * script.horizon_us / HOUR_US, 3)
    levels = sorted(script.levels, key=lambda one: one[0])
    shelves = {one[2]: one[3] for one in levels if one[1] == sku and START_US + one[0] * MINUTE_US < end_us}
    known = [one for one in script.bought if one[1] == sku and START_US + one[0] * MINUTE_US < end_us]
    dues = sorted((START_US + (minute + ahead) * MINUTE_US, qty) for minute, _, ahead, qty in known)
    coming = sum(qty for due, qty in dues if end_us < due <= end_us + script.horizon_us)
    lasting = float(sum(shelves.values()))
    for due, qty in dues:
        if hourly and end_us < due <= end_us + lasting / hourly * HOUR_US:
            lasting += qty
    return expected, sum(shelves.values()) + coming, coming, lasting / hourly if hourly else 0.0


def oracle(script: Script) -> list[tuple[object, ...]]:
    out = []
    for at_us, name, start_us, skus in asked_of(script):
        end_us = (at_us // MINUTE_US + 1) * MINUTE_US
        items = {sku: item_of(script, sku, at_us, end_us) for sku in sorted(skus)}
        expected = sum(item[0] for item in items.values())
        served = sum(min(item[0], item[1]) for item in items.values())
        worst = sorted(
            (sku for sku in items if items[sku][1] < items[sku][0]), key=lambda sku: items[sku][1] - items[sku][0]
        )
        out.append(
            (
                end_us,
                name,
                start_us,
                round(100 * served / expected, 1) if expected else None,
                len(items),
                sum(item[1] < 0.85 * item[0] for item in items.values()),
                sum(item[0] == 0 for item in items.values()),
                (expected, sum(item[1] for item in items.values()), sum(item[2] for item in items.values())),
                [(sku, items[sku][3], items[sku][0], items[sku][1]) for sku in worst],
            )
        )
    return sorted(out, key=lambda row: row[:2])


def said(rows: Sequence[Row]) -> list[PromotionReadiness]:
    return sorted(
        (row for row in rows if isinstance(row, PromotionReadiness)), key=lambda row: (row.arrival_us, row.promotion_id)
    )


def assert_equal(rows: list[PromotionReadiness], expected: list[tuple[object, ...]]) -> None:
    plain = [
        (row.arrival_us, row.promotion_id, row.started_at_us, row.score, row.skus, row.skus_short, row.skus_unknown)
        for row in rows
    ]
    assert plain == [one[:7] for one in expected]
    for row, one in zip(rows, expected, strict=True):
        assert (row.units_expected, row.units_there, row.units_coming) == pytest.approx(one[7], abs=0.01)
        worst = sorted(zip(row.worst_skus, row.worst_hours, row.worst_expected, row.worst_there, strict=True))
        for mine, theirs in zip(worst, sorted(one[8]), strict=True):  # type: ignore[call-overload] # a list
            assert mine[0] == theirs[0]
            assert mine[1:] == pytest.approx(theirs[1:], abs=0.01)
        assert row.channel == "shop"
        lacks = [expected - there for expected, there in zip(row.worst_expected, row.worst_there, strict=True)]
        assert lacks == sorted(lacks, reverse=True)


@settings(COMMON, max_examples=40)
@given(
    script=scripts(),
    lanes=st.integers(1, 3),
    groups=st.integers(1, 4),
    batch=st.integers(1, 40),
    every=st.sampled_from([0, 1, 3]),
)
def test_rows_equal_the_oracle_however_the_work_is_cut_and_wherever_it_is_killed(
    script: Script, lanes: int, groups: int, batch: int, every: int
) -> None:
    rows = rows_of(script, lanes=lanes, groups=groups, batch=batch, every=every)
    assert_equal(said(rows), oracle(script))
    cut = [row for row in rows if isinstance(row, PromotionReadiness | Signal)]
    plain = [row for row in rows_of(script) if isinstance(row, PromotionReadiness | Signal)]
    assert encoded(cut) == encoded(plain)


# --- by hand ----------------------------------------------------------------------------------------------------

TWO = Script(
    orders={"a": (6, 2), "b": (2, 1), "c": (0, 1), "d": (0, 1)},
    levels=[(0, "a", "n1", 10), (0, "a", "n2", 5), (0, "b", "n1", 500), (0, "c", "n1", 7)],
    bought=[],
    promotions=[(300, "started", "p", ["a", "b", "c"])],
)


def test_a_slow_mover_of_which_there_is_plenty_does_not_hide_an_empty_best_seller() -> None:
    row = said(rows_of(TWO))[0]
    assert (row.skus, row.skus_short, row.skus_unknown, row.worst_skus) == (3, 1, 1, ["a"])
    assert row.worst_there == [15.0]
    assert row.score is not None
    assert row.score < 30, "by number of items it were above 50"


def test_without_any_known_demand_there_is_no_score() -> None:
    only = msgspec.structs.replace(TWO, promotions=[(300, "started", "p", ["c", "unheard of"])])
    rows = said(rows_of(only))
    assert {(row.score, row.skus_unknown, row.units_there) for row in rows} == {(None, 2, 7.0)}


def test_the_finding_says_the_score_and_is_otherwise_what_it_was() -> None:
    rows = rows_of(TWO)
    found = [row for row in rows if isinstance(row, Signal) and row.kind == "promotion_without_stock"]
    plain, scored = sorted(found, key=lambda row: row.version)[:2]
    start = said(rows)[0]
    when = people_time(start.arrival_us)
    sentence = f"At {when} the promotion was {start.score} of 100 ready: 1 of its 3 items was short."
    assert scored.explanation == f"{plain.explanation} {sentence}"
    assert msgspec.structs.replace(scored, explanation=plain.explanation, version=plain.version) == plain
    assert all(" of 100 ready: " in row.explanation for row in final(found, Signal).values() if isinstance(row, Signal))


def test_a_start_heard_twice_is_one_promotion_and_an_end_ends_it() -> None:
    told = [(300, "started", "p", ["a"]), (310, "started", "p", ["a", "b"]), (430, "ended", "p", ["b", "a"])]
    rows = said(rows_of(msgspec.structs.replace(TWO, promotions=told)))
    minutes = [((row.arrival_us - START_US) // MINUTE_US, row.skus) for row in rows]
    assert minutes == [(301, 1), (361, 2), (421, 2)]
    assert len({row.started_at_us for row in rows}) == 1


def test_items_that_are_over_are_asked_about_no_more_and_the_rest_is() -> None:
    told = [(300, "started", "p", ["a", "b"]), (330, "ended", "p", ["b", "d"]), (330, "ended", "q", ["a"])]
    rows = said(rows_of(msgspec.structs.replace(TWO, promotions=told)))
    assert [row.skus for row in rows] == [2, 1, 1, 1, 1]


def test_of_too_many_items_those_of_most_demand_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand_module, "_MOST_ITEMS", 2)
    rows = said(rows_of(TWO))
    assert {row.skus for row in rows} == {2}
    assert {row.skus_unknown for row in rows} == {0}


def test_of_too_many_promotions_the_latest_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand_module, "_MOST_PROMOTIONS", 1)
    told = [(300, "started", "p", ["a"]), (310, "started", "q", ["a"])]
    rows = said(rows_of(msgspec.structs.replace(TWO, promotions=told)))
    assert [row.promotion_id for row in rows] == ["p", "q", "q", "q", "q", "q"]


def busy_logs() -> st.SearchStrategy[Log]:
    """A day with a run on an item of a promotion, and orders refused, stock gone or bought, at any time."""

    def made(stock: int, began: int, gone: tuple[int, int], refused: range, bought: tuple[int, int]) -> Log:
        log, begin_us = a_day(stock, hours=8), START_US + began * MINUTE_US
        log.move(START_US + gone[0] * MINUTE_US, "s3", -gone[1], reason="other")
        lines = [{"sku": "s3", "qty": 40}]
        due = rfc3339(begin_us + bought[1] * MINUTE_US)
        log.say("po.created", START_US, "erp", po_id="p1", supplier="s", node="n1", expected_at=due, lines=lines)
        promote(log, begin_us + bought[0] * MINUTE_US)
        promote(log, begin_us + (bought[0] + 3) * MINUTE_US)
        run_on(log, begin_us, 90)
        refuse(log, begin_us, refused)
        return log

    return st.builds(
        made,
        stock=st.integers(20, 250),
        began=st.integers(120, 400),
        gone=st.tuples(st.integers(60, 460), st.integers(1, 250)),
        refused=st.builds(range, st.integers(0, 40), st.integers(40, 90), st.integers(1, 30)),
        bought=st.tuples(st.integers(-60, 60), st.integers(-60, 300)),
    )


@settings(COMMON, max_examples=25)
@given(log=busy_logs())
def test_asking_brings_no_finding_forward(log: Log) -> None:
    """What is found is what it was before anybody asked; that it is asked about is seen in the other tests."""
    asked = found_in(log)
    metrics = tuple(metric for metric in SkuWatch.METRICS if metric != "promotion_asked")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SkuWatch, "METRICS", metrics)
        assert found_in(log) == asked


def test_being_asked_about_is_no_reason_to_judge() -> None:
    log, begin = a_day(100, hours=8), START_US + 6 * HOUR_US
    due = rfc3339(begin + 58 * MINUTE_US)
    lines = [{"sku": "s3", "qty": 300}]
    log.say("po.created", START_US, "erp", po_id="p1", supplier="s", node="n1", expected_at=due, lines=lines)
    promote(log, begin)
    run_on(log, begin, 56)
    found = next(one for one in found_in(log) if one.signal.scope["sku"] == "s3")
    assert found.signal.found_at_us == begin + 64 * MINUTE_US, "with its next order, not at the whole hour before"


def test_what_a_promotion_sells_does_not_become_what_is_expected_of_it() -> None:
    log, begin = a_day(hours=16), START_US + 6 * HOUR_US
    promote(log, begin)
    run_on(log, begin, 9 * 60)
    out = EventDetectors([Demand(DemandRule())]).update(sorted(log.events), [], begin + 9 * HOUR_US)
    needs: dict[int, list[float]] = {}
    for tally in out.tallies:
        if tally.metric == "promotion_asked" and tally.impact is not None:
            needs.setdefault(tally.arrival_us, []).append(tally.impact.units)
    assert len(needs) == 10
    assert [s3 / s4 for s3, s4 in needs.values()] == pytest.approx([1.0] * 10, rel=0.1)


# --- the score alone --------------------------------------------------------------------------------------------

ITEMS = st.lists(
    st.builds(
        ItemReady,
        promotion_id=st.just("p"),
        sku=st.uuids().map(str),
        at_us=st.just(MINUTE_US),
        expected=st.sampled_from([0.0, 5.0]) | st.floats(0.01, 1e6),
        on_hand=st.floats(0, 1e6),
        coming=st.floats(0, 1e6),
        hours=st.none() | st.floats(0, 1e6),
        is_short=st.booleans(),
    ),
    max_size=15,
)
ASKED = PromotionAsked("p", "", 0, MINUTE_US, 3)


@settings(COMMON, max_examples=200)
@given(items=ITEMS, seed=st.randoms())
def test_the_score_is_within_its_bounds_and_no_order_of_items_shows(items: list[ItemReady], seed: Any) -> None:  # noqa: ANN401 - a Random
    row = readiness(ASKED, items)
    known = [item for item in items if item.expected > 0]
    assert (row.score is None) == (not known)
    if row.score is not None:
        assert 0 <= row.score <= 100
        lowest = min(min(1.0, item.there / item.expected) for item in known)
        assert row.score >= 100 * lowest - 0.1
        assert (row.score == 100) >= all(item.lacking == 0 for item in items)
    assert len(row.worst_skus) == min(10, sum(item.lacking > 0 for item in items))
    again = list(items)
    seed.shuffle(again)
    assert readiness(ASKED, again) == row


def about(kind: str = "promotion_without_stock") -> ScopeFinding:
    log, begin = a_day(), START_US + 6 * HOUR_US
    log.move(begin - HOUR_US, "s3", -195, reason="transfer_out")
    promote(log, begin)
    return next(one for one in found_in(log) if one.signal.kind == kind)


def test_without_a_score_a_finding_stays_as_it_is() -> None:
    promotions, finding = Promotions(), about()
    assert promotions.told(finding) is finding
    at_us = finding.signal.arrival_us
    for expected, says in ((0.0, False), (8.0, True)):
        item = ItemReady("p7", "s3", at_us, expected, 2.0, 0.0, None, is_short=True)
        promotions.push([PromotionAsked("p7", "", 0, at_us, 1)], [item])
        promotions.advance(at_us + 1)
        assert ("was 25 of 100 ready" in promotions.told(finding).signal.explanation) is says


def test_what_is_open_and_what_was_said_are_kept() -> None:
    item = ItemReady("p7", "s3", 2 * MINUTE_US, 8.0, 2.0, 0.0, 1.0, is_short=True)
    first, second = PromotionAsked("p7", "", 0, MINUTE_US, 1), PromotionAsked("p7", "", 0, 2 * MINUTE_US, 1)
    group = IncidentGroup("incident:0000", pipeline_settings())
    group._promotions.push([first, second], [item])
    group._promotions.advance(MINUTE_US + 1)
    resumed = IncidentGroup("incident:0000", pipeline_settings())
    resumed.restore(group.snapshot())
    assert resumed.sizes() == group.sizes()
    assert resumed.sizes()["promotions", "open"] == resumed.sizes()["promotions", "scored"] == 1
    assert resumed._promotions.advance(3 * MINUTE_US) == group._promotions.advance(3 * MINUTE_US) != []


def test_scores_are_said_for_two_days() -> None:
    promotions = Promotions()
    item = ItemReady("p", "a", MINUTE_US, 10.0, 5.0, 0.0, 1.0, is_short=True)
    promotions.push([ASKED], [item])
    assert promotions.advance(MINUTE_US) == []
    (row,) = promotions.advance(MINUTE_US + 1)
    assert words(row) == "At 1970-01-01 00:01:00Z the promotion was 50 of 100 ready: 1 of its 3 items was short."
    assert promotions.sizes() == {"open": 0, "scored": 1}
    later = MINUTE_US + 3 * DAY_US
    promotions.push([msgspec.structs.replace(ASKED, promotion_id="q", at_us=later)], [])
    promotions.advance(later + 1)
    assert promotions.sizes() == {"open": 0, "scored": 1}, "of p nothing is kept any more"


# --- what was kept before ---------------------------------------------------------------------------------------


def test_what_an_earlier_version_kept_is_read() -> None:
    demand = Demand(DemandRule())
    host = EventDetectors([demand])
    log = Log()
    log.order(START_US, "o1", "a")
    promote(log, START_US + HOUR_US)
    host.update(log.events, [], START_US + HOUR_US + 1)
    assert demand.sizes() == {"skus": 1, "promotions": 1}
    before = msgspec.msgpack.decode(demand.snapshot())[:6]
    demand.restore(msgspec.msgpack.encode(before))
    assert demand.sizes() == {"skus": 1, "promotions": 0}

    pipeline = pipeline_settings()
    incidents = IncidentGroup("incident:0000", pipeline)
    kept = msgspec.msgpack.decode(incidents.snapshot())
    assert len(kept) == len(IncidentGroupState.__struct_fields__)
    IncidentGroup("incident:0000", pipeline).restore(msgspec.msgpack.encode(kept[:5]))


def test_promotions_of_another_version_are_refused() -> None:
    with pytest.raises(StateError, match="promotions of version 9"):
        Promotions().restore(PromotionsState(9, [], {}))
