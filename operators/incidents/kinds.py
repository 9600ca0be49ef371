"""What is known of each kind of breakdown: how directly it shows itself, and how long it holds up what it touches."""

from collections.abc import Mapping

import msgspec

from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US


class Kind(msgspec.Struct, frozen=True):
    """One kind.

    `direct` says how near a finding of this kind is to what is broken itself, from 0 (it may have many reasons) to 1
    (the broken thing was seen failing); `direct_where` says so for findings whose scope has a field. `shows` is what is
    seen. `holds_s` is how long an order is held up usually, before anything was learnt (the median; 80 % lie between a
    quarter and four times of it). None: it delays no order.
    """

    direct: float
    shows: str
    holds_s: float | None = None
    direct_where: Mapping[str, float] = {}


_MINUTE, _HOUR, _DAY = MINUTE_US / SECOND_US, HOUR_US / SECOND_US, DAY_US / SECOND_US

#: The kinds of DESIGN's truth format. One that is not here is taken for one that has many reasons.
KINDS: Mapping[str, Kind] = {
    "queue_saturation": Kind(0.7, "messages come late", _HOUR, {"queue": 1.0}),
    "downstream_outage": Kind(1.0, "calls fail behind the interface", 45 * _MINUTE),
    "transport_fault": Kind(1.0, "calls fail on the way", 45 * _MINUTE),
    "schema_change": Kind(0.9, "messages don't have the agreed form", 2 * _HOUR, {"interface": 1.0}),
    "rule_failure": Kind(0.8, "calls are refused by a business rule", 2 * _HOUR),
    "clock_skew": Kind(0.9, "times of a source are off"),
    "feed_stopped": Kind(0.8, "a feed says nothing any more", 2 * _HOUR),
    "posting_interface_down": Kind(0.5, "postings stop", None, {"error_code": 1.0}),
    "posting_missing": Kind(0.3, "postings don't come"),
    "adjustments_lost": Kind(0.4, "one system did not hear of changes of stock", 4 * _HOUR),
    "phantom_stock": Kind(0.4, "goods are not where systems have them", 4 * _HOUR),
    "oversell": Kind(0.3, "more was sold than is there", 8 * _HOUR),
    "picking_backlog": Kind(0.5, "tasks wait", 4 * _HOUR),
    "misrouting": Kind(0.4, "orders go to other nodes than expected", 8 * _HOUR),
    "duplicate_orders": Kind(0.7, "orders come twice"),
    "incomplete_orders": Kind(0.7, "orders lack what the business needs", 2 * _HOUR),
    "refund_lag": Kind(0.3, "refunds wait"),
    "refund_without_receipt": Kind(0.6, "refunds without goods"),
    "return_surge": Kind(0.5, "returns of one item"),
    "supplier_delay": Kind(0.6, "a supplier delivers late", 2 * _DAY),
    "supply_mismatch": Kind(0.6, "order, receipt and invoice differ"),
    "promotion_without_stock": Kind(0.8, "a promotion whose goods are not there", _DAY),
    "stockout_risk": Kind(0.4, "stock runs out before more comes", _DAY),
    "carrier_delay": Kind(0.6, "a carrier delivers late", _DAY),
    "price_error": Kind(0.9, "a wrong price was sold at"),
    "margin_leak": Kind(0.4, "sold below cost, or at a loss on freight"),
}

_UNKNOWN = Kind(0.3, "", 4 * _HOUR)


def kind_of(name: str) -> Kind:
    """What is known of a kind."""
    return KINDS.get(name, _UNKNOWN)


def directness(name: str, scope: Mapping[str, str]) -> float:
    """How near a finding is to what is broken itself, from 0 to 1."""
    kind = kind_of(name)
    return max([kind.direct, *(value for field, value in kind.direct_where.items() if field in scope)])
