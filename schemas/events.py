"""The canonical events: one frozen record for each type of the contract.

An event is what one message says, nothing derived. Unknown fields are ignored; ids are at most 128 bytes of
UTF-8; money is a decimal string; a quantity is a finite number. `occurred_at` is aware (has a zone).

`EVENT_TYPES` maps a type's name to its record and `TOPICS` to its topic; `Event` is their union, which is what
the decoder reads. The wire name of a record is its msgspec tag; `type_name` gives it back.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=128, description="Identifier, at most 128 bytes of UTF-8.")]
Money = Annotated[
    str,
    Meta(
        pattern=r"^-?[0-9]{1,14}(\.[0-9]{1,6})?$(?!\n)",
        description="Decimal amount as a string, never a float.",
    ),
]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217 code.")]
Quantity = Annotated[float, Meta(ge=-1e15, le=1e15, description="A finite number of units.")]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 with offset.")]
Label = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=4096)]
System = Literal["ecom", "pos", "marketplace", "oms", "wms", "tms", "erp", "crm", "supplier", "middleware"]


class EventBase(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", omit_defaults=True):
    """What every event carries."""

    event_id: Id
    source: Id
    system: System
    occurred_at: Time
    version: Literal[1] = 1
    recorded_at: Time | None = None
    correlation_id: Id | None = None
    channel: Label | None = None
    region: Label | None = None


# --- inventory ---------------------------------------------------------------------------------------------


class InventoryLevel(EventBase, frozen=True, kw_only=True, gc=False, tag="inventory.level"):
    """A system's stock of an item, as it believes it. `on_hand` is physical and includes what is reserved."""

    sku: Id
    node: Id
    on_hand: Quantity
    reserved: Quantity | None = None
    available: Quantity | None = None
    unit_cost: Money | None = None


class InventoryAdjusted(EventBase, frozen=True, kw_only=True, gc=False, tag="inventory.adjusted"):
    """A change of a system's stock of an item."""

    sku: Id
    node: Id
    delta: Quantity
    reason: Literal["sale", "pick", "receipt", "return", "transfer_in", "transfer_out", "damage", "count", "other"]
    reference: Id | None = None


# --- reservations ------------------------------------------------------------------------------------------


class _Reservation(EventBase, frozen=True, kw_only=True, gc=False):
    reservation_id: Id
    order_id: Id
    sku: Id
    node: Id
    qty: Quantity


class ReservationCreated(_Reservation, frozen=True, kw_only=True, gc=False, tag="reservation.created"):
    """Stock of a node is promised to an order."""

    line_id: Id | None = None
    expires_at: Time | None = None


class ReservationReleased(_Reservation, frozen=True, kw_only=True, gc=False, tag="reservation.released"):
    """The promise is given back."""

    reason: Text | None = None


class ReservationRejected(_Reservation, frozen=True, kw_only=True, gc=False, tag="reservation.rejected"):
    """The node refuses the reservation."""

    reason: Text | None = None


class ReservationConsumed(_Reservation, frozen=True, kw_only=True, gc=False, tag="reservation.consumed"):
    """The reserved stock left for the order."""

    reason: Text | None = None


# --- orders ------------------------------------------------------------------------------------------------


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


# --- fulfillment -------------------------------------------------------------------------------------------


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


# --- erp ---------------------------------------------------------------------------------------------------

PostingType = Literal[
    "goods_issue", "goods_receipt", "invoice", "payment", "credit_memo", "refund", "transfer", "reversal"
]


class PostingRecorded(EventBase, frozen=True, kw_only=True, gc=False, tag="posting.recorded"):
    """The ERP booked it. `reference` is the id of the case that the posting is about."""

    posting_id: Id
    posting_type: PostingType
    reference: Id
    order_id: Id | None = None
    amount: Money | None = None
    currency: Currency | None = None
    node: Id | None = None


class PostingFailed(EventBase, frozen=True, kw_only=True, gc=False, tag="posting.failed"):
    """The ERP refused the booking."""

    posting_type: PostingType
    reference: Id
    interface: Id
    error_code: Label
    message: Text | None = None


# --- supply ------------------------------------------------------------------------------------------------


class SupplyLine(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One line of a purchase order or of a document about it."""

    sku: Id
    qty: Quantity
    unit_cost: Money | None = None


class PoCreated(EventBase, frozen=True, kw_only=True, gc=False, tag="po.created"):
    """We ordered from a supplier."""

    po_id: Id
    supplier: Id
    node: Id | None = None
    expected_at: Time | None = None
    lines: list[SupplyLine] | None = None


class _SupplyDocument(EventBase, frozen=True, kw_only=True, gc=False):
    po_id: Id
    supplier: Id | None = None
    document_id: Id | None = None
    qty: Quantity | None = None
    amount: Money | None = None
    currency: Currency | None = None
    lines: list[SupplyLine] | None = None


class AsnReceived(_SupplyDocument, frozen=True, kw_only=True, gc=False, tag="asn.received"):
    """The supplier announced a delivery."""


class GoodsReceived(_SupplyDocument, frozen=True, kw_only=True, gc=False, tag="goods.received"):
    """The goods came."""


class SupplierInvoiceReceived(_SupplyDocument, frozen=True, kw_only=True, gc=False, tag="supplier_invoice.received"):
    """The supplier's invoice came."""


class SupplierInvoiceCleared(_SupplyDocument, frozen=True, kw_only=True, gc=False, tag="supplier_invoice.cleared"):
    """The supplier's invoice was paid."""


# --- commerce ----------------------------------------------------------------------------------------------


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


# --- integration -------------------------------------------------------------------------------------------


class CallCompleted(EventBase, frozen=True, kw_only=True, gc=False, tag="call.completed"):
    """One call over an interface between systems, and how it ended."""

    interface: Id
    status: Literal["ok", "transport_error", "schema_error", "rule_error", "downstream_error"]
    route: Label | None = None
    http_status: Annotated[int, Meta(ge=0, le=999)] | None = None
    latency_ms: Seconds | None = None
    case_id: Id | None = None


class QueueDepth(EventBase, frozen=True, kw_only=True, gc=False, tag="queue.depth"):
    """How much waits in a queue of the middleware."""

    queue: Id
    depth: Annotated[float, Meta(ge=0, le=1e15)]
    oldest_age_s: Seconds | None = None


# --- controls ----------------------------------------------------------------------------------------------


class _Control(EventBase, frozen=True, kw_only=True, gc=False):
    """What a person tells Andon. It goes through the log, so that a replay knows it when the live job did."""

    system: Literal["andon"]  # type: ignore[assignment] # no business system says this, and Andon no business fact
    created_by: Label
    comment: Text | None = None


class SilenceCreated(_Control, frozen=True, kw_only=True, gc=False, tag="silence.created"):
    """Alerts about what all of `matchers` fit are not to be told for a while; the same id again replaces it."""

    silence_id: Id
    matchers: list[Text]
    ends_at: Time
    starts_at: Time | None = None


class SilenceExpired(_Control, frozen=True, kw_only=True, gc=False, tag="silence.expired"):
    """The silence ends now."""

    silence_id: Id


class IncidentAcknowledged(_Control, frozen=True, kw_only=True, gc=False, tag="incident.acknowledged"):
    """Somebody sees to the incident: it need not be told again, until `until` where that is given."""

    incident_id: Id
    until: Time | None = None


class IncidentUnacknowledged(_Control, frozen=True, kw_only=True, gc=False, tag="incident.unacknowledged"):
    """Nobody sees to the incident any more."""

    incident_id: Id


Event: TypeAlias = (
    InventoryLevel
    | InventoryAdjusted
    | ReservationCreated
    | ReservationReleased
    | ReservationRejected
    | ReservationConsumed
    | OrderCreated
    | OrderApproved
    | OrderCancelled
    | OrderAllocated
    | OrderPromiseChanged
    | TaskQueued
    | TaskStarted
    | TaskCompleted
    | TaskRejected
    | ShipmentDispatched
    | ShipmentDelivered
    | ShipmentException
    | ReturnAuthorized
    | ReturnReceived
    | ReturnRestocked
    | PostingRecorded
    | PostingFailed
    | PoCreated
    | AsnReceived
    | GoodsReceived
    | SupplierInvoiceReceived
    | SupplierInvoiceCleared
    | PromotionStarted
    | PromotionEnded
    | PriceChanged
    | SaleRecorded
    | CallCompleted
    | QueueDepth
    | SilenceCreated
    | SilenceExpired
    | IncidentAcknowledged
    | IncidentUnacknowledged
)

TOPICS: dict[str, tuple[type[EventBase], ...]] = {
    "inventory": (InventoryLevel, InventoryAdjusted),
    "reservations": (ReservationCreated, ReservationReleased, ReservationRejected, ReservationConsumed),
    "orders": (OrderCreated, OrderApproved, OrderCancelled, OrderAllocated, OrderPromiseChanged),
    "fulfillment": (
        TaskQueued,
        TaskStarted,
        TaskCompleted,
        TaskRejected,
        ShipmentDispatched,
        ShipmentDelivered,
        ShipmentException,
        ReturnAuthorized,
        ReturnReceived,
        ReturnRestocked,
    ),
    "erp": (PostingRecorded, PostingFailed),
    "supply": (PoCreated, AsnReceived, GoodsReceived, SupplierInvoiceReceived, SupplierInvoiceCleared),
    "commerce": (PromotionStarted, PromotionEnded, PriceChanged, SaleRecorded),
    "integration": (CallCompleted, QueueDepth),
    "controls": (SilenceCreated, SilenceExpired, IncidentAcknowledged, IncidentUnacknowledged),
}

#: What people tell Andon, as against what the business does.
CONTROL_TOPIC = "controls"
CONTROL_TYPES: tuple[type[EventBase], ...] = TOPICS[CONTROL_TOPIC]
BUSINESS_TOPICS: tuple[str, ...] = tuple(topic for topic in TOPICS if topic != CONTROL_TOPIC)


def type_name(event: EventBase | type[EventBase]) -> str:
    """The wire name of an event or of its record, `order.created`."""
    return str(event.__struct_config__.tag)


EVENT_TYPES: dict[str, type[EventBase]] = {
    type_name(record): record for records in TOPICS.values() for record in records
}
TOPIC_OF: dict[str, str] = {type_name(record): topic for topic, records in TOPICS.items() for record in records}


class Arrived(msgspec.Struct, frozen=True, order=True, gc=False, array_like=True):
    """An event with its place in the log. Ordered by (arrival, topic, partition, offset): the order of processing.

    `arrival_us` is the arrival time, monotone within a partition; `occurred_us` the event time.
    """

    arrival_us: int
    topic: str
    partition: int
    offset: int
    occurred_us: int
    event: Event

    @property
    def position(self) -> tuple[int, str, int, int]:
        """What processing is ordered by; unique in a log."""
        return (self.arrival_us, self.topic, self.partition, self.offset)


def field_names(record: type[EventBase]) -> frozenset[str]:
    """The names of a record's fields on the wire (without `type`)."""
    return frozenset(record.__struct_fields__)


def field_of(event: Any, name: str) -> str:  # noqa: ANN401 - any event; the name says which field
    """The text of an event's field `name`, empty where the event has none."""
    value = getattr(event, name, None)
    return "" if value is None else str(value)
