"""What is held against what, and when a difference is a finding."""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from schemas.durations import MINUTE_US, Duration, Lasting
from schemas.events import System

Units: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000_000)]


class StockSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a difference is a finding. A delta must exceed both margins, and outlast `settle`."""

    window: Lasting = Duration(5 * MINUTE_US)
    book: Annotated[tuple[System, ...], Meta(min_length=1)] = ("wms", "pos", "oms", "erp", "ecom", "marketplace")
    settle: Duration = Duration(30 * MINUTE_US)
    margin_units: Units = 2.0
    margin_share: Annotated[float, Meta(ge=0, le=1)] = 0.05
    oversell_settle: Duration = Duration(5 * MINUTE_US)
    safety_stock: Units = 0.0
    safety_stock_by_node: dict[str, Units] = {}
    inbound_horizon: Duration | None = None
    currency: Annotated[str, Meta(pattern=r"^([A-Z]{3})?$(?!\n)", description="of three capital letters")] = ""
