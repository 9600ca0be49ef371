"""Phantom stock: the book has goods that pickers don't find."""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import Collected, EventDetector, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import Policy
from operators.detectors.rates import surprise_of_share
from operators.detectors.records import Impact, Scoped, ScopeFinding, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, Duration
from schemas.events import Arrived, EventBase, TaskRejected
from schemas.rows import Signal

_EVIDENCE = 20
_MOST_SHORTS = 2_000


class PhantomRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When goods are held not to be there.

    Of the picks of an item at a node within `window`, at least `least` and the share `share` failed, with a surprise of
    `score` where the share `usual` fails anyway, while the book said that there is enough. It closes when a count has
    put the book right, when more picks in a row succeed than `well`, or after `quiet`.
    """

    window: Duration = Duration(6 * HOUR_US)
    least: int = 3
    share: float = 0.5
    score: float = 4.5
    usual: float = 0.01
    well: int = 3
    quiet: Duration = Duration(4 * HOUR_US)


class PickShorts(EventDetector):
    """Counts picks that failed, by node and item. Memory: none."""

    NAME = "pick_shorts"

    def __init__(self, book: OrderBook) -> None:
        super().__init__()
        self._book = book

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {TaskRejected: self._rejected}

    def _rejected(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskRejected)
        if event.task_type != "pick" or not event.sku:
            return
        impact = self._book.impact(event.order_id, event.sku) if event.order_id else None
        scope = scoped(node=event.node, sku=event.sku)
        out.bad("pick_short", scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)


class ShelfState(msgspec.Struct, array_like=True):
    """What is kept of an item at a node: failed picks of late, those that succeeded since, and what the book said.

    `shorts` are (arrival, event time, event id, impact); `done` and `says` arrivals, the latter with whether the book
    said that there is enough.
    """

    shorts: list[tuple[int, int, str, Impact | None]] = []
    done: list[int] = []
    says: list[tuple[int, bool]] = []
    opened_us: int = 0
    found_us: int = 0
    score: float = 0.0
    named: dict[str, None] = {}
    count: int = 0
    evidence: list[str] = []
    corrected: float = 0.0


class PhantomStock(ScopeDetector):
    """Finds that an item is not where the book has it, by node and item.

    Memory: some hundred bytes for each item and node with a failed pick within two days, and its picks within `window`.
    """

    NAME = "phantom_stock"
    METRICS = ("pick_short", "pick_done", "shelf_says", "count_down")
    State = ShelfState
    FORGET_US = 2 * DAY_US

    def __init__(self, policy: Policy[PhantomRule]) -> None:
        self._policy = policy

    def judge(self, scope: Scoped, state: ShelfState, cells: Mapping[str, Cell], end_us: int) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        rule = self._policy.of(scope)
        new = self._take(state, cells, end_us - rule.window)
        counted = cells.get("count_down")
        if not state.opened_us:
            score = self._score(state, rule)
            if not score:
                return
            state.opened_us, state.found_us, state.score = min(one[1] for one in state.shorts), end_us, score
            yield self._finding(scope, state, end_us, self._name(state, state.shorts))
            return
        if counted is not None:
            state.corrected += sum(one[3].value for one in counted.members if one[3] is not None)
            state.evidence = [*state.evidence, *(one[2] for one in counted.members)][:_EVIDENCE]
        since = state.shorts[-1][0] if state.shorts else 0
        in_a_row = sum(at_us > since for at_us in state.done)
        if (counted is not None and not new) or in_a_row > rule.well or end_us - since >= rule.quiet:
            yield self._finding(scope, state, end_us, self._name(state, new), closed=True)
            self._close(state)
        elif new:
            yield self._finding(scope, state, end_us, self._name(state, new))

    def idle(self, state: ShelfState) -> bool:
        """Nothing is open."""
        return not state.opened_us

    def _take(
        self, state: ShelfState, cells: Mapping[str, Cell], before_us: int
    ) -> list[tuple[int, int, str, Impact | None]]:
        """Count a cell in, and let go of what is older than `before_us`; the failed picks that are new."""
        new = cells["pick_short"].members if "pick_short" in cells else []
        if state.shorts and state.shorts[0][0] <= before_us and not state.opened_us:
            state.shorts = [one for one in state.shorts if one[0] > before_us]
        state.shorts = [*state.shorts, *new][-_MOST_SHORTS:]
        done = cells.get("pick_done")
        if done is not None:
            end_us = before_us  # all of a minute counts as of its beginning
            state.done = [at_us for at_us in state.done if at_us > end_us]
        return new

    def _score(self, state: ShelfState, rule: PhantomRule) -> float:
        raise NotImplementedError

    def _name(self, state: ShelfState, members: Iterable[tuple[int, int, str, Impact | None]]) -> list[Impact]:
        """The orders not named yet."""
        new = []
        for _, _, event_id, impact in members:
            state.count += 1
            if len(state.evidence) < _EVIDENCE:
                state.evidence = [*state.evidence, event_id]
            if impact is not None and impact.key and impact.key not in state.named:
                state.named[impact.key] = None
                new.append(impact)
        return new
