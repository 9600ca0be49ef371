"""Topic `integration`: calls and queues of the middleware."""

from typing import Annotated, Literal

from msgspec import Meta

from schemas.topics.base import EventBase, Id, Label, Seconds


class CallCompleted(EventBase, frozen=True, kw_only=True, gc=False, tag="call.completed"):
    """One call over an interface between systems, and how it ended."""

    interface: Id
    status: Literal["ok", "transport_error", "schema_error", "rule_error", "downstream_error"]
    route: Label | None = None
    http_status: Annotated[int, Meta(ge=0, le=999)] | None = None
    latency_ms: Seconds | None = None
    case_id: Id | None = None


class QueueDepth(EventBase, frozen=True, kw_only=True, gc=False, tag="queue.depth"):
    """How much waits in a queue of the middleware."""

    queue: Id
    depth: Annotated[float, Meta(ge=0, le=1e15)]
    oldest_age_s: Seconds | None = None
