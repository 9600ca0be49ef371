"""All detectors: by key space for the first parts, in one list for the second. Add yours here."""

from operators.detectors.case_findings import CaseFindings
from operators.detectors.events import EventDetector
from operators.detectors.order_book import OrderBook
from operators.detectors.scopes import ScopeDetector
from operators.detectors.settings import DetectorSettings
from operators.process_map import ProcessMap


def case_detectors(settings: DetectorSettings, process: ProcessMap) -> list[EventDetector]:
    """Those that see the events of cases, the order book first: the others ask it."""
    book = OrderBook(settings.order_retention)
    return [book, CaseFindings(book, process)]


def item_detectors(settings: DetectorSettings) -> list[EventDetector]:
    """Those that see the events of items (stock, reservations, sales)."""
    del settings
    return []


def interface_detectors(settings: DetectorSettings) -> list[EventDetector]:
    """Those that see what belongs to no case and no item: calls, queues, prices, promotions; and dead letters."""
    del settings
    return []


def scope_detectors(settings: DetectorSettings) -> list[ScopeDetector]:
    """Those that judge counts by scope."""
    del settings
    return []
