"""GS1 EPCIS 2.0 ObjectEvents as canonical events (docs/adapters.md says of each business step what becomes of it).

A record is one event, out of an EPCISDocument or EPCISQueryDocument, a list, or a line of its own. The source is
`epcis`: an event says where it happened, not which system captured it. Other types of events make none: they say what
was put into or made of what, not what happened to a case.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, field

from schemas.adapters.gs1_ids import gln_of, gtin_of, sscc_of, term_of, transaction_of
from schemas.adapters.records import Adapted, Adapter, RecordError, Skipped
from schemas.events import (
    EventBase,
    GoodsReceived,
    InventoryLevel,
    ReturnReceived,
    SaleRecorded,
    ShipmentDispatched,
    SupplyLine,
    TaskCompleted,
    Time,
)

SOURCE: Final = "epcis"
_OTHER_EVENTS: Final = ("AggregationEvent", "AssociationEvent", "TransactionEvent", "TransformationEvent")
_DOCUMENTS: Final = ("EPCISDocument", "EPCISQueryDocument")

_Count = Annotated[float, Meta(ge=0, le=1e15)]


class _Place(msgspec.Struct, frozen=True):
    id: str


class _Quantity(msgspec.Struct, frozen=True, rename="camel"):
    epc_class: str
    quantity: _Count | None = None


class _Transaction(msgspec.Struct, frozen=True, rename="camel"):
    biz_transaction: str
    type: str = ""


class _Source(msgspec.Struct, frozen=True):
    type: str
    source: str


class ObjectEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is read of an ObjectEvent."""

    event_time: Time
    action: Literal["ADD", "OBSERVE", "DELETE"]
    event_id: str | None = field(default=None, name="eventID")
    record_time: Time | None = None
    biz_step: str | None = None
    read_point: _Place | None = None
    biz_location: _Place | None = None
    epc_list: list[str] = []
    quantity_list: list[_Quantity] = []
    biz_transaction_list: list[_Transaction] = []
    source_list: list[_Source] = []
    sensor_element_list: list[msgspec.Raw] = []
    error_declaration: msgspec.Raw = msgspec.Raw()

    def items(self) -> dict[str, float]:
        """How many of each trade item (GTIN, else the URI itself) it is about; logistic units are none.

        Raises:
            RecordError: a quantity is not said.
        """
        found: dict[str, float] = {}
        for epc in self.epc_list:
            if sscc_of(epc) is None:
                item = gtin_of(epc) or epc
                found[item] = found.get(item, 0) + 1
        for number, one in enumerate(self.quantity_list):
            if one.quantity is None:
                raise RecordError(f"$.quantityList[{number}].quantity", "schema", "is missing")
            item = gtin_of(one.epc_class) or one.epc_class
            found[item] = found.get(item, 0) + one.quantity
        return found

    def only_item(self) -> dict[str, Any]:
        """The item and how many of it, where it is about one alone."""
        items = self.items()
        return {"sku": next(iter(items)), "qty": next(iter(items.values()))} if len(items) == 1 else {}

    def documents(self, kind: str) -> list[str]:
        """The ids of its business transactions of a type, each once."""
        found = (transaction_of(one.biz_transaction) for one in self.biz_transaction_list if term_of(one.type) == kind)
        return list(dict.fromkeys(found))

    def document(self, *kinds: str) -> str | None:
        """The first business transaction of the first of the types that there is."""
        return next((found for kind in kinds for found in self.documents(kind)), None)

    def node(self) -> str | None:
        """Where it is then (`bizLocation`), else where it was seen (`readPoint`)."""
        place = self.biz_location or self.read_point
        return None if place is None else gln_of(place.id) or place.id

    def needed_node(self) -> str:
        """The same, where it has to be said.

        Raises:
            RecordError: it is not.
        """
        node = self.node()
        if node is None:
            raise RecordError("$.bizLocation", "schema", "is missing (nor is readPoint)")
        return node

    def supplier(self) -> str | None:
        """Who owned it before, else who had it."""
        said = {term_of(one.type): one.source for one in self.source_list}
        uri = said.get("owning_party") or said.get("possessing_party")
        return None if uri is None else gln_of(uri) or uri


#: What a step makes of an event, given what every event of it carries.
_Step = Callable[[ObjectEvent, dict[str, Any]], Iterable[EventBase] | Skipped]


def _receiving(seen: ObjectEvent, base: dict[str, Any]) -> Iterable[EventBase] | Skipped:
    orders, rma = seen.documents("po"), seen.document("rma")
    if rma is not None:
        if not orders:
            what = "has no po, which says the order that is returned"
            raise RecordError("$.bizTransactionList", "schema", what)
        return [ReturnReceived(**base, return_id=rma, order_id=orders[0], node=seen.node(), **seen.only_item())]
    if not orders:
        return Skipped("receiving without po or rma")
    items = seen.items() if len(orders) == 1 else {}  # which of them is of which order is not said
    lines = [SupplyLine(sku=sku, qty=qty) for sku, qty in items.items()]
    return [
        GoodsReceived(
            **base,
            po_id=order,
            supplier=seen.supplier(),
            document_id=seen.document("desadv", "recadv", "bol"),
            qty=sum(items.values()) if items else None,
            lines=lines or None,
        )
        for order in orders
    ]


def _shipping(seen: ObjectEvent, base: dict[str, Any]) -> Iterable[EventBase] | Skipped:
    orders = seen.documents("po")
    if not orders:
        return Skipped("shipping without po")
    unit = next((unit for epc in seen.epc_list if (unit := sscc_of(epc))), None)
    shipment = seen.document("desadv", "bol") or unit
    return [
        ShipmentDispatched(**base, shipment_id=shipment or order, order_id=order, node=seen.node()) for order in orders
    ]


def _task(kind: Literal["pick", "pack", "putaway"]) -> _Step:
    def completed(seen: ObjectEvent, base: dict[str, Any]) -> Iterable[EventBase]:
        return [
            TaskCompleted(
                **base,
                task_id=base["event_id"],
                task_type=kind,
                node=seen.needed_node(),
                order_id=seen.document("po") if kind != "putaway" else None,
                **seen.only_item(),
            )
        ]

    return completed


def _selling(seen: ObjectEvent, base: dict[str, Any]) -> Iterable[EventBase]:
    node = seen.needed_node()
    return [SaleRecorded(**base | {"system": "pos"}, sku=sku, node=node, qty=qty) for sku, qty in seen.items().items()]


def _counting(seen: ObjectEvent, base: dict[str, Any]) -> Iterable[EventBase]:
    node = seen.needed_node()
    return [InventoryLevel(**base, sku=sku, node=node, on_hand=qty) for sku, qty in seen.items().items()]


_STEPS: Mapping[str, _Step] = {
    "receiving": _receiving,
    "shipping": _shipping,
    "picking": _task("pick"),
    "packing": _task("pack"),
    "stocking": _task("putaway"),
    "storing": _task("putaway"),
    "retail_selling": _selling,
    "cycle_counting": _counting,
    "stock_taking": _counting,
}
#: Steps after which the object may cease to be there; elsewhere DELETE contradicts the step.
_LEAVING: Final = ("shipping", "retail_selling")


class _Head(msgspec.Struct, frozen=True):
    type: str


class _EventList(msgspec.Struct, frozen=True, rename="camel"):
    event_list: list[msgspec.Raw]


class _Results(msgspec.Struct, frozen=True, rename="camel"):
    results_body: _EventList


class _Body(msgspec.Struct, frozen=True, rename="camel"):
    event_list: list[msgspec.Raw] | None = None
    query_results: _Results | None = None


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    epcis_body: _Body


_head = msgspec.json.Decoder(_Head).decode
_document = msgspec.json.Decoder(_Document).decode
_object_event = msgspec.json.Decoder(ObjectEvent).decode


def unfold(raw: bytes) -> Sequence[bytes]:
    """The events of a document; anything else is an event by itself.

    Raises:
        RecordError, msgspec.DecodeError: it is a document without a list of events, or no JSON object with a type.
    """
    if _head(raw).type not in _DOCUMENTS:
        return (raw,)
    body = _document(raw).epcis_body
    events = body.event_list if body.query_results is None else body.query_results.results_body.event_list
    if events is None:
        raise RecordError("$.epcisBody.eventList", "schema", "is missing")
    return [bytes(event) for event in events]


def adapt(raw: bytes) -> Adapted:
    """What one event makes.

    Raises:
        RecordError, msgspec.DecodeError: it can't be used.
    """
    kind = _head(raw).type
    if kind in _OTHER_EVENTS or _is_own(kind):
        return Skipped(kind)
    if kind != "ObjectEvent":
        raise RecordError("$.type", "schema", f"{kind!r} is no type of EPCIS events")
    seen = _object_event(raw)
    if bytes(seen.error_declaration) not in (b"", b"null"):
        return Skipped("a declaration that an earlier event was wrong")
    if seen.sensor_element_list and not seen.epc_list and not seen.quantity_list:
        return Skipped("ObjectEvent of sensors alone")
    name = term_of(seen.biz_step or "")
    step = _STEPS.get(name)
    if step is None:
        return Skipped(f"bizStep {name}" if name else "ObjectEvent without bizStep")
    if seen.action == "DELETE" and name not in _LEAVING:
        raise RecordError("$.action", "rule", f"DELETE says that the objects are gone, and {name} that they are there")
    event_id = seen.event_id or _hash_of(raw)
    base = {
        "event_id": event_id,
        "source": SOURCE,
        "system": "wms",
        "occurred_at": seen.event_time,
        "recorded_at": seen.record_time,
    }
    made = step(seen, base)
    if isinstance(made, Skipped):
        return made
    events = list(made)
    if not events:
        raise RecordError("$.epcList", "schema", f"names nothing that {name} could be about (nor does quantityList)")
    return events if len(events) == 1 else _numbered(events)


def _is_own(kind: str) -> bool:
    """Whether somebody has made up a type of events, as EPCIS allows: with a prefix, or a URI."""
    return ":" in kind and re.split(r"[:/#]", kind)[-1] not in ("ObjectEvent", *_OTHER_EVENTS)


def _numbered(events: Sequence[EventBase]) -> list[EventBase]:
    """An id for each of several events of one record."""
    return [
        msgspec.structs.replace(event, event_id=f"{event.event_id}/{number}") for number, event in enumerate(events, 1)
    ]


def _hash_of(raw: bytes) -> str:
    """An id for an event that was given none: the same event has the same, however it is written and when recorded."""
    said = msgspec.json.decode(raw)
    said.pop("recordTime", None)
    return hashlib.blake2b(msgspec.json.encode(said, order="sorted"), digest_size=16).hexdigest()


EPCIS: Final = Adapter(
    name="epcis",
    title="GS1 EPCIS 2.0, ObjectEvents in JSON documents or one a line",
    version=2,
    process_map="epcis",
    adapt=adapt,
    unfold=unfold,
    source_of=lambda _raw: SOURCE,
)
