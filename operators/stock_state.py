"""What is kept of the stock of a key group."""

import msgspec

from operators.stock_schedule import ScheduleState
from operators.stock_timers import Timer
from schemas.durations import BEGIN_OF_TIME_US


class StockState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of a `StockReconciler`.

    `folded` is when (arrival) folding was last due. Windows could be corrected for `kept_us` (-1 in states of before);
    those that ended before `closed_us` no longer can. `settles_us`: how long what timers of a kind are for had to hold.
    """

    version: int
    forget_us: int
    folded: int | None
    items: dict[str, bytes]
    timers: list[Timer]
    schedule: ScheduleState
    kept_us: int = -1
    closed_us: int = BEGIN_OF_TIME_US
    settles_us: dict[int, int] = {}
