"""Where orders stand that a finding may yet name."""

import msgspec

from operators.detectors.records import CANCELLED, Standing
from schemas.durations import HOUR_US
from schemas.errors import StateError

#: How long it is known of an order that it is over, for findings that name it afterwards.
_OVER_US = 2 * HOUR_US


class StandingsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `Standings`: those that were heard of longest ago first, and when they are looked through next."""

    version: int
    orders: dict[str, Standing]
    look_us: int


class Standings:
    """The last that was heard of each order.

    Memory: one small record for each order that a detector asked for; dropped two hours after it was over, `idle_us`
    after it was last heard of, and those heard of longest ago beyond `most`. Cost: a look-up; once an hour all of them.
    """

    VERSION = 1

    def __init__(self, links: int, idle_us: int, most: int) -> None:
        self._over = (CANCELLED, links)
        self._idle_us, self._most = idle_us, most
        self._orders: dict[str, Standing] = {}
        self._look_us = 0

    def hear(self, order_id: str, standing: Standing, now_us: int) -> None:
        """An order stands there now."""
        self._orders.pop(order_id, None)
        self._orders[order_id] = standing
        if len(self._orders) > self._most:
            del self._orders[next(iter(self._orders))]
        if now_us >= self._look_us:
            self._look_us = now_us + HOUR_US
            self._orders = {key: one for key, one in self._orders.items() if now_us < self._until_us(one)}

    def get(self, order_id: str) -> Standing | None:
        """Where an order stands, None where that is not known."""
        return self._orders.get(order_id)

    def _until_us(self, standing: Standing) -> int:
        return standing.arrival_us + (_OVER_US if standing.link in self._over else self._idle_us)

    def __len__(self) -> int:
        """How many orders are known."""
        return len(self._orders)

    def snapshot(self) -> StandingsState:
        """All of them. To be encoded before the next call of anything here: it is no copy."""
        return StandingsState(self.VERSION, self._orders, self._look_us)

    def restore(self, state: StandingsState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"standings of version {state.version}; this code reads {self.VERSION}")
        self._orders, self._look_us = dict(state.orders), state.look_us
