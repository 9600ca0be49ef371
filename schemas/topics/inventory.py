"""Topic `inventory`: stock, as each system believes it."""

from typing import Literal

from schemas.topics.base import EventBase, Id, Money, Quantity


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
