"""Saleor's webhooks with its default payloads as canonical events (docs/adapters.md says of each what becomes of it).

A record is a delivery (deliveries.py), its body the list of one object that Saleor sends where a webhook has no
subscription query. The source is the shop's domain, the system `ecom`. Saleor gives a delivery no id of its own: the
event, the object and when the payload was made (`meta.issued_at`, the same in a repeated delivery) are its id.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from schemas.adapters.deliveries import Delivery, Reader, as_far_as_told, by_topic
from schemas.adapters.fields import read_money
from schemas.adapters.records import Adapted, Adapter, RecordError, Skipped
from schemas.events import (
    Currency,
    EventBase,
    OrderAllocated,
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderLine,
    Quantity,
    ShipmentDispatched,
    ShipmentException,
    Time,
)

T = TypeVar("T")


class _Meta(msgspec.Struct, frozen=True):
    issued_at: Time | None = None


class _Channel(msgspec.Struct, frozen=True):
    slug: str | None = None
    currency_code: Currency | None = None


class _Address(msgspec.Struct, frozen=True):
    country: str | None = None


class _Allocation(msgspec.Struct, frozen=True):
    warehouse_id: str


class _Line(msgspec.Struct, frozen=True):
    id: str
    quantity: Quantity
    product_sku: str | None = None
    product_variant_id: str | None = None
    unit_price_gross_amount: str | float | None = None
    currency: Currency | None = None
    allocations: list[_Allocation] = []


class _Order(msgspec.Struct, frozen=True):
    id: str
    created: Time
    lines: list[_Line] = []
    channel: _Channel | None = None
    user_email: str | None = None
    total_gross_amount: str | float | None = None
    shipping_price_gross_amount: str | float | None = None
    shipping_address: _Address | None = None
    meta: _Meta | None = None

    @property
    def currency(self) -> str | None:
        """That of the channel, else of the lines."""
        if self.channel is not None and self.channel.currency_code is not None:
            return self.channel.currency_code
        return next((line.currency for line in self.lines if line.currency is not None), None)


class _FulfillmentLine(msgspec.Struct, frozen=True):
    warehouse_id: str | None = None


class _OfOrder(msgspec.Struct, frozen=True):
    id: str


class _Fulfillment(msgspec.Struct, frozen=True):
    id: str
    order: _OfOrder
    status: str | None = None
    lines: list[_FulfillmentLine] = []
    meta: _Meta | None = None


def _only(delivery: Delivery, kind: type[T]) -> T:
    """The one object of the body's list.

    Raises:
        RecordError: there is none, or there are several.
    """
    found = delivery.read(list[kind])  # type: ignore[valid-type] # a type made at run time
    if len(found) != 1:
        detail = f"holds {len(found)} objects, not the one of Saleor's default payload"
        raise RecordError("$.body", "schema", detail)
    only: T = found[0]
    return only


def _base(delivery: Delivery, made: _Order | _Fulfillment, at: datetime | None) -> dict[str, Any]:
    """What every event of a delivery carries; without `at` it happened when the payload was made.

    Raises:
        RecordError: nothing says which shop it is from, or when it happened.
    """
    issued_at = made.meta.issued_at if made.meta else None
    occurred_at = at or issued_at or delivery.received_at
    if occurred_at is None:
        raise RecordError("$.body[0].meta.issued_at", "schema", "is missing (nor is received_at in the delivery)")
    source = _source(delivery)
    if not source:
        raise RecordError("$.headers.Saleor-Domain", "schema", "is missing (nor is Saleor-Api-Url)")
    said = issued_at.isoformat() if issued_at else hashlib.blake2b(bytes(delivery.body), digest_size=12).hexdigest()
    return {
        "event_id": f"{_event(delivery)}/{made.id}/{said}",
        "source": source,
        "system": "ecom",
        "occurred_at": occurred_at,
        "recorded_at": delivery.received_at,
    }


def _event(delivery: Delivery) -> str:
    return delivery.needed("Saleor-Event", "X-Saleor-Event").lower()


def _source(delivery: Delivery) -> str:
    domain = delivery.header("Saleor-Domain", "X-Saleor-Domain")
    if domain:
        return domain.lower()
    try:
        return urlsplit(delivery.header("Saleor-Api-Url")).hostname or ""
    except ValueError:  # brackets that are no IPv6 address
        return ""


def _order_created(delivery: Delivery) -> Adapted:
    order = _only(delivery, _Order)
    lines = [
        OrderLine(
            line_id=line.id,
            sku=line.product_sku or line.product_variant_id or line.id,
            qty=line.quantity,
            unit_price=_money(line.unit_price_gross_amount, f"lines[{number}].unit_price_gross_amount"),
        )
        for number, line in enumerate(order.lines)
    ]
    return [
        OrderCreated(
            **_base(delivery, order, order.created),
            order_id=order.id,
            lines=lines,
            customer_id=_pseudonym(order.user_email),
            currency=order.currency,
            total=_money(order.total_gross_amount, "total_gross_amount"),
            freight_charged=_money(order.shipping_price_gross_amount, "shipping_price_gross_amount"),
            channel=(order.channel.slug if order.channel else None) or None,
            region=(order.shipping_address.country if order.shipping_address else None) or None,
        )
    ]


def _order_confirmed(delivery: Delivery) -> Adapted:
    order = _only(delivery, _Order)
    base = _base(delivery, order, None)
    nodes = dict.fromkeys(allocation.warehouse_id for line in order.lines for allocation in line.allocations)
    made: list[EventBase] = [OrderApproved(**base, order_id=order.id, reason="confirmed")]
    made += [
        OrderAllocated(**base | {"event_id": f"{base['event_id']}/{number}"}, order_id=order.id, node=node)
        for number, node in enumerate(nodes, 1)
    ]
    return made


def _order_cancelled(delivery: Delivery) -> Adapted:
    order = _only(delivery, _Order)
    return [OrderCancelled(**_base(delivery, order, None), order_id=order.id)]


def _fulfillment_made(delivery: Delivery) -> Adapted:
    made = _only(delivery, _Fulfillment)
    if made.status == "waiting_for_approval":
        return Skipped(f"{_event(delivery)} that waits for approval")
    return [ShipmentDispatched(**_base(delivery, made, None), **_shipment(made))]


def _fulfillment_cancelled(delivery: Delivery) -> Adapted:
    made = _only(delivery, _Fulfillment)
    return [ShipmentException(**_base(delivery, made, None), **_shipment(made), reason="cancelled")]


def _shipment(made: _Fulfillment) -> dict[str, Any]:
    nodes = {line.warehouse_id for line in made.lines}
    return {
        "shipment_id": made.id,
        "order_id": made.order.id,
        "node": nodes.pop() if len(nodes) == 1 else None,
    }


def _money(amount: str | float | None, path: str) -> str | None:
    try:
        return None if amount is None else read_money(str(amount))
    except ValueError as error:
        raise RecordError(f"$.body[0].{path}", "schema", str(error)) from None


def _pseudonym(email: str | None) -> str | None:
    """The same customer has the same id, and nobody reads an address in it."""
    if not email or not email.strip():
        return None
    return hashlib.blake2b(email.strip().lower().encode("utf-8", "replace"), digest_size=12).hexdigest()


_EVENTS: Mapping[str, Reader] = {
    "order_created": _order_created,
    "order_confirmed": _order_confirmed,
    "order_cancelled": _order_cancelled,
    "fulfillment_created": _fulfillment_made,
    "fulfillment_approved": _fulfillment_made,
    "fulfillment_canceled": _fulfillment_cancelled,
}


SALEOR: Final = Adapter(
    name="saleor",
    title="Saleor's webhooks with default payloads, one delivery a line",
    version=1,
    process_map="webshop",
    adapt=by_topic(_event, _EVENTS),
    source_of=as_far_as_told(_source),
)
