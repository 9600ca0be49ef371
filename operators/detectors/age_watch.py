"""Work that is not over at an age at which it usually is: found long before a deadline, from how others fared.

The second part: at each age and by scope, the share that was not over against the share that usually is not.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from operators.detectors.ageing import age_metrics
from operators.detectors.events import CELL_US
from operators.detectors.policy import Policy
from operators.detectors.rates import Judged, RateRule, RateState, RateWatch, Seen, Words
from operators.detectors.records import Scoped, ScopeFinding
from operators.detectors.scopes import Cell
from operators.process_map import Severity
from schemas.durations import DAY_US, MINUTE_US, Duration


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


class AgeWatch(RateWatch):
    """The second part: too many are not over at an age at which they usually are.

    Where nothing at all is heard of a scope for longer than is usual (the log is held back), what is due meanwhile is
    not counted. Memory: a window's counts and its late cases for each age.
    """

    State = AgeState  # type: ignore[assignment] # of its own
    #: Much that comes at once (a night's orders) counts as a little for what is usual.
    MOST_OF_CELL: ClassVar[float] = 10.0

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
        oldest, metrics = number - width, self._age_metrics
        silent = self._is_silent(state, cells.get(metrics[-1]), number)
        while len(state.ages) < len(self._ages):
            state.ages = [*state.ages, RateState()]
        head, best, low, best_index = state.head, None, True, -1
        opened_us, named = head.opened_us, self.naming_age(state, rule)
        for index, age in enumerate(state.ages):
            age.opened_us = opened_us  # what is broken must not become usual
            if age.cells and age.cells[0][0] <= oldest:
                self._slide(age, oldest, rule)
            cell = cells.get(metrics[index])
            if cell is not None and not silent:
                cell = _since(cell, state.over_us)
                self._add(age, number, cell, width)
                age.recent.extend(cell.members)
            if not age.recent or not self.is_known(age, index, rule) or self._usual(age, rule, 1) > rule.most_usual:
                continue
            if opened_us:  # only then it is asked whether it is over
                low = low and (index > named or self._is_calm(age, rule, number, width))
            high = self._too_many(age, rule, number, width, rule.least * (rule.early if index < named else 1.0))
            if high is not None and (best is None or high[1].score > best[1].score):
                best, best_index = high, index
        blocked = self.barred(scope, state, cells, number, rule) or barred
        if not head.opened_us:
            if best is not None and not blocked:
                yield from self._begin(scope, state, best[0], best_index, end_us, rule)
            return
        yield from self._go_on(scope, state, cells, end_us, rule, low=low, silent=silent)

    def _too_many(
        self, age: RateState, rule: AgeRule, number: int, width: int, least: float
    ) -> tuple[int, Judged] | None:
        """The end of the window in which too many are not over at an age, at least so many; None where there is none.

        Most windows have fewer, which is seen from their sum alone.
        """
        if sum([one[1] for one in reversed(age.cells)]) < least:
            return None
        span, judged = self._most_surprising(age, rule, number, width)
        high = judged.bad >= least and judged.share >= judged.bar and judged.score >= rule.score
        high = high and len({member[0] // CELL_US for member in age.recent}) >= _LEAST_MINUTES
        return (span, judged) if high else None

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

    def _open_since(self, state: AgeState, since_us: int, end_us: int) -> None:
        """Open what was found by other evidence than the counts of an age; all that is late at any age shows it."""
        head = state.head
        head.recent = [member for one in reversed(state.ages) for member in one.recent]
        head.cells = []
        self._open(head, end_us, 0)
        head.opened_us = head.since_us = since_us

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
        cell = cells.get(self._age_metrics[named])
        late = _since(cell, state.over_us).members if cell is not None and not silent else []
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

    def naming_age(self, state: AgeState, rule: AgeRule) -> int:
        """The index of the age at which who is not over is touched, the first where none is clear enough."""
        ages, first = state.ages, bisect_left(self._ages, rule.named_from)
        for index in range(first, len(ages)):
            if self.is_known(ages[index], index, rule) and self._usual(ages[index], rule, 1) <= rule.named_usual:
                return index
        return min(first, len(self._ages) - 1)

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


def _since(cell: Cell, begin_us: int) -> Cell:
    """A cell without the late ones that began before."""
    if not begin_us or not cell.members:
        return cell
    members = [member for member in cell.members if member[1] >= begin_us]
    gone = len(cell.members) - len(members)
    return msgspec.structs.replace(cell, members=members, bad=cell.bad - gone, total=cell.total - gone)
