"""Phantom stock: the book has goods that pickers don't find."""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import CELL_US, Collected, EventDetector, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import Policy
from operators.detectors.rates import surprise_of_share
from operators.detectors.records import Impact, Scoped, ScopeFinding, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration
from schemas.events import Arrived, EventBase, TaskRejected
from schemas.rows import Signal

_EVIDENCE = 20
_MOST_SHORTS = 2_000


class PhantomRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When goods are held not to be there.

    Of the picks of an item at a node within `window`, at least `least` and the share `share` failed, with a surprise of
    `score` where the share `usual` fails anyway, while the book said that there is enough. It closes when a count has
    put the book right, when more picks in a row succeed than `well`, or after `quiet`. Where the book was asked for
    less than half of the failed picks, `unasked` must have passed since the first.
    """

    window: Duration = Duration(6 * HOUR_US)
    least: int = 3
    share: float = 0.5
    score: float = 4.5
    usual: float = 0.01
    well: int = 3
    quiet: Duration = Duration(4 * HOUR_US)
    unasked: Duration = Duration(90 * MINUTE_US)


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
    """An item at a node: failed picks of late, those that succeeded since the first, what the book said.

    `shorts` are (arrival, event time, event id, impact); `done` is (minute, how many), `says` (minute, how often the
    book said that there is enough, how often it was asked).
    """

    shorts: list[tuple[int, int, str, Impact | None]] = []
    done: list[tuple[int, float]] = []
    says: list[tuple[int, float, float]] = []
    opened_us: int = 0
    found_us: int = 0
    score: float = 0.0
    named: dict[str, None] = {}
    count: int = 0
    evidence: list[str] = []
    counted: bool = False
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
        new = self._take(state, cells, end_us, rule)
        counted = cells.get("count_down")
        if not state.opened_us:
            score = self._score(state, rule, end_us)
            if score:
                state.opened_us, state.found_us, state.score = min(one[1] for one in state.shorts), end_us, score
                yield self._finding(scope, state, end_us, self._name(state, state.shorts))
            return
        if counted is not None:
            state.counted = True
            state.corrected += sum(one[3].value for one in counted.members if one[3] is not None)
            state.evidence = [*state.evidence, *(one[2] for one in counted.members)][:_EVIDENCE]
        last = state.shorts[-1][0] // CELL_US if state.shorts else 0
        well = sum(many for number, many in state.done if number > last)
        if (counted is not None and not new) or well >= rule.well or end_us - last * CELL_US >= rule.quiet:
            yield self._finding(scope, state, end_us, self._name(state, new), closed=True)
            self._close(state)
        elif new:
            state.score = max(state.score, self._score(state, rule, end_us))
            yield self._finding(scope, state, end_us, self._name(state, new))

    def idle(self, state: ShelfState) -> bool:
        """Nothing is open."""
        return not state.opened_us

    def _take(
        self, state: ShelfState, cells: Mapping[str, Cell], end_us: int, rule: PhantomRule
    ) -> list[tuple[int, int, str, Impact | None]]:
        """Count a cell in, and let go of what is older than the window; the failed picks that are new."""
        number, before = end_us // CELL_US - 1, (end_us - rule.window) // CELL_US
        new = cells["pick_short"].members if "pick_short" in cells else []
        state.shorts = [*(one for one in state.shorts if one[0] // CELL_US > before), *new][-_MOST_SHORTS:]
        done, says = cells.get("pick_done"), cells.get("shelf_says")
        if done is not None:
            state.done.append((number, done.total))
        if says is not None:
            state.says.append((number, says.bad, says.total))
        first = state.shorts[0][0] // CELL_US if state.shorts else number
        state.done = [one for one in state.done if one[0] >= first]
        state.says = [one for one in state.says if one[0] >= first - 1]
        return new

    def _score(self, state: ShelfState, rule: PhantomRule, end_us: int) -> float:
        """How surprising the failed picks are; 0 where they are no finding."""
        orders = {impact.key if impact is not None else event_id for _, _, event_id, impact in state.shorts}
        bad = float(len(orders))
        total = bad + sum(many for _, many in state.done)
        asked = sum(one[2] for one in state.says)
        if asked and sum(one[1] for one in state.says) < 0.7 * asked:
            return 0.0  # the book knows that there is too little
        if 2 * asked < bad and state.shorts and end_us - state.shorts[0][0] < rule.unasked:
            return 0.0  # what the book says may be under way
        if bad < rule.least or bad < rule.share * total:
            return 0.0
        score = surprise_of_share(bad, total, rule.usual)
        return score if score >= rule.score else 0.0

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

    def _close(self, state: ShelfState) -> None:
        state.opened_us = state.found_us = state.count = 0
        state.score, state.corrected, state.counted = 0.0, 0.0, False
        state.named, state.evidence, state.shorts, state.done, state.says = {}, [], [], [], []

    def _finding(
        self, scope: Scoped, state: ShelfState, end_us: int, new: list[Impact], *, closed: bool = False
    ) -> ScopeFinding:
        fields = dict(scope)
        said = f"{fields['sku']} was not found at {fields['node']} by {state.count} picks, where the book has enough"
        if state.counted:
            said += "; a count has put the book right"
        elif closed:
            said += "; over now"
        signal = Signal(
            signal_id=signal_id(self.NAME, "phantom_stock", repr(scope), str(state.found_us)),
            detector=self.NAME,
            kind="phantom_stock",
            handoff="pick",
            scope=fields,
            case_id="",
            opened_at_us=state.opened_us,
            found_at_us=state.found_us,
            closed_at_us=end_us if closed else None,
            severity="medium",
            score=round(state.score, 3),
            confidence=1.0 if state.counted else round(1.0 - 10.0 ** -min(state.score, 9.0), 9),
            expected="goods where the book has them",
            observed=f"{state.count} picks failed",
            method="rule",
            explanation=f"{said}.",
            evidence=state.evidence,
            arrival_us=end_us,
            version=next_version(0, end_us),
        )
        return ScopeFinding(signal, new, round(state.corrected, 2))
