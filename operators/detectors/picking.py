"""Picking: work that waits at a node longer than is usual there while little gets done, and picks that can't be done.

A pick waits from when it is queued until it is started, or, where a node does not tell of that, until it is completed
or rejected.
"""

from collections.abc import Mapping
from statistics import median

import msgspec

from operators.detectors.ageing import Ageing, AgeRule, AgeState, AgeWatch, Waiting
from operators.detectors.events import Collected, Handler
from operators.detectors.order_book import OrderBook
from operators.detectors.policy import Policy
from operators.detectors.rates import Seen
from operators.detectors.records import Impact, Scoped, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from schemas.durations import HOUR_US, MINUTE_US, Duration
from schemas.events import Arrived, EventBase, TaskCompleted, TaskQueued, TaskRejected, TaskStarted

#: Ages (min) at which a waiting pick is looked at.
_AGES = tuple(minutes * MINUTE_US for minutes in (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240))
_WAIT, _QUEUED, _DONE = "pick_wait", "pick_queued", "pick_done"
#: How many minutes are counted as one, how many are looked back on at least, and how many are a day.
_PART, _BACK, _DAY = 10, 20, 24 * 60


class BacklogRule(AgeRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a node's picks are a backlog: too many wait too long, and the node does too little.

    Of what was queued in the last 20 minutes, or as long as it takes for `least` picks to come, less than `done` was
    done, and no more than `pace` times what the node does in an ordinary hour in which it works at all: a batch that is
    worked off at full speed, or a peak, is none.
    """

    least: float = 5.0
    score: float = 5.0
    done: float = 0.6
    pace: float = 0.7


class WarehouseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for work at nodes. Which picks are over is remembered for `remembered`."""

    backlog: BacklogRule = BacklogRule()
    remembered: Duration = Duration(2 * HOUR_US)


class Picks(Ageing):
    """The first part: how long picks of orders wait, and which can't be done.

    The latter are counted among those that were done: `short:pick` in (node, sku), `pick_rejected` in (node).
    """

    def __init__(self, book: OrderBook, remembered_us: int) -> None:
        super().__init__(_WAIT, _AGES, remembered_us)
        self._book = book

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
        return self._book.impact(work.order_id)

    def _queued(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskQueued)
        if event.task_type != "pick" or event.order_id is None:
            return
        scope = scoped(node=event.node)
        out.good(_QUEUED, scope, arrived.arrival_us)
        self.begin(event.task_id, arrived, scope, event.order_id, out)

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
        out.good("pick_rejected", scoped(node=event.node), arrived.arrival_us)
        if event.sku:
            out.good("short:pick", scoped(node=event.node, sku=event.sku), arrived.arrival_us)

    def _rejected(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, TaskRejected)
        if event.task_type != "pick" or event.order_id is None:
            return
        self._off(event.task_id, event.node, arrived, out)
        impact = self._book.impact(event.order_id, event.sku)
        where = {"node": event.node} | ({"sku": event.sku} if event.sku else {})
        out.bad(
            "pick_rejected",
            scoped(node=event.node),
            arrived.arrival_us,
            arrived.occurred_us,
            event.event_id,
            impact=impact,
        )
        if event.sku:
            out.bad(
                "short:pick", scoped(**where), arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact
            )

    def _off(self, task_id: str, node: str, arrived: Arrived, out: Collected) -> None:
        """It waits no more."""
        if self.end(task_id, arrived, out) is not None:
            out.good(_DONE, scoped(node=node), arrived.arrival_us)


class PickState(AgeState, array_like=True):
    """And what was queued and done, in parts of ten minutes: (part, queued, done)."""

    parts: list[tuple[int, float, float]] = msgspec.field(default_factory=list)


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
        self.METRICS = (*self.METRICS, _QUEUED, _DONE)

    def barred(self, scope: Scoped, state: AgeState, cells: Mapping[str, Cell], number: int, rule: AgeRule) -> bool:
        """As `AgeWatch`: whether the node does as much as it can, or is closed."""
        del scope
        assert isinstance(state, PickState)
        assert isinstance(rule, BacklogRule)
        self._count(state, cells, number)
        if len(state.ages[self.naming_age(state, rule)].recent) < rule.least / 2:
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
        queued, done = cells.get(_QUEUED), cells.get(_DONE)
        came, went = queued.total if queued else 0.0, done.total if done else 0.0
        if not came and not went:
            return
        part = number // _PART
        if state.parts and state.parts[-1][0] == part:
            _, before, after = state.parts[-1]
            state.parts[-1] = part, before + came, after + went
        else:
            oldest = part - 2 * _DAY // _PART
            state.parts = [*(one for one in state.parts if one[0] > oldest), (part, came, went)]

    @staticmethod
    def _is_closed(state: PickState, part: int, queued: float, minutes: int) -> bool:
        """Nothing is done at all: as at this time of the day before; of a first day, unless more comes than ever."""
        day = _DAY // _PART
        if state.parts[0][0] <= part - day:
            return not any(part - day - 3 <= at <= part - day + 3 and went for at, _, went in state.parts)
        came = sum(one[1] for one in state.parts) / max(1, part - state.parts[0][0] + 1)
        return queued < 0.5 * came * minutes / _PART


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
