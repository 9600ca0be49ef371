"""What Andon writes: one frozen record for each kind of row, each with the deterministic key that replaces itself.

A row's fields are its table's columns, in order, one to one (see sinks/clickhouse/migrations). Times are
microseconds since 1970 UTC (`…_us` here, `DateTime64(6)` there under the same name without the suffix).
`version` grows with each correction of the same key; the views show the highest.
"""

from typing import ClassVar, TypeAlias

import msgspec

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

Scope: TypeAlias = dict[str, str]


class HandoffPass(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One case's pass through one handoff. Key: handoff, case_id, pass_key."""

    TABLE: ClassVar[str] = "handoff_passes"

    handoff: str
    case_id: str
    pass_key: str
    scope_by: str
    scope: str
    started_at_us: int | None
    ended_at_us: int | None
    latency_s: float | None
    deadline_at_us: int | None
    status: str
    arrival_us: int
    version: int


class HandoffWindow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Handoff × scope × window. Key: handoff, scope_by, scope, window_start, window_end.

    `latency_buckets` is the mergeable latency sketch (bucket → count, see operators/quantiles.py).
    """

    TABLE: ClassVar[str] = "handoff_windows"

    handoff: str
    scope_by: str
    scope: str
    window_start_us: int
    window_end_us: int
    started: int
    completed: int
    over_target: int
    overdue: int
    backlog: int
    oldest_age_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    max_s: float | None
    latency_buckets: dict[int, int]
    arrival_us: int
    version: int


class StockWindow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Item × window in which something was seen. Key: sku, node, window_start, window_end."""

    TABLE: ClassVar[str] = "stock_windows"

    sku: str
    node: str
    window_start_us: int
    window_end_us: int
    on_hand: dict[str, float]
    delta: float
    available_to_promise: float | None
    value_at_risk: float | None
    currency: str
    arrival_us: int
    version: int


class Signal(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One detector's finding about one scope. Key: signal_id.

    `opened_at` is since when what was found had held, `found_at` the arrival time at which it was first said.
    """

    TABLE: ClassVar[str] = "signal_log"

    signal_id: str
    detector: str
    kind: str
    handoff: str
    scope: Scope
    case_id: str
    opened_at_us: int
    found_at_us: int
    closed_at_us: int | None
    severity: str
    score: float
    confidence: float
    expected: str
    observed: str
    method: str
    explanation: str
    evidence: list[str]
    arrival_us: int
    version: int


class DeadLetter(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A message that can't be used, kept whole. Key: topic, partition, offset.

    `reason` is `transport` (not readable as JSON), `schema` (breaks the contract), `rule` (breaks a rule of time
    or of a mapping) or `downstream` (the store refused it). `path` names the offending field, `$.lines[0].qty`.
    """

    TABLE: ClassVar[str] = "dead_letter_log"

    topic: str
    partition: int
    offset: int
    reason: str
    path: str
    detail: str
    source: str
    channel: str
    raw: bytes
    seen_at_us: int


class LateEvent(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An event too late for its window to be corrected. Key: topic, partition, offset, stage.

    `effect` says which window it would have changed, and how.
    """

    TABLE: ClassVar[str] = "late_event_log"

    topic: str
    partition: int
    offset: int
    stage: str
    type: str
    source: str
    event_id: str
    occurred_at_us: int
    window_start_us: int
    effect: str
    seen_at_us: int


class DuplicateEvent(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A second delivery of the same event, dropped. Key: topic, partition, offset."""

    TABLE: ClassVar[str] = "duplicate_event_log"

    topic: str
    partition: int
    offset: int
    type: str
    source: str
    event_id: str
    first_arrival_us: int
    seen_at_us: int


class Health(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one partition of the input gave in one minute of arrival. Key: component, minute."""

    TABLE: ClassVar[str] = "pipeline_health_log"

    component: str
    minute_us: int
    messages: int
    events: int
    dead_letters: int
    bytes: int
    feed_delay_max_s: float
    version: int


class PromotionReadiness(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How ready a promotion was at one time, at its start and at whole hours. Key: promotion_id, arrival.

    `score` is 0 to 100 (the formula: operators/promotions.py), None where nothing is known of the demand of its items.
    The `worst_…` lists go together: the items that lack most units, most first.
    """

    TABLE: ClassVar[str] = "promotion_readiness_log"

    promotion_id: str
    channel: str
    started_at_us: int
    score: float | None
    skus: int
    skus_short: int
    skus_unknown: int
    units_expected: float
    units_there: float
    units_coming: float
    worst_skus: list[str]
    worst_hours: list[float]
    worst_expected: list[float]
    worst_there: list[float]
    arrival_us: int
    version: int


Row: TypeAlias = (
    HandoffPass
    | HandoffWindow
    | StockWindow
    | Signal
    | DeadLetter
    | LateEvent
    | DuplicateEvent
    | Health
    | Incident
    | IncidentOrder
    | IncidentSignal
    | Alert
    | AlertDecision
    | Silence
    | AlertDelivery
    | ModelHealth
    | SeriesScore
    | PromotionReadiness
)

ROW_TYPES: tuple[type[Row], ...] = (
    HandoffPass,
    HandoffWindow,
    StockWindow,
    Signal,
    DeadLetter,
    LateEvent,
    DuplicateEvent,
    Health,
    Incident,
    IncidentOrder,
    IncidentSignal,
    Alert,
    AlertDecision,
    Silence,
    AlertDelivery,
    ModelHealth,
    SeriesScore,
    PromotionReadiness,
)
