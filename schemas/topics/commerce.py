"""Topic `commerce`: promotions, prices, and sales over the counter."""

from schemas.topics.base import Currency, EventBase, Id, Money, Quantity


class _Promotion(EventBase, frozen=True, kw_only=True, gc=False):
    promotion_id: Id
    skus: list[Id]


class PromotionStarted(_Promotion, frozen=True, kw_only=True, gc=False, tag="promotion.started"):
    """A promotion is on."""


class PromotionEnded(_Promotion, frozen=True, kw_only=True, gc=False, tag="promotion.ended"):
    """A promotion is over."""


class PriceChanged(EventBase, frozen=True, kw_only=True, gc=False, tag="price.changed"):
    """An item has another price."""

    sku: Id
    price: Money
    currency: Currency


class SaleRecorded(EventBase, frozen=True, kw_only=True, gc=False, tag="sale.recorded"):
    """Sold over the counter (or a line of a bill)."""

    sku: Id
    node: Id
    qty: Quantity
    unit_price: Money | None = None
    currency: Currency | None = None
