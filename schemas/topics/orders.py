"""Topic `orders`: orders, from their creation to their allocation."""

import msgspec

from schemas.topics.base import Currency, EventBase, Id, Money, Quantity, Text, Time


class OrderLine(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One line of an order."""

    line_id: Id
    sku: Id
    qty: Quantity
    unit_price: Money | None = None
    unit_cost: Money | None = None


class OrderCreated(EventBase, frozen=True, kw_only=True, gc=False, tag="order.created"):
    """A customer ordered. `freight_charged` is what the customer pays for its shipping, 0 where it is free."""

    order_id: Id
    lines: list[OrderLine]
    customer_id: Id | None = None
    currency: Currency | None = None
    total: Money | None = None
    promised_at: Time | None = None
    dispatch_by: Time | None = None
    idempotency_key: Id | None = None
    freight_charged: Money | None = None


class OrderApproved(EventBase, frozen=True, kw_only=True, gc=False, tag="order.approved"):
    """The order (or one line) may be fulfilled: payment and fraud checks passed."""

    order_id: Id
    line_id: Id | None = None
    reason: Text | None = None


class OrderCancelled(EventBase, frozen=True, kw_only=True, gc=False, tag="order.cancelled"):
    """The order (or one line) will not be fulfilled."""

    order_id: Id
    line_id: Id | None = None
    reason: Text | None = None


class OrderAllocated(EventBase, frozen=True, kw_only=True, gc=False, tag="order.allocated"):
    """A node is to fulfil the order (or one line)."""

    order_id: Id
    node: Id
    line_id: Id | None = None
    expected_node: Id | None = None
    reservation_id: Id | None = None


class OrderPromiseChanged(EventBase, frozen=True, kw_only=True, gc=False, tag="order.promise_changed"):
    """The customer was given another promise."""

    order_id: Id
    promised_at: Time
