"""The rows of stock windows, made when their tick has come."""

from collections.abc import Callable, Iterable

from operators.findings import next_version
from operators.resting import Resting
from operators.stock_item import LEVEL, SEPARATOR, Item, names_of
from operators.stock_judge import StockJudge, StockOutput
from schemas.rows import StockWindow


class StockRows:
    """Makes rows of items as they are; holds nothing of its own.

    Cost: a few look-ups a row where nothing was said of the item since the window's end and its stock is that of a
    level; for others what the past costs (operators/stock_item.py).

    Args:
        items: of which `read` gives those that are not young, or not yet folded.
    """

    def __init__(
        self, items: Resting[Item], read: Callable[[str], Item], judge: StockJudge, size_us: int, currency: str
    ) -> None:
        self._items, self._read, self._judge = items, read, judge
        self._size_us, self._currency = size_us, currency

    def append_to(  # noqa: C901, PLR0912 - calls are what a row costs
        self, out: list[StockOutput], keys: Iterable[str], folded: int | None, end_us: int, tick_us: int
    ) -> None:
        """Append a row for each of `keys`: of the window that ends at `end_us`, written at `tick_us`.

        The version is above that of the row before, which was written at an earlier tick.
        """
        awake, read, available = self._items.young, self._read, self._judge.available
        begin, last, currency, version = end_us - self._size_us, end_us - 1, self._currency, next_version(0, tick_us)
        safety = self._judge.held_back
        for key in keys:
            item = awake.get(key)
            if item is None or item.folded != folded:
                item = read(key)
            cost = item.cost
            if item.said_us < end_us:
                quantities, book = item.latest.copy(), item.book
                unit_cost = None if cost is None else float(cost[2])
            else:
                quantities, book = item.quantities(last), ""
                unit_cost = None if cost is None else item.unit_cost(last)
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
            promise: float | None
            said = item.entries[book][-1] if book and safety is not None else None
            if said is None or safety is None or said[1] != LEVEL:
                promise = available(key, item, quantities, last)
            elif said[4] is not None:
                promise = said[3] - said[4] - safety
            elif item.holds is None and item.packed_holds is None:
                promise = said[3] - safety
            else:
                promise = said[3] - item.held(last) - safety
            sku, _, node = key.partition(SEPARATOR)
            if not sku:
                sku, node = names_of(key)
            at_risk = None if unit_cost is None else round(delta * unit_cost, 6)
            out.append(
                StockWindow(sku, node, begin, end_us, quantities, delta, promise, at_risk, currency, tick_us, version)
            )
