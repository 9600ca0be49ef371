"""An app release leaves fields out of the orders it sends."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.breakdowns.places import channel_problem
from scenarios.journal import Fields
from scenarios.orders import Order
from scenarios.retailer import Retailer
from schemas.durations import Duration

_OF_ORDER = ("customer_id", "currency", "total", "promised_at", "dispatch_by", "idempotency_key")
_OF_LINE = ("unit_price", "unit_cost")


class IncompleteOrdersParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which channel, which share of its customers has the release, and what it leaves out (`lines`: all of them)."""

    channel: str = "shop"
    share: float = 0.6
    fields: tuple[str, ...] = ("customer_id", "currency", "unit_price", "promised_at")


class IncompleteOrders(Breakdown):
    """The payloads still keep the contract, but not what the business needs; they are fulfilled as ever."""

    kind: ClassVar[str] = "incomplete_orders"
    begins: ClassVar[Duration] = at(15)
    ends: ClassVar[Duration] = at(17.5)
    Parameters = IncompleteOrdersParameters
    parameters: IncompleteOrdersParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse a channel or a field that there is not."""
        known = (*_OF_ORDER, *_OF_LINE, "lines")
        if not self.parameters.fields or not set(self.parameters.fields) <= set(known):
            return f"fields must be some of {', '.join(known)}"
        if not 0 < self.parameters.share <= 1:
            return "share must be above 0 and at most 1"
        return channel_problem(self.parameters.channel)

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - a channel says it all
        """The channel's part of it."""
        return f"{self.kind} at {self.parameters.channel}"

    def install(self, retailer: Retailer) -> None:
        """Stand between the channel and the log."""
        self._agenda = retailer.world.agenda
        self._random = retailer.world.random(self.breakdown_id)
        retailer.oms.payloads.append(self._leave_out)

    def scope(self) -> Scope:
        """The channel."""
        return {"channel": self.parameters.channel}

    def _leave_out(self, order: Order, fields: Fields) -> None:
        now, missing = self._agenda.now, self.parameters.fields
        if order.channel != self.parameters.channel or not self.begin_us <= now < self.end_us:
            return
        if self._random.random() >= self.parameters.share:
            return
        for name in missing:
            fields.pop(name, None)
        for line in fields.get("lines", ()):
            for name in missing:
                line.pop(name, None)
        fields.setdefault("lines", [])
        self.touch(order, order.lines, "orders_incomplete", now)
