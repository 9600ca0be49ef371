"""Shopify's webhooks as canonical events (docs/adapters.md says of each topic what becomes of it, and why).

A record is a delivery (deliveries.py). The source is the shop's domain, the system `ecom`. What happened is told apart
by the id of Shopify's event (`X-Shopify-Event-Id`, which repeated deliveries share; else `X-Shopify-Webhook-Id`), the
topic and the resource, since one action of a merchant gives several resources and topics the same event id.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from schemas.adapters.deliveries import Delivery, Reader, as_far_as_told, by_topic
from schemas.adapters.fields import write_money
from schemas.adapters.records import Adapted, Adapter, RecordError, Skipped
from schemas.events import (
    Currency,
    EventBase,
    Money,
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderLine,
    PostingRecorded,
    Quantity,
    ReturnReceived,
    ReturnRestocked,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentException,
    ShipmentLine,
    Time,
)

ShopifyId = Annotated[int, Meta(ge=0, le=2**63 - 1)]

#: What a carrier's `shipment_status` says of a shipment; the others tell of its way.
_DELIVERED: Final = ("delivered", "picked_up")
_OBSTACLE: Final = ("attempted_delivery", "failure", "delayed")
#: What the `status` of a fulfillment says when it will not be shipped.
_NOT_SHIPPED: Final = ("cancelled", "error", "failure")
_WAITING: Final = ("pending", "open")


class _ShopMoney(msgspec.Struct, frozen=True):
    amount: Money
    currency_code: Currency


class _MoneySet(msgspec.Struct, frozen=True):
    shop_money: _ShopMoney


class _LineItem(msgspec.Struct, frozen=True):
    id: ShopifyId
    quantity: Quantity
    sku: str | None = None
    variant_id: ShopifyId | None = None
    price: Money | None = None

    @property
    def item(self) -> str:
        """Its SKU; an item that was given none is known by its variant, one without a variant by the line."""
        if self.sku and self.sku.strip():
            return self.sku.strip()
        return f"line-{self.id}" if self.variant_id is None else f"variant-{self.variant_id}"


class _Customer(msgspec.Struct, frozen=True):
    id: ShopifyId | None = None


class _Address(msgspec.Struct, frozen=True):
    country_code: str | None = None


class _Order(msgspec.Struct, frozen=True):
    id: ShopifyId
    line_items: list[_LineItem]
    created_at: Time
    currency: Currency | None = None
    total_price: Money | None = None
    total_shipping_price_set: _MoneySet | None = None
    customer: _Customer | None = None
    shipping_address: _Address | None = None
    source_name: str | None = None
    checkout_token: str | None = None
    test: bool | None = None

    @property
    def region(self) -> str | None:
        """The country it goes to."""
        return (self.shipping_address.country_code if self.shipping_address else None) or None


class _OrderState(msgspec.Struct, frozen=True):
    """What is read of an order that existed before."""

    id: ShopifyId
    updated_at: Time
    cancelled_at: Time | None = None
    cancel_reason: str | None = None
    test: bool | None = None


class _Fulfillment(msgspec.Struct, frozen=True):
    id: ShopifyId
    order_id: ShopifyId
    created_at: Time
    updated_at: Time
    status: str
    shipment_status: str | None = None
    tracking_company: str | None = None
    location_id: ShopifyId | None = None
    line_items: list[_LineItem] = []


class _FulfillmentEvent(msgspec.Struct, frozen=True):
    id: ShopifyId
    fulfillment_id: ShopifyId
    order_id: ShopifyId
    status: str
    happened_at: Time


class _RefundLine(msgspec.Struct, frozen=True):
    line_item: _LineItem
    quantity: Quantity
    restock_type: str | None = None
    location_id: ShopifyId | None = None


class _Transaction(msgspec.Struct, frozen=True):
    kind: str
    status: str
    amount: Money
    currency: Currency


class _Return(msgspec.Struct, frozen=True):
    id: ShopifyId


class _Refund(msgspec.Struct, frozen=True, rename={"of_return": "return"}):
    id: ShopifyId
    order_id: ShopifyId
    created_at: Time
    processed_at: Time | None = None
    refund_line_items: list[_RefundLine] = []
    transactions: list[_Transaction] = []
    of_return: _Return | None = None


def _base(delivery: Delivery, resource: ShopifyId, occurred_at: datetime, part: str = "") -> dict[str, Any]:
    """What every event of a delivery carries."""
    event = delivery.needed("X-Shopify-Event-Id", "X-Shopify-Webhook-Id")
    return {
        "event_id": f"{event}/{_topic(delivery)}/{resource}{part}",
        "source": delivery.needed("X-Shopify-Shop-Domain").lower(),
        "system": "ecom",
        "occurred_at": occurred_at,
        "recorded_at": delivery.received_at,
        "correlation_id": delivery.header("X-Shopify-Event-Id") or None,
    }


def _topic(delivery: Delivery) -> str:
    return delivery.needed("X-Shopify-Topic")


def _order_created(delivery: Delivery) -> Adapted:
    order = delivery.read(_Order)
    if order.test:
        return Skipped("orders/create of a test order")
    lines = [
        OrderLine(line_id=str(line.id), sku=line.item, qty=line.quantity, unit_price=line.price)
        for line in order.line_items
    ]
    shipping = order.total_shipping_price_set
    customer = order.customer.id if order.customer else None
    return [
        OrderCreated(
            **_base(delivery, order.id, order.created_at),
            channel=order.source_name or None,
            region=order.region,
            order_id=str(order.id),
            lines=lines,
            customer_id=None if customer is None else str(customer),
            currency=order.currency,
            total=order.total_price,
            idempotency_key=order.checkout_token or None,
            freight_charged=shipping.shop_money.amount
            if shipping and shipping.shop_money.currency_code == order.currency
            else None,
        )
    ]


def _order_paid(delivery: Delivery) -> Adapted:
    order = delivery.read(_OrderState)
    if order.test:
        return Skipped("orders/paid of a test order")
    paid_at = delivery.moment("X-Shopify-Triggered-At") or order.updated_at
    return [OrderApproved(**_base(delivery, order.id, paid_at), order_id=str(order.id), reason="paid")]


def _order_cancelled(delivery: Delivery) -> Adapted:
    order = delivery.read(_OrderState)
    if order.test:
        return Skipped("orders/cancelled of a test order")
    if order.cancelled_at is None:
        raise RecordError("$.body.cancelled_at", "schema", "is missing, and the order is said to be cancelled")
    return [
        OrderCancelled(
            **_base(delivery, order.id, order.cancelled_at), order_id=str(order.id), reason=order.cancel_reason or None
        )
    ]


def _shipment(fulfillment: _Fulfillment) -> dict[str, Any]:
    node = fulfillment.location_id
    return {
        "shipment_id": str(fulfillment.id),
        "order_id": str(fulfillment.order_id),
        "node": None if node is None else str(node),
        "carrier": fulfillment.tracking_company or None,
    }


def _fulfillment_created(delivery: Delivery) -> Adapted:
    made = delivery.read(_Fulfillment)
    if made.status in _WAITING:
        return Skipped(f"fulfillments/create with status {made.status}")
    base = _base(delivery, made.id, made.created_at)
    if made.status in _NOT_SHIPPED:
        return [ShipmentException(**base, **_shipment(made), reason=made.status)]
    lines = [ShipmentLine(line_id=str(line.id), sku=line.item, qty=line.quantity) for line in made.line_items]
    return [ShipmentDispatched(**base, **_shipment(made), lines=lines or None)]


def _fulfillment_updated(delivery: Delivery) -> Adapted:
    made = delivery.read(_Fulfillment)
    base = _base(delivery, made.id, made.updated_at)
    if made.status in _NOT_SHIPPED:
        return [ShipmentException(**base, **_shipment(made), reason=made.status)]
    if made.shipment_status in _DELIVERED:
        base["event_id"] = _delivered_id(made.id)
        return [ShipmentDelivered(**base, **_shipment(made), reason=made.shipment_status)]
    if made.shipment_status in _OBSTACLE:
        return [ShipmentException(**base, **_shipment(made), reason=made.shipment_status)]
    return Skipped("fulfillments/update of a shipment that is under way")


def _fulfillment_event(delivery: Delivery) -> Adapted:
    seen = delivery.read(_FulfillmentEvent)
    base = _base(delivery, seen.id, seen.happened_at)
    shipment: dict[str, Any] = {
        "shipment_id": str(seen.fulfillment_id),
        "order_id": str(seen.order_id),
        "reason": seen.status,
    }
    if seen.status in _DELIVERED:
        return [ShipmentDelivered(**base | {"event_id": _delivered_id(seen.fulfillment_id)}, **shipment)]
    if seen.status in _OBSTACLE:
        return [ShipmentException(**base, **shipment)]
    return Skipped("fulfillment_events/create of a shipment that is under way")


def _delivered_id(fulfillment: ShopifyId) -> str:
    """A shipment is delivered once: every update after that says so again, and both topics do."""
    return f"fulfillments/{fulfillment}/delivered"


def _refund_created(delivery: Delivery) -> Adapted:
    refund = delivery.read(_Refund)
    at = refund.processed_at or refund.created_at
    order_id = str(refund.order_id)
    return_id = str(refund.of_return.id if refund.of_return else refund.id)
    case: dict[str, Any] = {"return_id": return_id, "order_id": order_id}
    made: list[EventBase] = []
    lines = refund.refund_line_items
    back = [line for line in lines if line.restock_type == "return"]
    if back:
        made.append(ReturnReceived(**_base(delivery, refund.id, at, "/received"), **case, node=_node(back[0])))
    made += [
        ReturnRestocked(
            **_base(delivery, refund.id, at, f"/restocked-{number}"),
            **case,
            sku=line.line_item.item,
            qty=line.quantity,
            node=_node(line),
        )
        for number, line in enumerate(back, 1)
    ]
    paid = [one for one in refund.transactions if one.kind == "refund" and one.status == "success"]
    never_shipped = bool(lines) and all(line.restock_type == "cancel" for line in lines)
    for number, currency in enumerate(dict.fromkeys(one.currency for one in paid), 1):
        made.append(
            PostingRecorded(
                **_base(delivery, refund.id, at, f"/posted-{number}"),
                posting_id=f"{refund.id}-{currency}",
                posting_type="reversal" if never_shipped else "refund",
                reference=order_id if never_shipped else return_id,
                order_id=order_id,
                amount=_total(paid, currency),
                currency=currency,
            )
        )
    return made or Skipped("refunds/create of which nothing was paid out or came back")


def _total(paid: Sequence[_Transaction], currency: str) -> str:
    try:
        return write_money(sum((Decimal(one.amount) for one in paid if one.currency == currency), Decimal()))
    except ValueError as error:
        raise RecordError("$.body.transactions", "schema", str(error)) from None


def _node(line: _RefundLine) -> str | None:
    return None if line.location_id is None else str(line.location_id)


_TOPICS: Mapping[str, Reader] = {
    "orders/create": _order_created,
    "orders/paid": _order_paid,
    "orders/cancelled": _order_cancelled,
    "fulfillments/create": _fulfillment_created,
    "fulfillments/update": _fulfillment_updated,
    "fulfillment_events/create": _fulfillment_event,
    "refunds/create": _refund_created,
}


SHOPIFY: Final = Adapter(
    name="shopify",
    title="Shopify's webhooks, one delivery a line",
    version=1,
    process_map="webshop",
    adapt=by_topic(_topic, _TOPICS),
    source_of=as_far_as_told(lambda delivery: delivery.header("X-Shopify-Shop-Domain").lower()),
)
