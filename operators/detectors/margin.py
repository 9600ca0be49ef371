"""Margin that leaks: order lines of a channel that sell below their cost, and freight (`freight.py`)."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.freight import FreightRule, freight_judges
from operators.detectors.policy import Policy
from operators.detectors.prices import PriceRule, PriceWatch
from operators.detectors.rates import RateRule, RateState, RateWatch, Seen
from operators.detectors.records import Impact, Scoped, ScopeFinding
from operators.detectors.scopes import Cell, ScopeDetector
from schemas.durations import DAY_US, HOUR_US, Duration

#: Where the lines below cost are of fewer items (counted by their shares), it is these items' price that is wrong.
_ITEMS = 3.5


class MarginSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for prices, for lines that sell below cost, and for freight.

    `freight` says when it leaks; `freight_over` when too many orders lose more on it than `freight.share` of their
    goods.
    """

    price: PriceRule = PriceRule()
    below_cost: RateRule = RateRule(
        window=Duration(2 * HOUR_US),
        least=4,
        share=0.06,
        times=5,
        score=6,
        usual=0.005,
        quiet=Duration(HOUR_US),
        memory=Duration(7 * DAY_US),
    )
    freight: FreightRule = FreightRule()
    freight_over: RateRule = RateRule(
        window=Duration(2 * HOUR_US),
        least=4,
        share=0.06,
        times=5,
        score=6,
        usual=0.005,
        quiet=Duration(HOUR_US),
        memory=Duration(7 * DAY_US),
    )


class MarginWatch(RateWatch):
    """Finds that too many lines of a channel sell below cost.

    Where nearly all of them are of a few items it is their prices, and no leak is opened. Memory: as `RateWatch`.
    """

    def __init__(self, policy: Policy[RateRule]) -> None:
        super().__init__("margin_leak", "margin_leak", "below_cost", policy, _words)

    def judge(
        self, scope: Scoped, state: RateState, cells: Mapping[str, Cell], end_us: int, *, barred: bool = False
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        cell = cells.get("below_cost")
        lines = [*state.recent, *(cell.members if cell is not None else ())]
        return super().judge(scope, state, cells, end_us, barred=barred or _items(lines) < _ITEMS)

    def _new(self, state: RateState, members: Iterable[tuple[int, int, str, Impact | None]]) -> list[Impact]:
        return [msgspec.structs.replace(impact, tag="") for impact in super()._new(state, members)]


def _items(lines: Iterable[tuple[int, int, str, Impact | None]]) -> float:
    """Of how many items these lines are: the inverse of the sum of squared shares (Simpson 1949)."""
    counts = Counter(impact.tag for _, _, _, impact in lines if impact is not None)
    return counts.total() ** 2 / sum(many**2 for many in counts.values()) if counts else 0.0


def _words(seen: Seen) -> tuple[str, str, str]:
    said = f"{seen.where}: {seen.all_bad:g} order lines sold below cost"
    more = "over now" if seen.closed else f"{seen.share:.0%} of those within {seen.within}, {seen.usual:.1%} is usual"
    return f"about {seen.usual:.1%}", f"{seen.share:.0%}", f"{said}; {more}."


def margin_judges(
    price: Policy[PriceRule], below_cost: Policy[RateRule], freight: Policy[FreightRule], over: Policy[RateRule]
) -> list[ScopeDetector]:
    """The second parts."""
    return [PriceWatch(price), MarginWatch(below_cost), *freight_judges(freight, over)]
