"""The rows of stock windows, made when their tick has come."""

from collections.abc import Callable, Iterable

from operators.findings import next_version
from operators.item_keys import SEPARATOR, names_of
from operators.reservation_holds import GRAIN
from operators.resting import Resting
from operators.stock_at_rest import StockAtRest
from operators.stock_item import Item
from operators.stock_judge import StockJudge, StockOutput
from schemas.rows import StockWindow


class StockRows:
    """Makes rows of items as they are; holds nothing of its own.

    Cost: a copy of the quantities a row where nothing was said of the item since the window's end and what is promised
    was worked out from reservations (most items have left the processor's caches when their tick comes, so that each
    record looked at costs); for others a few look-ups, and what the past costs (operators/stock_item.py).

    Args:
        items: of which `read` gives those that are not young, or not yet folded.
    """

    def __init__(
        self,
        items: Resting[Item],
        at_rest: StockAtRest,
        read: Callable[[str], Item],
        judge: StockJudge,
        size_us: int,
        currency: str,
    ) -> None:
        self._items, self._at_rest, self._read, self._judge = items, at_rest, read, judge
        self._size_us, self._currency = size_us, currency

    def append_to(  # noqa: C901, PLR0912 - calls are what a row costs
        self, out: list[StockOutput], keys: Iterable[str], folded: int | None, end_us: int, tick_us: int
    ) -> None:
        """Append a row for each of `keys`: of the window that ends at `end_us`, written at `tick_us`.

        The version is above that of the row before, which was written at an earlier tick.
        """
        awake, read, available = self._items.young, self._read, self._judge.available
        terms = self._at_rest.terms
        begin, last, currency, version = end_us - self._size_us, end_us - 1, self._currency, next_version(0, tick_us)
        promise: float | None
        for key in keys:
            item = awake.get(key)
            told = terms(key, folded, end_us) if item is None else None
            if told is not None:
                quantities, unit_cost, promise = told
            else:
                if item is None or item.folded != folded:
                    item = read(key)
                cost, bookable = item.cost, None
                if item.said_us < end_us:
                    quantities = item.latest.copy()
                    if item.book:
                        bookable = item.bookable
                    unit_cost = None if cost is None else float(cost[2])
                else:
                    quantities = item.quantities(last)
                    unit_cost = None if cost is None else item.unit_cost(last)
                if bookable is None:
                    promise = available(key, item, quantities, last)
                else:
                    holds = item.holds
                    if holds is not None and holds.from_us <= last < holds.until_us:
                        promise = bookable - holds.sum_grains / GRAIN - item.safety
                    else:
                        promise = bookable - item.held(last) - item.safety
            delta = 0.0
            if len(quantities) > 1:
                values = iter(quantities.values())
                high = low = next(values)
                for value in values:  # calls of max() and min() take three times as long
                    if value > high:
                        high = value
                    elif value < low:
                        low = value
                delta = high - low
            sku, _, node = key.partition(SEPARATOR)
            if not sku:
                sku, node = names_of(key)
            at_risk = None if unit_cost is None else round(delta * unit_cost, 6)
            out.append(
                StockWindow(sku, node, begin, end_us, quantities, delta, promise, at_risk, currency, tick_us, version)
            )
