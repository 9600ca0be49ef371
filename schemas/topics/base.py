"""What every event carries, and what its fields are made of."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=128, description="Identifier, at most 128 bytes of UTF-8.")]
Money = Annotated[
    str,
    Meta(
        pattern=r"^-?[0-9]{1,14}(\.[0-9]{1,6})?$(?!\n)",
        description="Decimal amount as a string, never a float.",
    ),
]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217 code.")]
Quantity = Annotated[float, Meta(ge=-1e15, le=1e15, description="A finite number of units.")]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 with offset.")]
Label = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=4096)]
System = Literal["ecom", "pos", "marketplace", "oms", "wms", "tms", "erp", "crm", "supplier", "middleware"]


class EventBase(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", omit_defaults=True):
    """What every event carries."""

    event_id: Id
    source: Id
    system: System
    occurred_at: Time
    version: Literal[1] = 1
    recorded_at: Time | None = None
    correlation_id: Id | None = None
    channel: Label | None = None
    region: Label | None = None
