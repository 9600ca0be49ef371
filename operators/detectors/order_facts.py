"""One order as its events told it: its lines, what they are worth, what became of them."""

from collections.abc import Iterable

import msgspec

from operators.detectors.records import Impact, Standing
from schemas.events import OrderCreated, ShipmentDispatched

#: Of how many shipments of an order the freight is known; what is dispatched beyond is not judged.
_MOST_SHIPMENTS = 64
#: Of an order that is not known yet, how many cancelled lines are remembered.
_MOST_CANCELLED = 1_000


class Line(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One line: what, how many, and what one sells for and costs (None where that was not said)."""

    line_id: str
    sku: str
    qty: float
    price: float | None
    cost: float | None


class OrderFacts(msgspec.Struct, array_like=True, gc=False):
    """An order as its events told it. Times are event times in microseconds, None where nothing was said.

    `node` is where it was last allocated as a whole or in part. An order whose `order.created` was not seen has no
    lines. `standing` is how far it is on the way to its promise; `is_named`: a detector asked for its impact or may
    name it elsewhere (capture, which sees the orders of all groups), so where it goes from there is of interest.

    `freight_charged` is what the customer pays for shipping, `freight` what carriers charge by shipment, both in
    `currency`. Where it can't be summed (a shipment in another currency, or dispatched before the order was seen)
    `freight_charged` is None.

    `cancelled_lines` are the lines that were cancelled by themselves; an order is `cancelled` with the last of them.
    """

    channel: str = ""
    region: str = ""
    customer_id: str = ""
    currency: str = ""
    lines: tuple[Line, ...] = ()
    created_us: int | None = None
    promised_us: int | None = None
    node: str = ""
    dispatched: bool = False
    delivered: bool = False
    cancelled: bool = False
    last_us: int = 0
    dispatch_by_us: int | None = None
    standing: Standing | None = None
    is_named: bool = False
    freight_charged: float | None = None
    freight: dict[str, float] = {}
    cancelled_lines: dict[str, None] = {}

    @property
    def is_incomplete(self) -> bool:
        """Whether it lacks what the business needs: a customer, a currency, lines, their prices."""
        return not (self.customer_id and self.currency and self.lines) or any(line.price is None for line in self.lines)

    @property
    def goods(self) -> float:
        """What its lines sell for, as far as that was said."""
        return sum([line.qty * line.price for line in self.lines if line.price is not None], 0.0)

    def freight_of(self, event: ShipmentDispatched) -> float | None:
        """What a shipment adds to the order's freight; None where it adds nothing that can be held against it."""
        if self.freight_charged is None or event.freight_cost is None or self._is_foreign(event):
            return None
        if event.shipment_id in self.freight or len(self.freight) >= _MOST_SHIPMENTS:
            return None
        return float(event.freight_cost)

    def ship(self, event: ShipmentDispatched) -> None:
        """A shipment of it was dispatched."""
        self.dispatched = True
        cost = self.freight_of(event)
        if cost is not None:
            self.freight[event.shipment_id] = cost
        elif event.freight_cost is not None and self._is_foreign(event):
            self.freight_charged = None

    def _is_foreign(self, event: ShipmentDispatched) -> bool:
        return event.currency is not None and event.currency != self.currency

    def is_ended_by(self, line_id: str | None) -> bool:
        """Whether it goes on now, and nothing of it would without that line (None: all of it).

        Cost: those of its lines that stand before the first that is left.
        """
        if self.cancelled or line_id is None:
            return not self.cancelled
        gone = self.cancelled_lines
        return bool(self.lines) and all(line.line_id == line_id or line.line_id in gone for line in self.lines)

    def cancel(self, line_id: str | None) -> None:
        """A line of it was cancelled, or all of it (None)."""
        self.cancelled = self.cancelled or self.is_ended_by(line_id)
        if line_id is None:
            return
        if self.lines:
            is_known = any(line.line_id == line_id for line in self.lines)
        else:
            is_known = len(self.cancelled_lines) < _MOST_CANCELLED
        if is_known:
            self.cancelled_lines[line_id] = None

    @property
    def lines_left(self) -> tuple[Line, ...]:
        """The lines that were not cancelled by themselves; all where none is left, as of an order that is cancelled."""
        gone = self.cancelled_lines
        if not gone:
            return self.lines
        return tuple([line for line in self.lines if line.line_id not in gone]) or self.lines

    def lines_of(self, sku: str | None = None, line_id: str | None = None) -> list[Line]:
        """The lines of an item, or the one of an id; all where neither is given or none is like that."""
        some = [
            line
            for line in self.lines
            if (line_id is None or line.line_id == line_id) and (sku is None or line.sku == sku)
        ]
        return some or list(self.lines)

    def impact(
        self,
        order_id: str,
        sku: str | None = None,
        line_id: str | None = None,
        *,
        tag: str = "",
        refund: float = 0.0,
    ) -> Impact:
        """What is touched when these lines are: units, what they sell for, and the margin where costs are known.

        Where none are named, all that were not cancelled by themselves.
        """
        self.is_named = True
        lines = self.lines_left if sku is None and line_id is None else self.lines_of(sku, line_id)
        units, value, margin = worth_of(lines)
        promised_us, standing = self.promised_us, self.standing
        return Impact(
            order_id, "", self.customer_id, units, value, margin, refund, self.currency, promised_us, standing, tag
        )


def worth_of(lines: Iterable[Line]) -> tuple[float, float, float | None]:
    """Units of lines, what they sell for, and their margin: None unless each says what it sells for and costs."""
    units: float = 0
    value = margin = 0.0
    is_known, some = True, False
    for line in lines:
        qty, price, cost = line.qty, line.price, line.cost
        units, some = units + qty, True
        if price is not None:
            value += qty * price
        if price is None or cost is None:
            is_known = False
        else:
            margin += qty * (price - cost)
    return units, round(value, 2), round(margin, 2) if some and is_known else None


def lines_of(event: OrderCreated) -> tuple[Line, ...]:
    """The lines of an order as it was captured."""
    return tuple(
        [
            Line(line.line_id, line.sku, line.qty, amount(line.unit_price), amount(line.unit_cost))
            for line in event.lines
        ]
    )


def amount(money: str | None) -> float | None:
    """Money as a number, None where nothing was said."""
    return None if money is None else float(money)
