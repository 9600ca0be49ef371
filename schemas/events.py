"""The canonical events: one frozen record for each type of the contract, each in the module of its topic.

An event is what one message says, nothing derived. Unknown fields are ignored; ids are at most 128 bytes of
UTF-8; money is a decimal string; a quantity is a finite number. `occurred_at` is aware (has a zone).

`EVENT_TYPES` maps a type's name to its record and `TOPICS` to its topic; `Event` is their union, which is what
the decoder reads. The wire name of a record is its msgspec tag; `type_name` gives it back.
"""

from typing import Any, TypeAlias

import msgspec

from schemas.topics.base import Currency, EventBase, Id, Label, Money, Quantity, Seconds, System, Text, Time
from schemas.topics.commerce import PriceChanged, PromotionEnded, PromotionStarted, SaleRecorded
from schemas.topics.controls import IncidentAcknowledged, IncidentUnacknowledged, SilenceCreated, SilenceExpired
from schemas.topics.erp import PostingFailed, PostingRecorded, PostingType
from schemas.topics.fulfillment import (
    ReturnAuthorized,
    ReturnReceived,
    ReturnRestocked,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentException,
    ShipmentLine,
    TaskCompleted,
    TaskQueued,
    TaskRejected,
    TaskStarted,
)
from schemas.topics.integration import CallCompleted, QueueDepth
from schemas.topics.inventory import InventoryAdjusted, InventoryLevel
from schemas.topics.orders import (
    OrderAllocated,
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderLine,
    OrderPromiseChanged,
)
from schemas.topics.reservations import (
    ReservationConsumed,
    ReservationCreated,
    ReservationRejected,
    ReservationReleased,
)
from schemas.topics.supply import (
    AsnReceived,
    GoodsReceived,
    PoCreated,
    SupplierInvoiceCleared,
    SupplierInvoiceReceived,
    SupplyLine,
)

__all__ = [
    "BUSINESS_TOPICS",
    "CONTROL_TOPIC",
    "CONTROL_TYPES",
    "EVENT_TYPES",
    "TOPICS",
    "TOPIC_OF",
    "Arrived",
    "AsnReceived",
    "CallCompleted",
    "Currency",
    "Event",
    "EventBase",
    "GoodsReceived",
    "Id",
    "IncidentAcknowledged",
    "IncidentUnacknowledged",
    "InventoryAdjusted",
    "InventoryLevel",
    "Label",
    "Money",
    "OrderAllocated",
    "OrderApproved",
    "OrderCancelled",
    "OrderCreated",
    "OrderLine",
    "OrderPromiseChanged",
    "PoCreated",
    "PostingFailed",
    "PostingRecorded",
    "PostingType",
    "PriceChanged",
    "PromotionEnded",
    "PromotionStarted",
    "Quantity",
    "QueueDepth",
    "ReservationConsumed",
    "ReservationCreated",
    "ReservationRejected",
    "ReservationReleased",
    "ReturnAuthorized",
    "ReturnReceived",
    "ReturnRestocked",
    "SaleRecorded",
    "Seconds",
    "ShipmentDelivered",
    "ShipmentDispatched",
    "ShipmentException",
    "ShipmentLine",
    "SilenceCreated",
    "SilenceExpired",
    "SupplierInvoiceCleared",
    "SupplierInvoiceReceived",
    "SupplyLine",
    "System",
    "TaskCompleted",
    "TaskQueued",
    "TaskRejected",
    "TaskStarted",
    "Text",
    "Time",
    "field_names",
    "field_of",
    "type_name",
]

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
