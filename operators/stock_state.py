"""What is kept of the stock of a key group."""

import msgspec

from operators.stock_schedule import ScheduleState
from operators.stock_timers import Timer


class StockState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `StockReconciler`."""

    version: int
    forget_us: int
    folded: int | None
    items: dict[str, bytes]
    timers: list[Timer]
    schedule: ScheduleState
