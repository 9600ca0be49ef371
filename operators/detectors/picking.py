"""Picking: work that waits at a node longer than is usual there while little gets done, and picks that can't be done.

Two ways lead to the one finding: picks are begun more slowly than usual (`pace.py`), which shows within minutes where
much is done; and too many still wait at an age at which they usually don't, which shows anywhere, later.

A pick waits from when it is queued until it is started, or, where a node does not tell of that, until it is completed
or rejected.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from statistics import median

import msgspec

from operators.detectors.age_watch import AgeRule, AgeState, AgeWatch
from operators.detectors.ageing import Ageing, Waiting, age_metrics, early_metrics
from operators.detectors.events import CELL_US, Collected, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.pace import Pace, PaceState, Slow, SlowRule
from operators.detectors.policy import Policy
from operators.detectors.rates import Seen
from operators.detectors.records import Impact, Scoped, ScopeFinding, ScopesOf, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from schemas.durations import HOUR_US, MINUTE_US, Duration, people_duration
from schemas.events import Arrived, EventBase, TaskCompleted, TaskQueued, TaskRejected, TaskStarted

#: Ages (min) at which a waiting pick is judged, those at which it is only counted, and those at which pace is measured.
_JUDGED, _COUNTED = (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240), (1, 2, 3, 7)
_PACED = tuple(sorted((*_COUNTED, *(age for age in _JUDGED if age <= 60))))
_AGES, _EARLY = tuple(age * MINUTE_US for age in _JUDGED), tuple(age * MINUTE_US for age in _COUNTED)
_WAIT, _QUEUED, _BEGUN = "pick_wait", "pick_queued", "pick_begun"
_REJECTED, _SHORT, _CANCELLED = "pick_rejected", "short:pick", "pick_cancelled"
_LATE, _STILL = age_metrics(_WAIT, len(_JUDGED)), early_metrics(_WAIT, len(_COUNTED))
#: Where each is among a minute's counts, and of which all count, not those that were late.
_WAITING = dict(zip((*_COUNTED, *_JUDGED), (*_STILL, *_LATE), strict=False))
_PARTS = (_QUEUED, _BEGUN, _LATE[-2], *(_WAITING[age] for age in _PACED))
_PLACES, _NOTHING = {metric: place for place, metric in enumerate(_PARTS)}, (0.0,) * len(_PARTS)
_PLACES[_CANCELLED] = _PLACES[_LATE[-2]]  # given up, like those that have waited for too long
_BY_TOTAL = frozenset((_QUEUED, _BEGUN, _CANCELLED, *_STILL))
#: How many minutes are counted as one, how many are looked back on at least, and how many are a day.
_PART, _BACK, _DAY = 10, 20, 24 * 60
#: How many parts around this time of the day before are looked at, in spans of how many at least; and how much larger a
#: share of what came in can have been begun there to be as little.
_AROUND, _LEAST_PARTS, _AS_LITTLE, _BEFORE_PARTS = 2, 2, 1.2, 6


class BacklogRule(AgeRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a node's picks are a backlog: too many wait too long, and the node does too little.

    Of what was queued in the last 20 minutes, or as long as it takes for `least` picks to come, less than `done` was
    done, and no more than `pace` times what the node does in an ordinary hour in which it works at all: a batch that is
    worked off at full speed, or a peak, is none. `slow` finds the same by how slowly picks are begun.
    """

    least: float = 5.0
    score: float = 5.0
    done: float = 0.6
    pace: float = 0.7
    slow: SlowRule = SlowRule()


class WarehouseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for work at nodes. Which picks are over is remembered for `remembered`."""

    backlog: BacklogRule = BacklogRule()
    remembered: Duration = Duration(2 * HOUR_US)


class Picks(Ageing):
    """The first part: how long picks of orders wait, and which can't be done.

    Of an order that was cancelled nobody picks anything, and nobody has to say so: what waits of it waits no more from
    its next age on (`pick_cancelled`, in (node)).
    What can't be done is counted among what was done: `short:pick` in (node, sku), `pick_rejected` in (node).
    """

    VERSION = 2

    def __init__(self, book: OrderBook, remembered_us: int) -> None:
        super().__init__(_WAIT, _AGES, remembered_us, _EARLY)
        self._book, self._nodes = book, ScopesOf("node")

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {
            TaskQueued: self._queued,
            TaskStarted: self._started,
            TaskCompleted: self._completed,
            TaskRejected: self._rejected,
        }

    def impact(self, key: str, work: Waiting) -> Impact:
        """The order: its other lines wait for this one."""
        del key
        return self._book.whole(work.order_id)

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """As `Ageing`; what was cancelled is given up."""
        work = self._waiting.get(key)
        facts = self._book.get(work.order_id) if work is not None else None
        if work is not None and facts is not None and facts.cancelled:
            self.drop(key)
            out.good(_CANCELLED, work.scope, due_us)
        else:
            super().due(key, due_us, out)

    def _queued(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskQueued)
        if event.task_type != "pick" or event.order_id is None:
            return
        scope = self._nodes[event.node]
        if self.begin(event.task_id, arrived, scope, event.order_id, out):
            out.good(_QUEUED, scope, arrived.arrival_us)
            if event.task_id not in self._waiting:  # that it was begun was heard of first
                out.good(_BEGUN, scope, arrived.arrival_us)

    def _started(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskStarted)
        if event.task_type == "pick" and event.order_id is not None:
            self._off(event.task_id, event.node, arrived, out)

    def _completed(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskCompleted)
        if event.task_type != "pick" or event.order_id is None:
            return
        self._off(event.task_id, event.node, arrived, out)
        out.good(_REJECTED, self._nodes[event.node], arrived.arrival_us)
        if event.sku and out.reads(_SHORT):
            out.good(_SHORT, scoped(node=event.node, sku=event.sku), arrived.arrival_us)

    def _rejected(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskRejected)
        if event.task_type != "pick" or event.order_id is None:
            return
        self._off(event.task_id, event.node, arrived, out)
        impact = self._book.impact(event.order_id, event.sku)
        place = (arrived.arrival_us, arrived.occurred_us, event.event_id)
        out.bad(_REJECTED, self._nodes[event.node], *place, impact=impact)
        if event.sku:
            out.bad(_SHORT, scoped(node=event.node, sku=event.sku), *place, impact=impact)

    def _off(self, task_id: str, node: str, arrived: Arrived, out: Collected) -> None:
        """It waits no more."""
        if self.end(task_id, arrived, out) is not None:
            out.good(_BEGUN, self._nodes[node], arrived.arrival_us)


class PickState(AgeState, array_like=True):
    """And what was queued and done, in parts of ten minutes: (part, queued, done); and how quickly it is begun."""

    parts: list[tuple[int, float, float]] = msgspec.field(default_factory=list)
    pace: PaceState = msgspec.field(default_factory=PaceState)


class PickWatch(AgeWatch):
    """The second part: picks wait, and the node does less than comes in and less than it could."""

    State = PickState

    def __init__(self, policy: Policy[BacklogRule]) -> None:
        super().__init__(
            "picking_backlog",
            "picking_backlog",
            _WAIT,
            _AGES,
            policy,  # type: ignore[arg-type] # a BacklogRule is an AgeRule
            _words,
            handoff="pick",
        )
        self.METRICS = (*self.METRICS, *_STILL, _QUEUED, _BEGUN, _CANCELLED)
        self._backlog_policy = policy
        self._pace = Pace(_PACED)

    def judge(  # type: ignore[override] # of its own state
        self,
        scope: Scoped,
        state: PickState,
        cells: Mapping[str, Cell],
        end_us: int,
        *,
        barred: bool = False,
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        rule, number, was_open = (
            self._backlog_policy.of(scope, state.head.region),
            end_us // CELL_US,
            state.head.found_us,
        )
        self._pace.step(state.pace, number, _counted(cells), rule.slow, learns=not was_open)
        yield from super().judge(scope, state, cells, end_us, barred=barred)
        if state.head.found_us != was_open:
            self._pace.forget(state.pace, number)
        elif not was_open and not barred:
            slow = self._pace.slow(state.pace, rule.slow, rule.early * rule.least)
            if slow is not None and not self._as_the_day_before(state, slow, number):
                yield self._begin_slow(scope, state, slow, end_us, rule)
                self._pace.forget(state.pace, number)

    def _go_on(
        self,
        scope: Scoped,
        state: PickState,  # type: ignore[override] # of its own state
        cells: Mapping[str, Cell],
        end_us: int,
        rule: AgeRule,
        *,
        low: bool,
        silent: bool,
    ) -> Iterable[ScopeFinding]:
        """As `AgeWatch`; it is not over while much waits for long."""
        assert isinstance(rule, BacklogRule)
        low = low and not self._pace.lasts(state.pace, rule.slow, rule.least)
        yield from super()._go_on(scope, state, cells, end_us, rule, low=low, silent=silent)

    def _begin_slow(self, scope: Scoped, state: PickState, slow: Slow, end_us: int, rule: BacklogRule) -> ScopeFinding:
        """A finding whose evidence are the picks that have waited longest."""
        head, age = state.head, state.ages[self.naming_age(state, rule)]
        self._open_since(state, slow.since * CELL_US, end_us)
        usual = self._pace.usual_wait_min(state.pace)
        seen = Seen(scope, slow.begun, slow.came, 0.0, usual, head.opened_us, 0, 0, CELL_US, closed=False)
        finding = self._finding(head, seen, state.pace.evidence, end_us, self._new(head, age.recent))
        expected, observed, sentence = _slow_words(scope, slow, usual)
        signal = msgspec.structs.replace(finding.signal, expected=expected, observed=observed, explanation=sentence)
        return msgspec.structs.replace(finding, signal=signal)

    @staticmethod
    def _as_the_day_before(state: PickState, slow: Slow, number: int) -> bool:
        """Whether as much came in at this time of the day before, and as little of it was begun.

        Of a node that has stopped, nothing is known on its first day: it can have closed.
        """
        part, day = number // _PART, _DAY // _PART
        if not state.parts or state.parts[0][0] > part - day:
            return slow.stopped
        near = _AROUND + _BEFORE_PARTS
        then = {at + day: (came, begun) for at, came, begun in state.parts if abs(at + day - part) <= near}
        if slow.stopped and not any(begun for _, begun in then.values()):
            return True
        span = max(_LEAST_PARTS, round(slow.minutes / _PART))
        for last in range(part - _AROUND, part + _AROUND + 1):
            one = [then.get(at, (0.0, 0.0)) for at in range(last - span + 1, last + 1)]
            came, begun = sum(of[0] for of in one), sum(of[1] for of in one)
            as_much = came * slow.minutes >= slow.came * span * _PART / 2
            if as_much and begun * slow.came <= _AS_LITTLE * came * max(1.0, slow.begun):
                return True
        return False

    def barred(self, scope: Scoped, state: AgeState, cells: Mapping[str, Cell], number: int, rule: AgeRule) -> bool:
        """As `AgeWatch`: whether the node does as much as it can, or is closed."""
        del scope
        assert isinstance(state, PickState)
        assert isinstance(rule, BacklogRule)
        self._count(state, cells, number)
        long = min(bisect_left(_AGES, rule.named_from), len(_AGES) - 1)
        if len(state.ages[long].recent) < rule.least / 2:
            return True  # nobody has waited for long yet
        queued, done, minutes = 0.0, 0.0, 0
        for part, came, went in reversed(state.parts):
            if minutes >= _BACK and queued >= rule.least:
                break
            queued, done, minutes = queued + came, done + went, number - part * _PART + 1
        if done >= rule.done * queued:
            return True
        if not done:
            return self._is_closed(state, number // _PART, queued, minutes)
        by_hour: dict[int, float] = {}
        for part, _, went in state.parts:
            if part < number // _PART - 6:
                hour = part * _PART // 60
                by_hour[hour] = by_hour.get(hour, 0.0) + went
        return bool(by_hour) and done > rule.pace * median(by_hour.values()) * minutes / 60

    @staticmethod
    def _count(state: PickState, cells: Mapping[str, Cell], number: int) -> None:
        queued, done = cells.get(_QUEUED), cells.get(_BEGUN)
        came, went = queued.total if queued else 0.0, done.total if done else 0.0
        if not came and not went:
            return
        part = number // _PART
        if state.parts and state.parts[-1][0] == part:
            _, before, after = state.parts[-1]
            state.parts[-1] = part, before + came, after + went
        else:
            oldest = part - 2 * _DAY // _PART
            while state.parts and state.parts[0][0] <= oldest:
                del state.parts[0]
            state.parts.append((part, came, went))

    @staticmethod
    def _is_closed(state: PickState, part: int, queued: float, minutes: int) -> bool:
        """Nothing is done at all: as at this time of the day before; of a first day, unless more comes than ever."""
        day = _DAY // _PART
        if state.parts[0][0] <= part - day:
            return not any(part - day - 3 <= at <= part - day + 3 and went for at, _, went in state.parts)
        came = sum(one[1] for one in state.parts) / max(1, part - state.parts[0][0] + 1)
        return queued < 0.5 * came * minutes / _PART


def _counted(cells: Mapping[str, Cell]) -> list[float]:
    """What came in a minute, what was begun, what was given up, and what still waited at each age."""
    counted = list(_NOTHING)
    for metric, cell in cells.items():
        place = _PLACES.get(metric)
        if place is not None:
            counted[place] += cell.total if metric in _BY_TOTAL else cell.bad
    return counted


def _slow_words(scope: Scoped, slow: Slow, usual_min: float) -> tuple[str, str, str]:
    node, within = dict(scope)["node"], people_duration(slow.minutes * MINUTE_US)
    due, clears = min(slow.came, slow.before), people_duration(round(slow.clears_min) * MINUTE_US)
    expected = f"{due:.0f} picks begun in {within}, half of them within {people_duration(round(usual_min * MINUTE_US))}"
    observed = f"{slow.begun:.0f} begun, {slow.waiting:.0f} wait"
    sentence = (
        f"Picking at {node} falls behind: in {within} {slow.begun:.0f} picks were begun, where {slow.came:.0f} came "
        f"and {slow.before:.0f} are usual; at this pace what waits takes {clears}."
    )
    return expected, observed, sentence


def _words(seen: Seen) -> tuple[str, str, str]:
    minutes = seen.window_us // MINUTE_US
    node = dict(seen.scope)["node"]
    expected = f"{seen.usual:.0%} of picks still wait after {minutes} min"
    if seen.closed:
        return expected, "as usual", f"Picks at {node} no longer wait; {seen.cases} orders waited too long."
    observed = f"{seen.bad:.0f} of {seen.total:.0f} wait longer"
    sentence = (
        f"Picking at {node} falls behind: {observed} than {minutes} min, where {seen.usual:.0%} is usual, and less is "
        f"done than comes in."
    )
    return expected, observed, sentence


def warehouse_judges(backlog: Policy[BacklogRule]) -> list[ScopeDetector]:
    """The second parts."""
    return [PickWatch(backlog)]
