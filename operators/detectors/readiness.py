"""How ready an item of a promotion is: what is said of it where its stock is known, to be put together elsewhere.

The first part for demand knows what a promotion needs, and asks; the second part by item knows the stock of all nodes,
and answers; the answers of all items of a promotion come together beside the incidents (operators/promotions.py).
"""

import msgspec


class PromotionAsked(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """So many items of a promotion, which has been on since `started_us`, were asked about.

    They answer at `at_us`, the end of the cell in which they were asked.
    """

    promotion_id: str
    channel: str
    started_us: int
    at_us: int
    skus: int


class ItemReady(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One item of a promotion at the end of a cell.

    Of `expected` units (over the horizon; 0 where nothing is known of its demand) `on_hand` are on the shelves of all
    nodes and `coming` within the horizon. They last `hours` at what the promotion is expected to take or what goes out
    now, whichever is more (None: nothing does).
    """

    promotion_id: str
    sku: str
    at_us: int
    expected: float
    on_hand: float
    coming: float
    hours: float | None
    is_short: bool

    @property
    def there(self) -> float:
        """All that the horizon can be served from."""
        return self.on_hand + self.coming

    @property
    def lacking(self) -> float:
        """So many of the expected units can't be had."""
        return max(0.0, self.expected - self.there)
