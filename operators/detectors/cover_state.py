"""What is kept of an item over all nodes: its stock, what goes out, what comes, who asks for it and was refused."""

from collections.abc import Mapping

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.policy import ByScope
from operators.detectors.records import Impact
from operators.detectors.scopes import Cell
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration

_MOST_UNFILLED = 5_000
#: An item is known to be in so many promotions; of more, those that started last.
_MOST_PROMOTIONS = 100
_HOUR_CELLS = HOUR_US // CELL_US
#: So long lasts what nobody takes.
FOR_EVER = float("inf")
#: So many units within a quarter of an hour say how much goes out in an hour.
_TELLING = 8.0
_GOOD_PART = 0.2


class CoverRule(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When an item is short.

    Stock is low when it is at most `low` of the highest of late. A surge without a promotion is a risk when the stock,
    with what is expected in time, lasts less than `hours`, raised demand when it lasts less than `raised_hours`. A
    promotion is without stock when, at its start, there is (or is expected within a day) less than a `ready` part of
    what its first day needs (`lift` times a usual day), or in its first `begins` the stock lasts less than
    `promoted_hours` at raised demand; how ready it is asks for its demand over `horizon`. So many orders (`unfilled`
    within `window`, or `soon_unfilled` within `soon`) that could not be had while stock is low are a finding too: about
    the promotion, about the surge that emptied the shelves, else about the channel that has the share `one_channel` of
    them. It closes after `quiet` without such an order.
    """

    low: float = 0.1
    hours: float = 18.0
    raised_hours: float = 4.0
    lift: float = 3.0
    ready: float = 0.85
    promoted_hours: float = 4.0
    begins: Duration = Duration(6 * HOUR_US)
    horizon: Duration = Duration(DAY_US)
    unfilled: int = 3
    soon_unfilled: int = 2
    soon: Duration = Duration(HOUR_US)
    one_channel: float = 0.8
    window: Duration = Duration(3 * HOUR_US)
    quiet: Duration = Duration(3 * HOUR_US)
    surge_lasts: Duration = Duration(15 * MINUTE_US)


class Short(msgspec.Struct, array_like=True):
    """The open finding of an item; `channel` and `promotion` as far as it is about one."""

    kind: str
    opened_us: int
    found_us: int
    last_us: int
    why: str
    score: float
    channel: str = ""
    promotion: str = ""
    named: dict[str, None] = {}
    evidence: list[str] = []


class Promoting(msgspec.Struct, array_like=True):
    """A promotion that an item is in: the event that says so, since when, and what a usual day needs."""

    event_id: str
    since_us: int
    need: float


class SkuState(msgspec.Struct, array_like=True):
    """What is kept of an item: stock of all nodes, its highest of late, what goes out, what comes, who is refused.

    `unfilled` are (arrival, event time, event id, impact tagged with the channel); `inbound` is by purchase order
    (expected, units); `promotions` are those that are on (of more than 100 the latest), the one that started last at
    the end; `surge` (units an hour, usual units an hour) holds until `raised_until_us`. `last` is what was wrong
    before, until there is stock again.
    """

    on_hand: float = 0.0
    peak: float = 0.0
    peak_us: int = 0
    taken: list[tuple[int, float]] = []
    inbound: dict[str, tuple[int, float]] = {}
    surge: tuple[float, float] = (0.0, 0.0)
    surge_since_us: int = 0
    surge_until_us: int = 0
    raised_until_us: int = 0
    surge_id: str = ""
    promotions: dict[str, Promoting] = {}
    unfilled: list[tuple[int, int, str, Impact]] = []
    low_since_us: int = 0
    short: Short | None = None
    last: Short | None = None
    version: int = 0

    @property
    def promotion(self) -> str:
        """The promotion that started last of those that are on, empty where none is."""
        return next(reversed(self.promotions), "")

    def take_stock(self, cells: Mapping[str, Cell], end_us: int) -> None:
        """What lies on shelves, what went out within the hour, what is expected."""
        moved = cells.get("on_hand")
        if moved is not None:
            # Rounded, since the order in which parts of a unit are added must not show.
            self.on_hand = round(self.on_hand + moved.total, 3)
            faded = self.peak * 0.5 ** ((end_us - (self.peak_us or end_us)) / (3 * DAY_US))
            self.peak, self.peak_us = max(self.on_hand, faded), end_us
        taken = cells.get("taken")
        if taken is not None:
            number = end_us // CELL_US
            while self.taken and self.taken[0][0] <= number - _HOUR_CELLS:
                del self.taken[0]
            self.taken.append((number, taken.total))
        inbound = cells.get("inbound")
        if inbound is not None:
            self.inbound = {po: one for po, one in self.inbound.items() if one[0] > end_us - DAY_US}
            ordered_by: dict[str, str] = {}
            for _, due_us, event_id, impact in inbound.members:
                if impact is None:
                    continue
                before_us, units = self.inbound.get(impact.case_id, (due_us, 0.0))
                if impact.units < 0:  # on the shelf, or on its way there
                    self.inbound[impact.case_id] = before_us, max(0.0, units + impact.units)
                else:  # lines of one event add up, an order that is told of again does not
                    same = ordered_by.get(impact.case_id) == event_id
                    self.inbound[impact.case_id] = due_us, impact.units + (units if same else 0.0)
                    ordered_by[impact.case_id] = event_id

    def take_demand(self, cells: Mapping[str, Cell], end_us: int, rule: CoverRule) -> bool:
        """Surges and promotions; whether one of the latter has just started."""
        for metric in ("demand_raised", "demand_surge"):
            cell = cells.get(metric)
            if cell is None:
                continue
            if self.raised_until_us < end_us - HOUR_US:
                self.surge_since_us = cell.first_at_us
            self.surge, self.raised_until_us = (cell.last, cell.total), end_us + rule.surge_lasts
            self.surge_id = max((event_id for _, _, event_id, _ in cell.members), default="")
            if metric == "demand_surge":
                self.surge_until_us = end_us + rule.surge_lasts
        told = [
            (arrival_us, at_us, starts, event_id, impact)
            for metric, starts in (("promotion_over", False), ("promotion", True))
            if metric in cells
            for arrival_us, at_us, event_id, impact in cells[metric].members
            if impact is not None
        ]
        for _, at_us, starts, event_id, impact in sorted(told, key=_told_order):
            self.promotions.pop(impact.tag, None)
            if starts:
                self.promotions[impact.tag] = Promoting(event_id, at_us, impact.units)
        if len(self.promotions) > _MOST_PROMOTIONS:
            self.promotions = dict([*self.promotions.items()][-_MOST_PROMOTIONS:])
        return "promotion" in cells

    def take_orders(
        self, cells: Mapping[str, Cell], end_us: int, rule: CoverRule
    ) -> list[tuple[int, int, str, Impact]]:
        """Orders that could not be had; the new ones."""
        if self.unfilled:
            self.unfilled = [one for one in self.unfilled if one[0] > end_us - rule.window]
        cell = cells.get("unfilled")
        if cell is None:
            return []
        new = [(one[0], one[1], one[2], one[3]) for one in cell.members if one[3] is not None]
        self.unfilled = [*self.unfilled, *new][-_MOST_UNFILLED:]
        return new

    def refused(self) -> list[tuple[int, int, str, Impact]]:
        """The first of each order that could not be had."""
        by_order: dict[str, tuple[int, int, str, Impact]] = {}
        for one in self.unfilled:
            by_order.setdefault(one[3].order_id, one)
        return list(by_order.values())

    def cover_hours(self, end_us: int, ordered: float | None = None) -> float:
        """How long stock lasts at the present rate, with what is expected before it is gone.

        `ordered` is how many an hour are ordered, by default as many as in the last surge.
        """
        number = end_us // CELL_US
        hour = sum(many for at, many in self.taken if at > number - _HOUR_CELLS)
        quarter = sum(many for at, many in self.taken if at > number - _HOUR_CELLS // 4)
        rate = max(self.surge[0] if ordered is None else ordered, hour, quarter * 4 if quarter >= _TELLING else 0.0)
        if rate <= 0:
            return FOR_EVER
        stock = max(0.0, self.on_hand)
        for due_us, units in sorted(self.inbound.values()):
            if end_us < due_us <= end_us + stock / rate * HOUR_US:
                stock += units
        return stock / rate

    def expected(self, from_us: int, to_us: int) -> float:
        """How many units are expected in that time."""
        return sum((units for due_us, units in self.inbound.values() if from_us < due_us <= to_us), 0.0)

    def was_emptied(self) -> bool:
        """Whether raised demand, going on when stock became low, can have taken a good part of it."""
        lasted_us = self.low_since_us - self.surge_since_us
        if not self.surge_since_us or lasted_us <= 0 or self.raised_until_us < self.low_since_us:
            return False
        return self.surge[0] * lasted_us / HOUR_US >= _GOOD_PART * self.peak

    def watch_low(self, end_us: int, rule: CoverRule) -> None:
        """Since when stock is low; once there is clearly more again, what was wrong before is over."""
        if self.peak <= 0:
            return
        if self.on_hand <= rule.low * self.peak:
            self.low_since_us = self.low_since_us or end_us
        else:
            self.low_since_us = 0
            if self.on_hand > 3 * rule.low * self.peak:
                self.last = None


def _told_order(told: tuple[int, int, bool, str, Impact]) -> tuple[int, int, bool, str]:
    return told[:4]
