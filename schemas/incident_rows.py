"""What is written about incidents and alerts: the same kind of record as those of schemas/rows.py.

An incident is written again whenever it changes, an order or a signal of it whenever what is known of that changes;
the highest version counts.
"""

from typing import ClassVar

import msgspec


class Incident(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Findings that belong together, as they stand. Key: incident_id.

    `status` is open, growing, recovering, resolved or reopened. `candidates` are the probable causes, best first, each
    `signal_id: why`. `values_at_risk` has every currency; `value_at_risk` is the part in `currency`, the one with most.
    `breach_error_s` is half the width of the 80 % interval around `first_breach_at`.
    """

    TABLE: ClassVar[str] = "incident_log"

    incident_id: str
    status: str
    kind: str
    cause_signal_id: str
    candidates: list[str]
    scope: dict[str, str]
    severity: str
    priority: int
    score: float
    opened_at_us: int
    found_at_us: int
    closed_at_us: int | None
    signals: int
    orders_affected: int
    customers_affected: int
    units_affected: float
    promises_at_risk: int
    first_breach_at_us: int | None
    breach_error_s: float | None
    value_at_risk: float
    margin_at_risk: float | None
    refunds_exposed: float
    currency: str
    values_at_risk: dict[str, float]
    summary: str
    arrival_us: int
    version: int


class IncidentOrder(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An order that an incident touches. Key: incident_id, order_id.

    `case_id` is the return or purchase order through which it is touched, empty for the order itself; a case that
    belongs to no order stands under its own id.
    `signal_id` is the finding that named it first. `breach_predicted_at` is when the promise is expected to be kept too
    late; None where it is expected to be kept, or where there is none.
    """

    TABLE: ClassVar[str] = "incident_order_log"

    incident_id: str
    order_id: str
    case_id: str
    customer_id: str
    signal_id: str
    units: float
    value: float
    margin: float | None
    currency: str
    promised_at_us: int | None
    breach_predicted_at_us: int | None
    breach_error_s: float | None
    arrival_us: int
    version: int


class IncidentSignal(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A finding's part in an incident. Key: incident_id, signal_id.

    `role` is cause, candidate, consequence or evidence; `rank` is its place among the candidates, 0 for the others.
    """

    TABLE: ClassVar[str] = "incident_signal_log"

    incident_id: str
    signal_id: str
    kind: str
    role: str
    rank: int
    reason: str
    arrival_us: int
    version: int


class Alert(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One notification to one receiver. Key: alert_id, which is its idempotency key, too.

    `action` is trigger, update, acknowledge or resolve; `status` firing or resolved. `sequence` counts the
    notifications of a group to a receiver, from 1: they are to be delivered in that order. `labels` are what routes and
    silences match.
    """

    TABLE: ClassVar[str] = "alert_log"

    alert_id: str
    group_key: str
    receiver: str
    action: str
    status: str
    sequence: int
    reason: str
    severity: str
    priority: int
    incident_ids: list[str]
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at_us: int
    ends_at_us: int | None
    sent_at_us: int
    arrival_us: int
    version: int


class AlertDecision(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Why an incident's change was told or not. Key: decision_id.

    `decision` is notified, grouped, waiting, silenced, inhibited, muted, acknowledged, deduplicated, unrouted or
    not_firing_yet; `by` names what decided (an alert, a silence, an incident, a mute time, a person, a route).
    """

    TABLE: ClassVar[str] = "alert_decision_log"

    decision_id: str
    incident_id: str
    receiver: str
    decision: str
    by: str
    reason: str
    decided_at_us: int
    arrival_us: int
    version: int


class Silence(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is not to be told for a while, or an acknowledgement (then with `incident_id`). Key: silence_id.

    `matchers` are written as Alertmanager writes them: `kind="queue_saturation"`, `node=~"store-.*"`. `ends_at` is
    the end of time for an acknowledgement that holds until the incident is resolved. `expired_by` ended it before its
    time; `andon` where it could not be used, its incident was resolved or became worse: `comment` says which.
    """

    TABLE: ClassVar[str] = "silence_log"

    silence_id: str
    incident_id: str
    matchers: list[str]
    starts_at_us: int
    ends_at_us: int
    created_by: str
    comment: str
    expired_by: str
    arrival_us: int
    version: int


class AlertDelivery(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One attempt to deliver one alert. Key: alert_id, receiver, attempt.

    `outcome` is delivered, retrying, rejected (the receiver will never take it), disabled (the endpoint is gone) or
    dead.
    """

    TABLE: ClassVar[str] = "alert_delivery_log"

    alert_id: str
    receiver: str
    attempt: int
    outcome: str
    http_status: int | None
    detail: str
    latency_ms: float
    attempted_at_us: int
    arrival_us: int
    version: int


class ModelHealth(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How a family of models fares in one minute of arrival, over all series of a metric. Key: model, metric, minute.

    `state` is healthy, young, drifting, cold, failed or off; `fallback` how many series are judged by the rule
    meanwhile.
    """

    TABLE: ClassVar[str] = "model_health_log"

    model: str
    metric: str
    minute_us: int
    series: int
    young: int
    fallback: int
    points: int
    alarms: int
    state: str
    detail: str
    version: int


class SeriesScore(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One point of one series, judged. Key: metric, handoff, scope_by, scope, at.

    `metric` is a column of `HandoffWindow`, or what docs/anomaly.md lists beside (demand, rates, `site`; these have no
    handoff); `at` is the window's end. `lower` and `upper` are None where there is no band:
    the rule alone judged. `alarm` is spike, shift, drift or gap, empty where the point is none.
    """

    TABLE: ClassVar[str] = "series_score_log"

    metric: str
    handoff: str
    scope_by: str
    scope: str
    at_us: int
    value: float
    expected: float
    lower: float | None
    upper: float | None
    score: float
    confidence: float
    method: str
    alarm: str
    arrival_us: int
    version: int
