"""The queue that carries the stores' reservations can't keep up with the noon peak."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import AFTERMATH_US, Breakdown, Scope, at
from scenarios.customers import Surge
from scenarios.ledger import GoodsIssue
from scenarios.network import Node
from scenarios.orders import Line, Order
from scenarios.retailer import Retailer
from schemas.durations import MINUTE_US, SECOND_US, Duration

_QUEUE = "store-reservations"


class QueueSaturationParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How it saturates.

    The queue serves `capacity` times an ordinary noon's load, while `surge` times the ordinary number of
    orders come on top, for `surge_skus` items that stores have few of, to be shipped from stores. An order is
    touched when a message about its reservations waits `late_after` or longer, or when a pick is short
    because the OMS could not know.
    """

    capacity: float = 1.15
    surge: float = 1.5
    surge_skus: int = 6
    late_after: Duration = Duration(5 * MINUTE_US)


class QueueSaturation(Breakdown):
    """Reservations arrive late, so the OMS promises what is gone; picks are short, goods issues wait."""

    kind: ClassVar[str] = "queue_saturation"
    begins: ClassVar[Duration] = at(11.5)
    ends: ClassVar[Duration] = at(14)
    Parameters = QueueSaturationParameters
    parameters: QueueSaturationParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse a capacity or a surge that makes no sense."""
        if not 0.01 <= self.parameters.capacity <= 10:
            return "capacity must be between 0.01 and 10"
        if not 0 <= self.parameters.surge <= 20:
            return "surge must be between 0 and 20"
        most = retailer.world.network.stores[0].carried // 2
        if not 1 <= self.parameters.surge_skus <= most:
            return f"surge_skus must be between 1 and {most}"
        return ""

    def install(self, retailer: Retailer) -> None:
        """Slow the queue down, send the surge, and watch who waits."""
        self._queue = retailer.world.queues[_QUEUE]
        rate = self.parameters.capacity * retailer.world.peak_per_s[_QUEUE]
        self._queue.slow_down(self.begin_us, self.end_us, rate)
        self._queue.watch(self.parameters.late_after, self._late)
        if self.parameters.surge:
            first = retailer.world.network.stores[0].carried // 3
            skus = list(range(first, first + self.parameters.surge_skus))
            retailer.customers.surges.append(Surge(self.begin_us, self.end_us, self.parameters.surge, skus))
        retailer.ledger.watchers.append(self._posted)
        self._agenda = retailer.world.agenda

    def explains(self, node: Node, now_us: int) -> bool:
        """The OMS lags behind the stores while the queue is long."""
        return node.is_store and self._queue.delay_us(now_us) > 30 * SECOND_US

    def scope(self) -> Scope:
        """The queue."""
        return {"queue": _QUEUE}

    def _late(self, case: object, put_us: int, leaves_us: int) -> None:
        if isinstance(case, tuple) and self.begin_us <= put_us < self.end_us + AFTERMATH_US:
            order, line = case
            assert isinstance(order, Order)
            assert isinstance(line, Line)
            self.touch(order, [line], "reservations_late", leaves_us)

    def _posted(self, issue: GoodsIssue, booked: bool) -> None:  # noqa: FBT001 - the protocol of watchers
        waited = issue.job.consumed_at - issue.due
        ours = self.begin_us <= issue.due < self.end_us + AFTERMATH_US and issue.job.node.is_store
        if booked and ours and waited > self.parameters.late_after:
            self.touch(issue.job.order, issue.job.picked, "postings_late", self._agenda.now)
