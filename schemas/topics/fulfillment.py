"""Topic `fulfillment`: tasks in the nodes, shipments, and returns."""

from typing import Literal

import msgspec

from schemas.topics.base import Currency, EventBase, Id, Money, Quantity, Text, Time


class _Task(EventBase, frozen=True, kw_only=True, gc=False):
    task_id: Id
    task_type: Literal["pick", "pack", "wave", "putaway", "ship"]
    node: Id
    order_id: Id | None = None
    sku: Id | None = None
    qty: Quantity | None = None
    reason: Text | None = None


class TaskQueued(_Task, frozen=True, kw_only=True, gc=False, tag="task.queued"):
    """A node has been told to do it."""


class TaskStarted(_Task, frozen=True, kw_only=True, gc=False, tag="task.started"):
    """Somebody began."""


class TaskCompleted(_Task, frozen=True, kw_only=True, gc=False, tag="task.completed"):
    """It is done."""


class TaskRejected(_Task, frozen=True, kw_only=True, gc=False, tag="task.rejected"):
    """It could not be done (pick short)."""


class ShipmentLine(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Part of an order line in a shipment."""

    line_id: Id
    sku: Id
    qty: Quantity


class _Shipment(EventBase, frozen=True, kw_only=True, gc=False):
    shipment_id: Id
    order_id: Id
    node: Id | None = None
    carrier: Id | None = None
    reason: Text | None = None
    expected_at: Time | None = None
    lines: list[ShipmentLine] | None = None


class ShipmentDispatched(_Shipment, frozen=True, kw_only=True, gc=False, tag="shipment.dispatched"):
    """Handed to the carrier, who charges `freight_cost` for it."""

    freight_cost: Money | None = None
    currency: Currency | None = None


class ShipmentDelivered(_Shipment, frozen=True, kw_only=True, gc=False, tag="shipment.delivered"):
    """With the customer."""


class ShipmentException(_Shipment, frozen=True, kw_only=True, gc=False, tag="shipment.exception"):
    """The carrier met an obstacle (failed delivery, damage, wrong address)."""


class _Return(EventBase, frozen=True, kw_only=True, gc=False):
    return_id: Id
    order_id: Id
    sku: Id | None = None
    qty: Quantity | None = None
    node: Id | None = None
    reason: Text | None = None
    amount: Money | None = None
    currency: Currency | None = None


class ReturnAuthorized(_Return, frozen=True, kw_only=True, gc=False, tag="return.authorized"):
    """The customer may send it back."""


class ReturnReceived(_Return, frozen=True, kw_only=True, gc=False, tag="return.received"):
    """It has come back."""


class ReturnRestocked(_Return, frozen=True, kw_only=True, gc=False, tag="return.restocked"):
    """It can be sold again."""
