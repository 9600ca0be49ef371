"""What is held against what, and when a difference is a finding."""

import msgspec

from schemas.durations import MINUTE_US, Duration
from schemas.events import System


class StockSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a difference is a finding. A delta must exceed both margins, and outlast `settle`."""

    window: Duration = Duration(5 * MINUTE_US)
    book: tuple[System, ...] = ("wms", "pos", "oms", "erp", "ecom", "marketplace")
    settle: Duration = Duration(30 * MINUTE_US)
    margin_units: float = 2.0
    margin_share: float = 0.05
    oversell_settle: Duration = Duration(5 * MINUTE_US)
    safety_stock: float = 0.0
    safety_stock_by_node: dict[str, float] = {}
    inbound_horizon: Duration | None = None
    currency: str = ""

    def __post_init__(self) -> None:
        """Refuse margins that can't be meant.

        Raises:
            ValueError: a margin is negative or the window has no length.
        """
        if self.margin_units < 0 or self.margin_share < 0:
            raise ValueError("margin_units and margin_share can't be negative")
        if self.window <= 0:
            raise ValueError("window must be longer than 0")
