"""Topic `supply`: purchase orders, and what follows them."""

import msgspec

from schemas.topics.base import Currency, EventBase, Id, Money, Quantity, Time


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
