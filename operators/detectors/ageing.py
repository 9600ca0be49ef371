"""Work that is not over at an age at which it usually is: found long before a deadline, from how others fared.

A first part (`Ageing`) says of each piece of work, at each of some ages, whether it was over by then. The second part
(`AgeWatch`) holds, at each age and by scope, the share that was not against the share that usually is not. Since only
work that has reached an age is judged at it, what began lately does not make the usual look quicker than it is (as
latencies of what has ended do).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from operators.detectors.events import CELL_US, Collected, EventDetector
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, RateState, RateWatch, Seen, Words
from operators.detectors.records import Impact, Scoped, ScopeFinding
from operators.detectors.scopes import Cell
from operators.process_map import Severity
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration
from schemas.errors import StateError
from schemas.events import Arrived


class Waiting(msgspec.Struct, array_like=True):
    """A piece of work that goes on: since when (arrival and event time), at which age it is looked at next.

    `until_us` is when it is promised to be over, 0 where nothing was promised.
    """

    begun_us: int
    at_us: int
    scope: Scoped
    order_id: str
    event_id: str
    until_us: int = 0
    next: int = 0


class AgeingState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of an `Ageing`: what goes on, and when what is over ended (negative: heard of before its begin)."""

    version: int
    waiting: dict[str, Waiting]
    ended: dict[str, int]


class Ageing(EventDetector):
    """Follows work from its begin to its end. Subclasses call `begin` and `end`, and say what is touched.

    A piece of work ends once: what begins again under the same key within `remembered_us` is no new work (a second
    parcel of an order whose goods issue is posted as one), and its end may be reported before its begin.

    Memory: some 300 bytes for a piece that goes on, given up at the last age; 100 for each that ended within
    `remembered_us`. Cost: a dictionary entry and a timer for each piece, a count for each age.

    Args:
        name: the metrics' name: `name:0` are those judged at the first age, `name:heard` are begins and ends.
        ages: the ages, ascending, in microseconds.
        early: further ages, at which what is not over is only counted: `name:early:0` are those not over at the first.
    """

    VERSION = 1

    def __init__(self, name: str, ages: Sequence[int], remembered_us: int, early: Sequence[int] = ()) -> None:
        super().__init__()
        self.NAME = name  # type: ignore[misc] # an instance is a detector of its own
        self._ages, self._remembered_us = tuple(sorted((*ages, *early))), remembered_us
        self._span_us = max(SECOND_US, min(HOUR_US, remembered_us // 24))
        judged, counted = iter(age_metrics(name, len(ages))), iter(early_metrics(name, len(early)))
        self._judged = tuple(age not in early for age in self._ages)
        self._metrics = (*(next(judged if is_judged else counted) for is_judged in self._judged), *judged)
        self._waiting: dict[str, Waiting] = {}
        self._ended: dict[str, int] = {}
        self._swept = 0

    def due_us(self, work: Waiting, index: int) -> int:
        """When it reaches an age."""
        return work.begun_us + self._ages[index]

    def impact(self, key: str, work: Waiting) -> Impact:
        """What is touched when it is late."""
        raise NotImplementedError

    def begin(
        self,
        key: str,
        arrived: Arrived,
        scope: Scoped,
        order_id: str,
        out: Collected,
        *,
        until_us: int = 0,
    ) -> bool:
        """It began. Returns whether that is new."""
        out.good(self._metrics[-1], scope, arrived.arrival_us)
        if key in self._waiting:
            return False
        work = Waiting(arrived.arrival_us, arrived.occurred_us, scope, order_id, arrived.event.event_id, until_us)
        ended_us = self._ended.get(key)
        if ended_us is None:
            self._waiting[key] = work
            self.set_timer(self.due_us(work, 0), key)
            return True
        if ended_us < 0:  # its end was heard of first
            self._ended[key] = -ended_us
            self._over(work, out)
        return ended_us < 0

    def end(self, key: str, arrived: Arrived, out: Collected) -> Waiting | None:
        """It is over. Returns what it was, None where that it began was not heard of."""
        work = self._waiting.pop(key, None)
        now_us = arrived.arrival_us
        if work is not None:
            out.good(self._metrics[-1], work.scope, now_us)
            self._over(work, out)
        if work is not None or key not in self._ended:
            self._ended[key] = -now_us if work is None else now_us
            self._sweep(now_us)
        return work

    def drop(self, key: str) -> None:
        """It is not waited for any more (cancelled): counted neither way from here on."""
        self._waiting.pop(key, None)

    def _over(self, work: Waiting, out: Collected) -> None:
        """It counts as over at every age that it has yet to reach."""
        for index in range(work.next, len(self._ages)):
            if self._judged[index]:
                out.good(self._metrics[index], work.scope, self.due_us(work, index))

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """As `EventDetector`: it reaches an age and is not over."""
        work = self._waiting.get(key)
        if work is None or self.due_us(work, work.next) > due_us:
            return
        metric = self._metrics[work.next]
        if self._judged[work.next]:
            out.bad(metric, work.scope, due_us, work.at_us, work.event_id, impact=self.impact(key, work))
        else:
            out.good(metric, work.scope, due_us)
        work.next += 1
        if work.next < len(self._ages):
            self.set_timer(max(due_us, self.due_us(work, work.next)), key)
        else:
            del self._waiting[key]

    def _sweep(self, now_us: int) -> None:
        """Forget, every now and then (a 24th of how long it is remembered, at most an hour), what ended long ago."""
        if now_us // self._span_us <= self._swept:
            return
        self._swept = now_us // self._span_us
        before = self._swept * self._span_us - self._remembered_us
        self._ended = {key: at_us for key, at_us in self._ended.items() if abs(at_us) >= before}

    def sizes(self) -> Mapping[str, int]:
        """As `EventDetector`."""
        return {"waiting": len(self._waiting), "ended": len(self._ended)}

    def snapshot(self) -> bytes:
        """As `EventDetector`."""
        return msgspec.msgpack.encode(AgeingState(self.VERSION, self._waiting, self._ended))

    def restore(self, state: bytes) -> None:
        """As `EventDetector`."""
        kept = decoded_state(state, AgeingState, self.NAME)
        if kept.version != self.VERSION:
            raise StateError(f"{self.NAME} of version {kept.version}; this code reads {self.VERSION}")
        self._waiting, self._ended = kept.waiting, kept.ended


_State = TypeVar("_State")


def decoded_state(state: bytes, record: type[_State], name: str) -> _State:
    """What a detector kept.

    Raises:
        StateError: it can't be read.
    """
    try:
        return msgspec.msgpack.decode(state, type=record)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StateError(f"what {name} kept can't be read: {error}") from error


def age_metrics(name: str, ages: int) -> tuple[str, ...]:
    """The metric of each age, and that of what is heard of at all."""
    return (*(f"{name}:{index}" for index in range(ages)), f"{name}:heard")


def early_metrics(name: str, ages: int) -> tuple[str, ...]:
    """The metric of each age at which what is not over is only counted."""
    return tuple(f"{name}:early:{index}" for index in range(ages))


class AgeRule(RateRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When too many are not over at an age: a `RateRule` for each age.

    An age is judged once `learnt` pieces of work have been seen at it, and while no more than `most_usual` are usually
    not over by then (what takes about that long comes and goes in batches). Cases are named at the first age of at
    least `named_from` at which no more than `named_usual` usually are not; before it `early` times `least` must be
    late.
    """

    window: Duration = Duration(60 * MINUTE_US)
    least: float = 6.0
    share: float = 0.3
    times: float = 3.0
    score: float = 6.0
    quiet: Duration = Duration(20 * MINUTE_US)
    usual: float = 0.02
    memory: Duration = Duration(3 * DAY_US)
    learnt: float = 30.0
    most_usual: float = 0.3
    named_from: Duration = Duration(30 * MINUTE_US)
    named_usual: float = 0.05
    early: float = 2.0


class AgeState(msgspec.Struct, array_like=True):
    """What is kept of a scope: what is found (`head`), the counts at each age, and in which minutes it was heard of.

    What began before `over_us`, when the last finding was closed, belongs to that one, however old it grows.
    """

    head: RateState = msgspec.field(default_factory=RateState)
    ages: list[RateState] = []
    heard: list[tuple[int, float]] = []
    over_us: int = 0


#: After how many messages that did not come a scope is held to be silent, and for how long at most that is no finding.
_MISSED, _SILENT_CELLS = 5.0, 30
#: In how many different minutes work must have become late: what was begun in one batch is late together.
_LEAST_MINUTES = 3
#: How much one minute can tell of what is usual.
_MOST_OF_CELL = 10.0


class AgeWatch(RateWatch):
    """The second part: too many are not over at an age at which they usually are.

    Where nothing at all is heard of a scope for longer than is usual (the log is held back), what is due meanwhile is
    not counted. Memory: a window's counts and its late cases for each age.
    """

    State = AgeState  # type: ignore[assignment] # of its own

    def __init__(
        self,
        name: str,
        kind: str,
        metric: str,
        ages: Sequence[int],
        policy: Policy[AgeRule],
        words: Words,
        *,
        severity: Severity = "high",
        handoff: str = "",
    ) -> None:
        rates: Any = policy  # an AgeRule is a RateRule
        super().__init__(name, kind, metric, rates, words, severity=severity, handoff=handoff)
        self._age_policy = policy
        self._ages, self._age_metrics = tuple(ages), age_metrics(metric, len(ages))
        self.METRICS = self._age_metrics

    def barred(self, scope: Scoped, state: AgeState, cells: Mapping[str, Cell], number: int, rule: AgeRule) -> bool:
        """Whether what is seen is no finding all the same."""
        del scope, state, cells, number, rule
        return False

    def judge(  # type: ignore[override] # of its own state
        self,
        scope: Scoped,
        state: AgeState,
        cells: Mapping[str, Cell],
        end_us: int,
        *,
        barred: bool = False,
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        rule, number = self._age_policy.of(scope, state.head.region), end_us // CELL_US
        width = max(1, rule.window // CELL_US)
        silent = self._is_silent(state, cells.get(self._age_metrics[-1]), number)
        while len(state.ages) < len(self._ages):
            state.ages = [*state.ages, RateState()]
        head, best, low, best_index = state.head, None, True, -1
        named = self.naming_age(state, rule)
        for index, age in enumerate(state.ages):
            age.opened_us = head.opened_us  # what is broken must not become usual
            cell = _since(cells.get(self._age_metrics[index]), state.over_us)
            self._slide(age, number - width, rule)
            if cell is not None and not silent:
                self._add(age, number, cell, width)
                age.recent.extend(cell.members)
            if not age.recent or not self.is_known(age, index, rule) or self._usual(age, rule, 1) > rule.most_usual:
                continue
            span, judged = self._most_surprising(age, rule, number, width)
            low = low and (index > named or self._is_calm(age, rule, number, width))
            least = rule.least * (rule.early if index < named else 1.0)
            high = judged.bad >= least and judged.share >= judged.bar and judged.score >= rule.score
            high = high and len({member[0] // CELL_US for member in age.recent}) >= _LEAST_MINUTES
            if high and (best is None or judged.score > best[1].score):
                best, best_index = (span, judged), index
        blocked = self.barred(scope, state, cells, number, rule) or barred
        if not head.opened_us:
            if best is not None and not blocked:
                yield from self._begin(scope, state, best[0], best_index, end_us, rule)
            return
        yield from self._go_on(scope, state, cells, end_us, rule, low=low, silent=silent)

    def _begin(
        self, scope: Scoped, state: AgeState, span: int, index: int, end_us: int, rule: AgeRule
    ) -> Iterable[ScopeFinding]:
        number, age, head = end_us // CELL_US, state.ages[index], state.head
        head.recent = [member for member in age.recent if member[0] // CELL_US > number - span - 1]
        head.cells = list(age.cells)
        self._open(head, end_us, number - span)
        judged = self._over(age, rule, number, span)
        seen = Seen(scope, judged.bad, judged.total, judged.share, judged.usual, head.opened_us, 0, 0, 0, closed=False)
        seen = msgspec.structs.replace(seen, window_us=self._ages[index])
        named = self.naming_age(state, rule)
        yield self._finding(head, seen, judged.score, end_us, self._new(head, state.ages[named].recent))

    def _go_on(
        self,
        scope: Scoped,
        state: AgeState,
        cells: Mapping[str, Cell],
        end_us: int,
        rule: AgeRule,
        *,
        low: bool,
        silent: bool,
    ) -> Iterable[ScopeFinding]:
        head, number = state.head, end_us // CELL_US
        named = self.naming_age(state, rule)
        cell = _since(cells.get(self._age_metrics[named]), state.over_us)
        late = cell.members if cell is not None and not silent else []
        head.total_bad += len(late)
        age = state.ages[named]
        usual = self._usual(age, rule, 1)
        bad, total = head.total_bad, sum(one[2] for one in age.cells)
        seen = Seen(scope, bad, max(total, bad), 0.0, usual, head.opened_us, 0, 0, self._ages[named], closed=False)
        new = self._new(head, late)
        if low and end_us - head.found_us >= rule.quiet:
            yield self._finding(head, seen, head.worst, end_us, new, closed=True)
            self._close(head, number)
            state.over_us = end_us
            for one in state.ages:
                self._close(one, number)
        elif new:
            yield self._finding(head, seen, head.worst, end_us, new)

    def _is_calm(self, age: RateState, rule: AgeRule, number: int, width: int) -> bool:
        """Whether few of those that came to an age within `quiet` (where none did, within the window) were not over."""
        lately = self._over(age, rule, number, max(1, rule.quiet // CELL_US))
        if not lately.total:
            lately = self._over(age, rule, number, width)
        return lately.bad < 1.0 or lately.share < lately.bar / 2

    def is_known(self, age: RateState, index: int, rule: AgeRule) -> bool:
        """Whether enough was seen at an age to say what is usual at it."""
        del index
        return age.usual_total >= rule.learnt

    def _slide(self, state: RateState, oldest: int, rule: RateRule) -> None:
        """As `RateWatch`, but much that comes at once (a night's orders) counts as a little for what is usual."""
        cells = state.cells
        if not cells or cells[0][0] > oldest:
            return
        for place, one in enumerate(cells):
            if one[0] > oldest:
                break
            if one[2] > _MOST_OF_CELL:
                cells[place] = _as_little(one)
        super()._slide(state, oldest, rule)

    def naming_age(self, state: AgeState, rule: AgeRule) -> int:
        """The index of the age at which who is not over is touched, the first where none is clear enough."""
        for index, age in enumerate(state.ages):
            clear = self.is_known(age, index, rule) and self._usual(age, rule, 1) <= rule.named_usual
            if self._ages[index] >= rule.named_from and clear:
                return index
        later = [index for index, age in enumerate(self._ages) if age >= rule.named_from]
        return later[0] if later else len(self._ages) - 1

    @staticmethod
    def _is_silent(state: AgeState, cell: Cell | None, number: int) -> bool:
        """Whether nothing is heard of the scope although much usually is."""
        if cell is not None:
            heard = state.heard
            while heard and heard[0][0] <= number - 60:
                del heard[0]
            heard.append((number, cell.total))
            return False
        if not state.heard:
            return False
        gap = number - state.heard[-1][0]
        return gap <= _SILENT_CELLS and gap * sum(one[1] for one in state.heard) / 60 >= _MISSED

    def idle(self, state: AgeState) -> bool:  # type: ignore[override] # of its own state
        """As `ScopeDetector`."""
        return not state.head.opened_us


def _as_little(cell: tuple[int, float, float]) -> tuple[int, float, float]:
    """A cell with the same share of fewer."""
    return cell[0], cell[1] * _MOST_OF_CELL / cell[2], _MOST_OF_CELL


def _since(cell: Cell | None, begin_us: int) -> Cell | None:
    """A cell without the late ones that began before."""
    if cell is None or not begin_us or not cell.members:
        return cell
    members = [member for member in cell.members if member[1] >= begin_us]
    gone = len(cell.members) - len(members)
    return msgspec.structs.replace(cell, members=members, bad=cell.bad - gone, total=cell.total - gone)
