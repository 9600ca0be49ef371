"""Breakdowns by which orders are placed at a price that is not the right one."""

from scenarios.breakdowns.breakdown import Breakdown
from scenarios.orders import Line, Order


class Mispricing(Breakdown):
    """An order is touched when a line of it is sold at a wrong price; the money at risk is what the right ones make."""

    def sell_at(self, order: Order, line: Line, cents: int, effect: str) -> None:
        """Sell a line of an order that is being placed at `cents` a piece."""
        right, line.price = line.price, cents
        self.touch(order, [], effect, order.created)
        self._lines[order.order_id][line.line_id] = line.qty * right
