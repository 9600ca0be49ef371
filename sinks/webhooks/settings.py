"""Settings of delivery: `[delivery]` and its `[[delivery.receiver]]`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, Lasting

Kind = Literal["standard", "pagerduty", "alertmanager", "alertmanager_webhook", "slack", "cloudevents", "jsm"]
DEFAULT_SUMMARY = "{summary}"

#: Where the public services listen; the others have no default.
PUBLIC_URLS: dict[str, str] = {
    "pagerduty": "https://events.pagerduty.com/v2/enqueue",
    "jsm": "https://api.atlassian.com/jsm/ops/integration/v2/alerts",
}


class ReceiverSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One endpoint, under the name that alerts are routed to.

    Secrets are named by where they are, `file:PATH` or `env:NAME`; so is a `url` that is one itself (Slack's).
    """

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    type: Kind
    url: str = ""
    secrets: tuple[str, ...] = ()
    key: str = ""
    authorization: str = ""
    headers: dict[str, str] = {}
    summary: str = DEFAULT_SUMMARY
    link: str = ""
    image: str = ""
    mode: Literal["structured", "binary"] = "structured"
    source: str = "/andon"
    resolve_after: Duration = Duration(5 * MINUTE_US)
    allow_http: bool = False
    allow_networks: tuple[str, ...] = ()
    ca_file: str = ""


class DeliverySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How alerts get to their receivers."""

    outbox: Annotated[str, Meta(min_length=1)] = "andon-outbox.db"
    poll: Lasting = Duration(SECOND_US)
    overlap: Duration = Duration(5 * MINUTE_US)
    stale_after: Lasting = Duration(DAY_US)
    keep: Duration = Duration(30 * DAY_US)
    gap_wait: Duration = Duration(30 * SECOND_US)
    connect_timeout: Lasting = Duration(5 * SECOND_US)
    read_timeout: Lasting = Duration(10 * SECOND_US)
    total_timeout: Lasting = Duration(30 * SECOND_US)
    retry_first: Lasting = Duration(5 * SECOND_US)
    retry_longest: Duration = Duration(10 * MINUTE_US)
    retry_after_longest: Duration = Duration(HOUR_US)
    give_up_after: Duration = Duration(DAY_US)
    breaker_failures: Annotated[int, Meta(ge=1, le=1_000)] = 5
    breaker_pause: Lasting = Duration(30 * SECOND_US)
    breaker_longest: Duration = Duration(10 * MINUTE_US)
    stop_within: Duration = Duration(8 * SECOND_US)
    listen: str = "127.0.0.1:9463"
    stalled_after: Duration = Duration(5 * MINUTE_US)
    receiver: tuple[ReceiverSettings, ...] = ()
