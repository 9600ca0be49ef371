"""All detectors: by key space for the first parts, in one list for the second. Add yours here."""

from operators.detectors.adjustments import AdjustmentsLost
from operators.detectors.calls import CallFailures, Calls
from operators.detectors.carriers import Parcels, carrier_judges
from operators.detectors.case_findings import CaseFindings
from operators.detectors.clocks import ClockWatch
from operators.detectors.cover import SkuWatch
from operators.detectors.delays import LateOrders, LateWatch
from operators.detectors.demand import Demand
from operators.detectors.duplicates import RepeatedOrders, SameContent, duplicate_watch
from operators.detectors.events import EventDetector
from operators.detectors.freight import Freight
from operators.detectors.incomplete import IncompleteOrders, incomplete_watch
from operators.detectors.integration import refused_watch
from operators.detectors.integration_feeds import StoppedFeeds
from operators.detectors.inventory import Inventory
from operators.detectors.margin import margin_judges
from operators.detectors.order_book import OrderBook
from operators.detectors.order_flow import OrderFlow
from operators.detectors.oversell import Unfilled
from operators.detectors.phantom import PhantomStock, PickShorts
from operators.detectors.picking import Picks, warehouse_judges
from operators.detectors.prices import Prices, PublishedPrices
from operators.detectors.queues import Queues, QueueWatch
from operators.detectors.returns import Returns, return_judges
from operators.detectors.routing import Routes
from operators.detectors.routing_watch import routing_judges
from operators.detectors.scopes import ScopeDetector
from operators.detectors.settings import DetectorSettings
from operators.detectors.settlement import settlement_judges, settlement_parts
from operators.detectors.supply import Supply, supply_judges
from operators.process_map import ProcessMap
from operators.promise_path import promise_path


def case_detectors(settings: DetectorSettings, process: ProcessMap, currency: str = "") -> list[EventDetector]:
    """Those that see the events of cases, the order book before those that ask it.

    `currency` is that of costs, where events don't say one. What holds an event against what was known before it stands
    before the book: repeats, freight, and what is left of an order that is cancelled.
    """
    if not settings.enabled:
        return []
    book = OrderBook(settings.order_retention, promise_path(process))
    repeated, late = RepeatedOrders(book), LateOrders(settings.integration.delays, book)
    return [
        repeated,
        Freight(book, settings.policy("margin.freight")),
        OrderFlow(book),
        book,
        CaseFindings(book, process),
        late,
        Prices(book),
        Routes(book, settings.routing.retention),
        Picks(book, settings.warehouse.remembered),
        Parcels(book, settings.carriers.remembered),
        *settlement_parts(settings.settlement, book),
        Returns(settings.returns),
        Supply(settings.supply, currency),
        PickShorts(book),
        Unfilled(book),
    ]


def item_detectors(settings: DetectorSettings) -> list[EventDetector]:
    """Those that see the events of items (stock, reservations, sales)."""
    return [Inventory(settings.inventory.lag)] if settings.enabled else []


def interface_detectors(settings: DetectorSettings) -> list[EventDetector]:
    """Those that see what belongs to no case and no item (calls, queues, prices), and all orders at capture."""
    if not settings.enabled:
        return []
    capture = settings.policy("capture")
    return [
        SameContent(settings.capture.within),
        IncompleteOrders(capture),
        Calls(),
        Queues(),
        PublishedPrices(),
        Demand(settings.demand.surge),
    ]


def scope_detectors(settings: DetectorSettings, currency: str = "") -> list[ScopeDetector]:
    """Those that judge counts by scope. `currency` is that of costs, where events don't say one."""
    if not settings.enabled:
        return []
    policy = settings.policy
    return [
        duplicate_watch(policy("capture.duplicates")),
        incomplete_watch(policy("capture.incomplete")),
        CallFailures(policy("integration.calls"), policy("integration.calls.rate")),
        refused_watch(policy("integration.refused")),
        QueueWatch(policy("integration.queues")),
        LateWatch(settings.integration.delays, policy("integration.delays.rate")),
        ClockWatch(),
        StoppedFeeds(),
        *routing_judges(policy("routing.elsewhere"), policy("routing.late")),
        *warehouse_judges(policy("warehouse.backlog")),
        *carrier_judges(policy("carriers.late"), policy("carriers.exceptions")),
        *settlement_judges(policy("settlement.failures"), policy("settlement.missing")),
        *return_judges(
            policy("returns.refund_lag"), policy("returns.surge"), policy("returns.without_receipt"), settings.returns
        ),
        *margin_judges(
            policy("margin.price"), policy("margin.below_cost"), policy("margin.freight"), policy("margin.freight_over")
        ),
        *supply_judges(policy("supply.late"), policy("supply.unannounced"), policy("supply.mismatch")),
        AdjustmentsLost(policy("inventory.lost"), currency),
        PhantomStock(policy("inventory.phantom"), currency),
        SkuWatch(policy("demand.cover")),
    ]


def read_metrics(settings: DetectorSettings) -> frozenset[str]:
    """The metrics that any second part judges: what the first parts count of others would be thrown away."""
    return frozenset(metric for detector in scope_detectors(settings) for metric in detector.METRICS)
