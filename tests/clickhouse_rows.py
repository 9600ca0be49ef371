"""Rows for the ClickHouse tests: one of each record, and hypothesis strategies over their fields."""

from collections.abc import Mapping

from hypothesis import strategies as st

from schemas.incident_rows import (
    Alert,
    AlertDecision,
    AlertDelivery,
    Incident,
    IncidentOrder,
    IncidentSignal,
    ModelHealth,
    SeriesScore,
    Silence,
)
from schemas.rows import (
    DeadLetter,
    DuplicateEvent,
    HandoffPass,
    HandoffWindow,
    Health,
    LateEvent,
    PromotionReadiness,
    Row,
    Signal,
    StockWindow,
)

T0 = 1_511_222_400_000_000  # 2017-11-21: old on purpose, a TTL on event time would delete it
MINUTE = 60_000_000

ONE_OF_EACH: tuple[Row, ...] = (
    HandoffPass("pick", "O-1", "0", "node", "N1", T0, T0 + 1, 0.000001, None, "done", T0, 1),
    HandoffWindow("pick", "node", "N1", T0, T0 + MINUTE, 1, 1, 0, 0, 3, 1.5, 1.0, 2.0, 3.0, 4.0, {-3: 1, 7: 2}, T0, 1),
    StockWindow("S-1", "N1", T0, T0 + MINUTE, {"oms": 5.0, "wms": 3.0}, 2.0, 1.0, 19.98, "EUR", T0, 1),
    Signal(
        "s1",
        "stock",
        "oversell",
        "",
        {"node": "N1", "sku": "S-1"},
        "",
        T0,
        T0 + 1,
        None,
        "high",
        2.5,
        0.9,
        "5",
        "3",
        "rule",
        "why",
        ["e1"],
        T0,
        1,
    ),
    DeadLetter("orders", 0, 7, "schema", "$.lines[0].qty", "must be a number", "shop", "web", b'{"a"\xff\x00', T0),
    LateEvent("orders", 0, 8, "handoff_windows", "order.created", "shop", "e1", T0, T0, "started +1", T0),
    DuplicateEvent("orders", 0, 9, "order.created", "shop", "e1", T0, T0 + 1),
    Health("orders/0", T0, 10, 8, 2, 1_000, 1.5, 1),
    Incident(
        incident_id="i1",
        status="growing",
        kind="queue_saturation",
        cause_signal_id="s1",
        candidates=["s1: its queue is full", "s2: earliest"],
        scope={"queue": "store-reservations"},
        severity="high",
        priority=2,
        score=7.5,
        opened_at_us=T0,
        found_at_us=T0 + 1,
        closed_at_us=None,
        signals=3,
        orders_affected=2,
        customers_affected=2,
        units_affected=5.0,
        promises_at_risk=1,
        first_breach_at_us=T0 + MINUTE,
        breach_error_s=90.0,
        value_at_risk=49.9,
        margin_at_risk=None,
        refunds_exposed=0.0,
        currency="EUR",
        values_at_risk={"EUR": 49.9, "USD": 3.0},
        summary="why",
        arrival_us=T0,
        version=1,
    ),
    IncidentOrder("i1", "O-1", "", "C-1", "s1", 2.0, 19.9, 4.5, "EUR", T0 + MINUTE, None, None, T0, 1),
    IncidentSignal("i1", "s1", "queue_saturation", "cause", 1, "its queue is full", T0, 1),
    Alert(
        alert_id="a1",
        group_key="kind=queue_saturation",
        receiver="operations",
        action="trigger",
        status="firing",
        sequence=1,
        reason="group_wait over",
        severity="high",
        priority=2,
        incident_ids=["i1"],
        labels={"kind": "queue_saturation"},
        annotations={"summary": "why"},
        starts_at_us=T0,
        ends_at_us=None,
        sent_at_us=T0 + 1,
        arrival_us=T0,
        version=1,
    ),
    AlertDecision("d1", "i1", "operations", "silenced", "silence 7", "kind matches", T0, T0, 1),
    Silence("7", "", ['kind="queue_saturation"'], T0, T0 + MINUTE, "kim", "known", "", T0, 1),
    AlertDelivery("a1", "operations", 1, "retrying", 503, "busy", 12.5, T0, T0, 1),
    ModelHealth("level", "backlog", T0, 40, 3, 1, 40, 0, "healthy", "", 1),
    SeriesScore("backlog", "pick", "node", "N1", T0, 9.0, 3.5, 1.0, None, 3.7, 0.9, "model", "spike", T0, 1),
    PromotionReadiness(
        promotion_id="P-1",
        channel="web",
        started_at_us=T0,
        score=62.5,
        skus=3,
        skus_short=1,
        skus_unknown=1,
        units_expected=80.0,
        units_there=55.0,
        units_coming=5.0,
        worst_skus=["S-1", "S-2"],
        worst_hours=[1.5, 20.0],
        worst_expected=[40.0, 40.0],
        worst_there=[15.0, 35.0],
        arrival_us=T0,
        version=1,
    ),
)

_OF_KIND = {type(row): row for row in ONE_OF_EACH}


def so_many(counts: Mapping[type[Row], int]) -> list[Row]:
    """So many rows of these kinds, each like the one of its kind in `ONE_OF_EACH`."""
    return [_OF_KIND[kind] for kind, count in counts.items() for _ in range(count)]


def health(number: int, messages: int = 1) -> Health:
    """A row that is told from others of its kind by `number`."""
    return Health(f"orders/{number}", T0, messages, 1, 0, 10, 0.5, 1)


texts = st.text(max_size=12)
times = st.integers(T0, T0 + 400 * 86_400_000_000)
floats = st.floats(allow_nan=False)
counts = st.integers(0, 2**32 - 1)

passes = st.builds(
    HandoffPass,
    handoff=st.sampled_from(["pick", "ship"]),
    case_id=st.sampled_from(["O-1", "O-2", "ö\0😀"]),
    pass_key=st.sampled_from(["", "1"]),
    scope_by=texts,
    scope=texts,
    started_at_us=st.none() | times,
    ended_at_us=st.none() | times,
    latency_s=st.none() | floats,
    deadline_at_us=st.none() | times,
    status=st.sampled_from(["open", "done", "late"]),
    arrival_us=times,
    version=st.integers(1, 4),
)
windows = st.builds(
    HandoffWindow,
    handoff=st.sampled_from(["pick", "ship"]),
    scope_by=st.just("node"),
    scope=st.sampled_from(["N1", "N2"]),
    window_start_us=st.sampled_from([T0, T0 + MINUTE]),
    window_end_us=st.just(T0 + 2 * MINUTE),
    started=counts,
    completed=counts,
    over_target=counts,
    overdue=counts,
    backlog=counts,
    oldest_age_s=st.none() | floats,
    p50_s=st.none() | floats,
    p95_s=st.none() | floats,
    p99_s=st.none() | floats,
    max_s=st.none() | floats,
    latency_buckets=st.dictionaries(st.integers(-(2**31), 2**31 - 1), counts, max_size=3),
    arrival_us=times,
    version=st.integers(1, 4),
)
stocks = st.builds(
    StockWindow,
    sku=st.sampled_from(["A", "B"]),
    node=st.sampled_from(["N1", "N2"]),
    window_start_us=st.sampled_from([T0, T0 + MINUTE]),
    window_end_us=st.just(T0 + 2 * MINUTE),
    on_hand=st.dictionaries(texts, floats, max_size=3),
    delta=floats,
    available_to_promise=st.none() | floats,
    value_at_risk=st.none() | floats,
    currency=st.sampled_from(["", "EUR"]),
    arrival_us=times,
    version=st.integers(1, 4),
)
signals = st.builds(
    Signal,
    signal_id=st.sampled_from(["a", "b", "c"]),
    detector=texts,
    kind=texts,
    handoff=texts,
    scope=st.dictionaries(texts, texts, max_size=3),
    case_id=texts,
    opened_at_us=times,
    found_at_us=times,
    closed_at_us=st.none() | times,
    severity=st.sampled_from(["low", "high"]),
    score=floats,
    confidence=floats,
    expected=texts,
    observed=texts,
    method=st.sampled_from(["model", "rule"]),
    explanation=texts,
    evidence=st.lists(texts, max_size=3),
    arrival_us=times,
    version=st.integers(1, 4),
)
