"""Phantom stock: the book has goods that pickers don't find."""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import CELL_US, Collected, EventDetector, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import ByScope, Policy
from operators.detectors.rates import surprise_of_share
from operators.detectors.records import Impact, Scoped, ScopeFinding, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from operators.detectors.shelves import SPANS, STEP_US, NodeShelves, Shelf, Short
from operators.findings import confidence_of, next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration
from schemas.events import Arrived, EventBase, TaskRejected
from schemas.rows import Signal

_EVIDENCE = 20


class PhantomRule(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When goods are held not to be there.

    Only failed picks count of which the book said that there is enough. Either of the picks of an item at a node,
    within `soon` at least `repeats`, or within `window` at least `least`, and the share `share` failed, with a surprise
    of `score`; or of all picks of a node, within half an hour up to four, at least `least`, of `items` items that are
    not found by themselves, and `times` what is usual there, with a surprise of `score_node`. Where `items` were found
    by themselves it is known that goods have vanished there, and half that surprise is enough.
    `usual` is the share that is taken to fail before the node's picks were seen; what was seen counts by half after
    `memory`. It closes when a count has put the book right, when more picks in a row succeed than `well`, or after
    `quiet`. Where the book was asked for less than half of an item's failed picks, at least `least` must have failed
    and `unasked` have passed since the first.
    """

    window: Duration = Duration(6 * HOUR_US)
    soon: Duration = Duration(2 * HOUR_US)
    repeats: int = 2
    share: float = 0.5
    score: float = 4.8
    least: int = 3
    items: int = 2
    times: float = 5.0
    score_node: float = 5.0
    usual: float = 0.01
    memory: Duration = Duration(7 * DAY_US)
    well: int = 3
    quiet: Duration = Duration(4 * HOUR_US)
    unasked: Duration = Duration(90 * MINUTE_US)


class PickShorts(EventDetector):
    """Counts picks that failed, with their items, by node. Memory: none."""

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
        impact = self._book.impact(event.order_id, event.sku, tag=event.sku)
        scope = scoped(node=event.node)
        out.bad("pick_short", scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)


class PhantomStock(ScopeDetector):
    """Finds that items are not where the book has them, by node.

    An item is found by its own failed picks, or with others of the node: what vanished together is found sooner.
    Memory: four hours of picks by node, and some hundred bytes for each item with a failed pick within `window`.
    """

    NAME = "phantom_stock"
    METRICS = ("pick_short", "pick_done", "shelf_says", "shelf_knows", "count_down")
    State = NodeShelves

    def __init__(self, policy: Policy[PhantomRule], currency: str = "") -> None:
        self._policy, self._currency = policy, currency

    def judge(
        self, scope: Scoped, state: NodeShelves, cells: Mapping[str, Cell], end_us: int
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        rule = self._policy.of(scope)
        shorts, done = cells.get("pick_short"), cells.get("pick_done")
        bad = shorts.bad if shorts is not None else 0.0
        if bad or done is not None:
            state.count(bad, bad + (done.total if done is not None else 0.0), end_us, rule.memory)
        new = state.take(shorts.members) if shorts is not None else set()
        if not state.items:
            return
        state.take_book(cells, end_us)
        state.forget_counted(cells.get("count_down"))
        since_us, pooled = self._together(state, rule, end_us)
        bad, total = sum([one[1] for one in state.steps]), sum([one[2] for one in state.steps])
        for sku in sorted(state.items):
            shelf = state.items[sku]
            shelf.let_go(end_us, rule.window)
            if shelf.opened_us:
                yield from self._go_on(scope, state, sku, cells, end_us, rule, new=sku in new)
            elif shelf.shorts:
                score = self._score(shelf, state.usual_beside(bad, total, shelf, rule.usual), rule, end_us)
                shelf.alone = score > 0
                if pooled and shelf.shorts[-1][0] >= since_us and shelf.is_gone():
                    score = max(score, pooled)
                if score:
                    shelf.opened_us, shelf.found_us = min(one[1] for one in shelf.shorts), end_us
                    shelf.score = score
                    yield self._finding(scope, sku, shelf, end_us, _name(shelf, shelf.shorts))
        state.items = {sku: shelf for sku, shelf in state.items.items() if shelf.shorts or shelf.opened_us}
        state.open = sum(1 for shelf in state.items.values() if shelf.opened_us)

    def idle(self, state: NodeShelves) -> bool:
        """Nothing is open."""
        return not state.open

    @staticmethod
    def _together(state: NodeShelves, rule: PhantomRule, end_us: int) -> tuple[int, float]:
        """Since when the failed picks of a node's items are too many, and how surprising; 0 where they are not."""
        step, best = (end_us - CELL_US) // STEP_US, (0, 0.0)
        if len(state.items) < rule.items:
            return best
        items = [shelf for shelf in state.items.values() if not shelf.alone and (shelf.opened_us or shelf.is_gone())]
        known = sum(1 for shelf in state.items.values() if shelf.alone and shelf.opened_us)
        if len(items) < rule.items:
            return best
        enough = rule.score_node / 2 if known >= rule.items else rule.score_node
        least = rule.items if known >= rule.items else rule.least
        shorts = [(one[0], (one[3].order_id if one[3] else "") or one[2]) for shelf in items for one in shelf.shorts]
        for span in SPANS:
            since_us = (step - span + 1) * STEP_US
            bad = float(len({order for at_us, order in shorts if at_us >= since_us}))
            total = sum(one[2] for one in state.steps if one[0] > step - span)
            share = state.usual_before(step - span, rule.usual)
            if bad < least or bad < rule.times * share * total or bad >= total:
                continue  # where all fail, either none that succeeds is told, or there are too few to say
            score = surprise_of_share(bad, total, share)
            if score >= enough and score > best[1]:
                best = since_us, score
        return best

    @staticmethod
    def _score(shelf: Shelf, usual: float, rule: PhantomRule, end_us: int) -> float:
        """How surprising the failed picks of an item are; 0 where they are no finding."""
        bad = float(len(shelf.orders()))
        total = bad + sum(many for _, many in shelf.done)
        soon = len(shelf.orders(end_us - rule.soon))
        if (bad < rule.least and soon < rule.repeats) or bad < rule.share * total:
            return 0.0
        if not shelf.book_had(bad):
            waited = end_us - shelf.shorts[0][0] >= rule.unasked and bad >= rule.least
            if shelf.said_less() or not waited:
                return 0.0
        score = surprise_of_share(bad, total, usual)
        return score if score >= rule.score else 0.0

    def _go_on(
        self,
        scope: Scoped,
        state: NodeShelves,
        sku: str,
        cells: Mapping[str, Cell],
        end_us: int,
        rule: PhantomRule,
        *,
        new: bool,
    ) -> Iterable[ScopeFinding]:
        """What becomes of an open finding."""
        shelf = state.items[sku]
        counted = cells.get("count_down")
        counts = [one for one in counted.members if one[3] and one[3].tag == sku] if counted is not None else []
        if counts:
            shelf.counted = True
            shelf.corrected += sum(one[3].value for one in counts if one[3] is not None)
            shelf.evidence = [*shelf.evidence, *(one[2] for one in counts)][:_EVIDENCE]
        last = shelf.shorts[-1][0] // CELL_US if shelf.shorts else 0
        well = sum(many for number, many in shelf.done if number > last)
        if (counts and not new) or well >= rule.well or end_us - last * CELL_US >= rule.quiet:
            yield self._finding(scope, sku, shelf, end_us, _name(shelf, shelf.shorts), closed=True)
            state.items[sku] = Shelf()
        elif new:
            yield self._finding(scope, sku, shelf, end_us, _name(shelf, shelf.shorts))

    def _finding(
        self, scope: Scoped, sku: str, shelf: Shelf, end_us: int, new: list[Impact], *, closed: bool = False
    ) -> ScopeFinding:
        fields = {**dict(scope), "sku": sku}
        said = f"{sku} was not found at {fields['node']} by {shelf.count} picks, where the book has enough"
        if shelf.counted:
            said += "; a count has put the book right"
        elif closed:
            said += "; over now"
        signal = Signal(
            signal_id=signal_id(self.NAME, "phantom_stock", repr(sorted(fields.items())), str(shelf.found_us)),
            detector=self.NAME,
            kind="phantom_stock",
            handoff="pick",
            scope=fields,
            case_id="",
            opened_at_us=shelf.opened_us,
            found_at_us=shelf.found_us,
            closed_at_us=end_us if closed else None,
            severity="medium",
            score=round(shelf.score, 3),
            confidence=1.0 if shelf.counted else confidence_of(shelf.score),
            expected="goods where the book has them",
            observed=f"{shelf.count} picks failed",
            method="rule",
            explanation=f"{said}.",
            evidence=shelf.evidence,
            arrival_us=end_us,
            version=next_version(0, end_us),
        )
        return ScopeFinding(signal, new, round(shelf.corrected, 2), self._currency)


def _name(shelf: Shelf, members: Iterable[Short]) -> list[Impact]:
    """The orders not named yet."""
    new = []
    for _, _, event_id, impact in members:
        if impact is None or event_id in shelf.evidence:
            continue
        order = impact.order_id
        shelf.count += order not in shelf.named
        if len(shelf.evidence) < _EVIDENCE:
            shelf.evidence = [*shelf.evidence, event_id]
        if order and order not in shelf.named:
            shelf.named[order] = None
            new.append(msgspec.structs.replace(impact, tag=""))
    return new
