"""The final rows of the whole pure pipeline equal a plain batch computation over the set of events."""

from collections import Counter

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.quantiles import estimate
from operators.site_group import SiteGroup
from schemas.durations import DAY_US, HOUR_US
from schemas.events import Event
from schemas.rows import HandoffPass, HandoffWindow, Row, Signal, StockWindow
from tests import oracles
from tests.harness import START_US, PurePipeline, final
from tests.shop import CASE_TYPES, STOCK_TYPES, Said, log_of, said, shop_map, shop_settings

COMMON = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
CLOSE_US = START_US + 2 * HOUR_US


def decoded(events: list[Said]) -> list[Event]:
    return [msgspec.convert(event.body(), Event) for event in events]


def windows_said(rows: list[Row]) -> dict[oracles.WindowKey, tuple[object, ...]]:
    """Final rows as the oracle writes them; rows of zeros take one back and are no rows."""
    out = {}
    for row in final(rows, HandoffWindow).values():
        assert isinstance(row, HandoffWindow)
        if row.started or row.completed or row.overdue or row.backlog:
            counts = (row.started, row.completed, row.over_target, row.overdue, row.backlog)
            quantiles = (row.p50_s, row.p95_s, row.p99_s, row.max_s)
            out[(row.handoff, row.scope, row.window_end_us)] = (
                row.window_start_us,
                *counts,
                row.oldest_age_s,
                *quantiles,
            )
    return out


def passes_said(rows: list[Row]) -> dict[oracles.PassKey, tuple[object, ...]]:
    return {
        (row.handoff, row.case_id, row.pass_key): (
            row.started_at_us,
            row.ended_at_us,
            row.deadline_at_us,
            row.scope,
            row.status,
        )
        for row in final(rows, HandoffPass).values()
        if isinstance(row, HandoffPass) and row.status != "duplicate"
    }


@COMMON
@given(events=said(*CASE_TYPES), shape=st.sampled_from([(60, 60), (30, 90), (60, 300)]), lanes=st.integers(1, 3))
def test_passes_and_windows_equal_the_oracle(events: list[Said], shape: tuple[int, int], lanes: int) -> None:
    slide_s, size_s = shape
    chosen = shop_settings(
        slide_s=slide_s, size_s=size_s, retention_us=DAY_US, close_at_us=CLOSE_US, groups=lanes, scored=False
    )
    rows = PurePipeline(log_of(events, lanes), chosen, 7).run()
    passes = oracles.handoff_passes(decoded(events), chosen.process, CLOSE_US)
    assert passes_said(rows) == {
        key: (one.start, one.end, one.deadline, one.scope, one.status) for key, one in passes.items()
    }
    expected = oracles.handoff_windows(passes, chosen.process, chosen.handoff_windows, CLOSE_US)
    assert windows_said(rows) == expected
    for row in final(rows, HandoffWindow).values():
        assert isinstance(row, HandoffWindow)
        assert sum(row.latency_buckets.values()) == row.completed
        if row.p95_s is not None:
            assert abs(estimate(0.95, row.latency_buckets) - row.p95_s) <= 0.01 * row.p95_s + 1e-9
    assert not any(type(row).__name__ == "LateEvent" for row in rows)


@COMMON
@given(events=said(*CASE_TYPES))
def test_findings_equal_the_oracle(events: list[Said]) -> None:
    chosen = shop_settings(retention_us=DAY_US, close_at_us=CLOSE_US, scored=False)
    job = PurePipeline(log_of(events), chosen, 50)
    rows = job.run()
    facts, process = decoded(events), shop_map()
    signals = [row for row in final(rows, Signal).values() if isinstance(row, Signal)]
    found = Counter(
        oracles.Found(row.kind, row.handoff, row.case_id, row.opened_at_us, row.closed_at_us)
        for row in signals
        if row.kind in ("overdue", "missing_step", "out_of_sequence")
    )
    standing, over = oracles.case_findings(facts, process, oracles.handoff_passes(facts, process, CLOSE_US))
    open_now = Counter({one: count for one, count in found.items() if one.closed is None})
    withheld = standing - open_now
    assert open_now - standing == Counter()
    assert {one.kind for one in withheld} <= {"out_of_sequence"}
    assert over <= found
    repeated = Counter((row.handoff, row.case_id) for row in signals if row.kind == "duplicate")
    assert repeated == oracles.duplicates(facts, process)
    impossible = [(row.handoff, row.case_id) for row in signals if row.kind == "impossible_state"]
    expected = oracles.forbidden(facts, process)
    assert len(set(impossible)) == len(impossible)
    assert set(impossible) <= expected
    doubted = {one.case for one in withheld} | {case for _, case in expected - set(impossible)}
    assert all(oracles.is_oddly_dated(facts, case) for case in doubted)
    site = job.groups["site:0000"]
    assert isinstance(site, SiteGroup)
    assert sum(site.withheld.values()) >= withheld.total() + len(expected - set(impossible))
    rejected = [one for one in facts if type(one).__name__ == "TaskRejected"]
    assert sum(row.kind == "pick_rejected" for row in signals) == len(rejected)


@COMMON
@given(events=said(*STOCK_TYPES), shape=st.sampled_from([(60, 60), (30, 90)]), groups=st.integers(1, 3))
def test_stock_windows_equal_the_oracle(events: list[Said], shape: tuple[int, int], groups: int) -> None:
    slide_s, size_s = shape
    chosen = shop_settings(
        slide_s=slide_s, size_s=size_s, retention_us=DAY_US, close_at_us=CLOSE_US, groups=groups, scored=False
    )
    stock = msgspec.structs.replace(chosen.stock, safety_stock=1.0, safety_stock_by_node={"n/1": 2.5})
    rows = PurePipeline(log_of(events, 2), msgspec.structs.replace(chosen, stock=stock), 11).run()
    said_rows = {
        (row.sku, row.node, row.window_end_us): (
            row.on_hand,
            row.delta,
            row.available_to_promise,
            row.value_at_risk,
        )
        for row in final(rows, StockWindow).values()
        if isinstance(row, StockWindow)
    }
    assert said_rows == oracles.stock_windows(decoded(events), stock, chosen.stock_windows, CLOSE_US)
