"""Routing: where orders are allocated, held against where they belong. The first part."""

from collections.abc import Mapping, Sequence

import msgspec

from operators.detectors.case_memory import CaseDetector
from operators.detectors.events import Collected, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.order_facts import Line
from operators.detectors.policy import OfAll
from operators.detectors.rates import RateRule
from operators.detectors.records import Scoped, Tally, scoped
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration
from schemas.events import (
    Arrived,
    EventBase,
    OrderAllocated,
    OrderCancelled,
    ReservationRejected,
    ShipmentDispatched,
    TaskRejected,
)

#: All allocations are judged in one place, since what most of the wrong ones have in common is to be found.
ALLOCATIONS: Scoped = scoped(handoff="allocation")
ROUTE = "route"
_MOST_NODES = 20
_JSON = msgspec.json.Encoder()


class RoutingRule(RateRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When allocations are misrouted: a `RateRule` by region, channel and expected node.

    The wrong ones must be of several items, and be too many without those items that go astray wherever they are
    ordered, with a surprise of `sold_out` for each: what is sold out where it belongs is sent from elsewhere rightly.
    One window, and one memory of what is usual, is of the whole retailer.
    """

    window: OfAll[Duration] = Duration(45 * MINUTE_US)
    least: float = 5.0
    share: float = 0.2
    times: float = 4.0
    score: float = 5.5
    quiet: Duration = Duration(30 * MINUTE_US)
    usual: float = 0.03
    memory: OfAll[Duration] = Duration(7 * DAY_US)
    sold_out: float = 2.0


class RoutingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for routing: allocations elsewhere than expected, and allocations that come too late.

    `retention` is how long an order's allocations are remembered after the last of them.
    """

    elsewhere: RoutingRule = RoutingRule()
    late: RateRule = RateRule(
        window=Duration(30 * MINUTE_US), least=15, share=0.3, times=5, score=8, usual=0.02, quiet=Duration(HOUR_US)
    )
    retention: Duration = Duration(2 * DAY_US)


class Route(msgspec.Struct, frozen=True, array_like=True):
    """One allocation, as it is passed on in the place of an event's id.

    `verdict` is `right`, `wrong` (elsewhere than expected, or sent to and fro), or `unsaid` (no node was expected).
    `sku` is the first item that was allocated, `others` are those that went with it.
    """

    event_id: str
    region: str
    channel: str
    expected: str
    node: str
    sku: str
    verdict: str
    others: tuple[str, ...] = ()

    @property
    def skus(self) -> frozenset[str]:
        """All items that were allocated, as far as they are known."""
        return frozenset((self.sku, *self.others)) - {""}


class Allocations(msgspec.Struct, array_like=True, gc=False):
    """Where an order's lines were allocated (by line, empty for the order), and whether a node refused."""

    nodes: dict[str, list[str]] = {}
    refused: bool = False
    last_us: int = 0


class Routes(CaseDetector[Allocations]):
    """Says of each allocation whether it is where it belongs.

    What is allocated anew because a node refused it is right wherever it goes. What goes back to a node that it was
    taken from, or to a third one, without a refusal, goes to and fro.

    That a node refused is known as long as any of the order can be allocated: a parcel of it, or a line that is
    cancelled, leaves the others.

    Memory: some 250 bytes for each order that was allocated and not yet dispatched, or that a node refused, dropped
    `retention_us` after its last allocation.
    """

    NAME = "routes"
    VERSION = 2

    def __init__(self, book: OrderBook, retention_us: int) -> None:
        super().__init__(Allocations, retention_us)
        self._book = book

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {
            OrderAllocated: self._allocated,
            OrderCancelled: self._cancelled,
            ReservationRejected: self._refused,
            TaskRejected: self._refused,
            ShipmentDispatched: self._dispatched,
        }

    def _allocated(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, OrderAllocated)
        order = self._cases.heard(event.order_id, arrived.arrival_us)
        line = event.line_id or ""
        before = order.nodes.get(line, [])
        order.nodes[line] = [*before[-_MOST_NODES:], event.node]
        if order.refused:
            return
        facts = self._book.get(event.order_id)
        lines: Sequence[Line] = ()
        if facts is not None:
            lines = facts.lines if event.line_id is None else facts.lines_of(line_id=event.line_id)
        to_and_fro = bool(before) and ((event.node in before and event.node != before[-1]) or len(set(before)) > 1)
        verdict = "right" if event.expected_node is not None else "unsaid"
        if to_and_fro or (event.expected_node is not None and event.expected_node != event.node):
            verdict = "wrong"
        route = Route(
            event.event_id,
            (facts.region if facts is not None else "") or event.region or "",
            (facts.channel if facts is not None else "") or event.channel or "",
            event.expected_node or "",
            event.node,
            lines[0].sku if lines else "",
            verdict,
            tuple(dict.fromkeys([line.sku for line in lines[1:]])) if len(lines) > 1 else (),
        )
        impact = None if verdict == "right" else self._book.impact(event.order_id)
        shown = _JSON.encode(route).decode()
        out.tallies.append(Tally(ROUTE, ALLOCATIONS, arrived.arrival_us, arrived.occurred_us, 1.0, 1.0, shown, impact))

    def _refused(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, ReservationRejected | TaskRejected)
        if event.order_id is not None:
            self._cases.heard(event.order_id, arrived.arrival_us).refused = True

    def _cancelled(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, OrderCancelled)
        if self._book.ends(event):
            self._cases.drop(event.order_id)
            return
        order = self._cases.get(event.order_id)
        if order is not None and event.line_id is not None:
            order.nodes.pop(event.line_id, None)

    def _dispatched(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, ShipmentDispatched)
        order = self._cases.get(event.order_id)
        if order is not None and not order.refused:
            self._cases.drop(event.order_id)
