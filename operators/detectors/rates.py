"""Too many bad ones: the rule that most second parts of detectors are.

`RateWatch` counts in a sliding window of cells. It opens when enough of what came is bad, in number and in share, and
when that can't be chance given what is usual in this scope; it closes when the share has been low for a while.

How surprising `k` bad ones of `n` are, where a share `p` is usual, is scored by Chernoff's bound on the binomial tail,
P(X ≥ k) ≤ exp(-n·KL(k/n ‖ p)); and `k` without an `n`, where `m` are usual, by that on the Poisson tail,
P(X ≥ k) ≤ exp(-(k·ln(k/m) - k + m)) (Hoeffding 1963; Mitzenmacher and Upfal, Probability and Computing, ch. 4). The
score is -log10 of the bound: 3 is one in a thousand, and it does not saturate.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from math import exp, inf, log, log10
from operator import itemgetter
from typing import ClassVar, NamedTuple

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.policy import ByScope, Policy
from operators.detectors.records import Impact, Scoped, ScopeFinding
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import confidence_of, next_version, signal_id
from operators.process_map import Severity
from schemas.durations import HOUR_US, MINUTE_US, Duration, people_duration
from schemas.rows import Signal

_LN10, _HALVES = log(10), -log(2)
_EVIDENCE = 20
_arrival = itemgetter(0)
#: For how many the usual share of the settings counts beside those that were seen.
PRIOR_OF_SHARE = 50.0
#: How many touched cases an open finding remembers having named.
_MOST_NAMED = 100_000


class RateRule(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a rate is a finding.

    Within `window`, at least `least` bad ones, and of those counted at least the share `share` and `times` what is
    usual in the scope; `score` is how surprising that must be (-log10 of the probability). It closes when, for `quiet`,
    less than half of `share` was bad. `usual` is the share (or the number a minute, where nothing is counted but bad
    ones) that is taken as usual before anything was seen; what was seen counts by half after `memory`.
    """

    window: Duration = Duration(15 * MINUTE_US)
    least: float = 5.0
    share: float = 0.1
    times: float = 3.0
    score: float = 4.0
    quiet: Duration = Duration(20 * MINUTE_US)
    usual: float = 0.02
    memory: Duration = Duration(24 * HOUR_US)


class RateState(msgspec.Struct, array_like=True):
    """What is kept of a scope: the window's cells, what is usual, and the open finding.

    `cells` and `recent` are in order of time; `bad_at` is the last cell in which any was bad.
    """

    cells: list[tuple[int, float, float]] = []
    recent: list[tuple[int, int, str, Impact | None]] = []
    usual_bad: float = 0.0
    usual_total: float = 0.0
    learnt: int = 0
    opened_us: int = 0
    found_us: int = 0
    since_us: int = 0
    quiet_from: int = 0
    worst: float = 0.0
    total_bad: float = 0.0
    evidence: list[str] = []
    named: dict[str, None] = {}
    version: int = 0
    region: str = ""
    bad_at: int = 0


class Seen(msgspec.Struct, frozen=True):
    """What a finding's words are made of: `bad` of `total` in the window, the usual share (or number a window)."""

    scope: Scoped
    bad: float
    total: float
    share: float
    usual: float
    since_us: int
    all_bad: float
    cases: int
    window_us: int
    closed: bool

    @property
    def where(self) -> str:
        """`channel web`; `node s1, sku 4711`."""
        return ", ".join(f"{name} {value}" for name, value in self.scope)

    @property
    def within(self) -> str:
        """`15 min`."""
        return people_duration(self.window_us)


class Judged(NamedTuple):
    """An end of the window: so much is bad, of so many, where so much is usual; the bar for its share (or number)."""

    bad: float
    total: float
    usual: float
    share: float
    bar: float
    score: float


#: Expected, observed, and the sentence.
Words = Callable[[Seen], tuple[str, str, str]]


class RateWatch(ScopeDetector):
    """Finds that too many are bad, by scope. One metric; `counts` says that only bad ones are counted (no share).

    `depends` names the handoff that the finding is about, for the dependencies of incidents.
    """

    State = RateState
    #: In how many parts a long window slides, and how much one of its cells can tell of what is usual.
    PARTS: ClassVar[int] = 60
    MOST_OF_CELL: ClassVar[float] = inf

    def __init__(
        self,
        name: str,
        kind: str,
        metric: str,
        policy: Policy[RateRule],
        words: Words,
        *,
        severity: Severity = "high",
        handoff: str = "",
        counts: bool = False,
    ) -> None:
        self.NAME = name  # type: ignore[misc] # an instance is a detector of its own
        self.METRICS = (metric,)
        self._kind, self._metric, self._policy, self._words = kind, metric, policy, words
        self._severity, self._handoff, self._counts = severity, handoff, counts

    def judge(
        self, scope: Scoped, state: RateState, cells: Mapping[str, Cell], end_us: int, *, barred: bool = False
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`. Where it is `barred`, nothing is opened in this cell."""
        cell = cells.get(self._metric)
        if cell is not None and cell.region:
            state.region = cell.region
        rule = self._policy.of(scope, state.region)
        width = max(1, rule.window // CELL_US)
        number = end_us // CELL_US
        if state.cells and state.cells[0][0] <= number - width:
            self._slide(state, number - width, rule)
        if cell is not None:
            self._add(state, number, cell, width)
            state.recent.extend(cell.members)
        if not state.opened_us and (self.is_clean(state, rule, number) or self._has_few(state, rule)):
            return ()
        return self._judge_window(scope, state, cell, end_us, rule, barred=barred)

    def is_clean(self, state: RateState, rule: RateRule, number: int) -> bool:
        """Whether there can be too many bad ones at the end of a window without a look at it: none was in it."""
        return state.bad_at <= number - max(1, rule.window // CELL_US) and rule.least > 0

    @staticmethod
    def _has_few(state: RateState, rule: RateRule) -> bool:
        """Whether there are fewer bad ones in the window than a finding needs."""
        return sum([one[1] for one in reversed(state.cells)]) < rule.least

    def _judge_window(
        self, scope: Scoped, state: RateState, cell: Cell | None, end_us: int, rule: RateRule, *, barred: bool
    ) -> Iterable[ScopeFinding]:
        width, number = max(1, rule.window // CELL_US), end_us // CELL_US
        span, judged = self._most_surprising(state, rule, number, width)
        bad, total, usual, share, bar, score = judged
        high = bad >= rule.least and (bad >= bar if self._counts else share >= bar) and score >= rule.score
        if not (state.opened_us or (high and not barred)):
            return
        seen = Seen(scope, bad, total, share, usual, state.opened_us, 0.0, 0, span * CELL_US, closed=False)
        if not state.opened_us:
            self._open(state, end_us, number - span)
            yield self._finding(state, seen, score, end_us, self._new(state, state.recent))
            return
        state.worst = max(state.worst, score)
        bad, _, _, share, bar, _ = self._over(state, rule, number, width)
        low = bad < max(1.0, bar / 2) if self._counts else share < bar / 2 or bad < 1.0
        if high or not low:
            state.quiet_from = 0
        elif not state.quiet_from:
            state.quiet_from = number
        if state.quiet_from and (number - state.quiet_from) * CELL_US >= rule.quiet:
            yield self._finding(state, seen, score, end_us, [], closed=True)
            self._close(state, number)
        elif cell is not None and cell.bad:
            state.total_bad += cell.bad
            new = self._new(state, cell.members)
            if new:
                yield self._finding(state, seen, score, end_us, new)

    def idle(self, state: RateState) -> bool:
        """Nothing open; cells that have gone by are taken out when the next count comes."""
        return not state.opened_us

    def _add(self, state: RateState, number: int, cell: Cell, width: int) -> None:
        """Count a cell in; of a long window, cells that are near each other are one."""
        step = max(1, width // self.PARTS)
        if state.cells and state.cells[-1][0] // step == number // step:
            _, bad, total = state.cells[-1]
            state.cells[-1] = (number, bad + cell.bad, total + cell.total)
        else:
            state.cells.append((number, cell.bad, cell.total))
        if cell.bad:
            state.bad_at = number

    def _most_surprising(self, state: RateState, rule: RateRule, number: int, width: int) -> tuple[int, Judged]:
        """The end of the window (its last minute, two, four … or all of it) that is least usual, in cells.

        What breaks suddenly shows in a minute, what is bad a little in all of the window. An end with too few bad ones
        is not looked at.
        """
        best = (width, self._over(state, rule, number, width))
        if best[1].bad < rule.least:
            return best
        cells, bad, total, place = 1, 0.0, 0.0, len(state.cells)
        while cells < width:
            while place and state.cells[place - 1][0] > number - cells:
                place -= 1
                bad, total = bad + state.cells[place][1], total + state.cells[place][2]
            if bad >= rule.least:
                judged = self._judged(state, rule, bad, total, cells)
                if judged.score > best[1].score:
                    best = (cells, judged)
            cells *= 2
        return best

    def _over(self, state: RateState, rule: RateRule, number: int, cells: int) -> Judged:
        """The last so many cells, held against what is usual."""
        bad = total = 0.0
        oldest = number - cells
        for at, its_bad, its_total in reversed(state.cells):
            if at <= oldest:
                break
            bad += its_bad
            total += its_total
        return self._judged(state, rule, bad, total, cells)

    def _judged(self, state: RateState, rule: RateRule, bad: float, total: float, cells: int) -> Judged:
        """So many in so many cells, held against what is usual."""
        usual = self._usual(state, rule, cells)
        if self._counts:
            return Judged(bad, total, usual, 1.0, usual * rule.times, surprise_of_number(bad, usual))
        share = bad / total if total else 0.0
        bar = max(rule.share, min(0.9, usual * rule.times))
        return Judged(bad, total, usual, share, bar, surprise_of_share(bad, max(total, bad), usual))

    def _slide(self, state: RateState, oldest: int, rule: RateRule) -> None:
        """Let cells leave the window: what is usual is learnt from them, unless something is broken."""
        cells = state.cells
        if not cells or cells[0][0] > oldest:
            return
        upto, most, is_learnt = 0, self.MOST_OF_CELL, not state.opened_us
        usual_bad, usual_total, learnt = state.usual_bad, state.usual_total, state.learnt
        for number, bad, total in cells:
            if number > oldest:
                break
            upto += 1
            if not is_learnt:
                continue
            if total > most:
                bad, total = bad * most / total, most  # noqa: PLW2901 - a cell with the same share of fewer
            if learnt:
                fade = exp(_HALVES * (number - learnt) * CELL_US / rule.memory)
                usual_bad, usual_total = usual_bad * fade, usual_total * fade
            usual_bad += bad
            usual_total += 1.0 if self._counts else total
            if self._counts and learnt:  # cells without any are cells, too
                usual_total += min(number - learnt - 1, rule.memory // CELL_US)
            learnt = number
        state.usual_bad, state.usual_total, state.learnt = usual_bad, usual_total, learnt
        del cells[:upto]
        recent, before_us = state.recent, oldest * CELL_US
        if recent and recent[0][0] < before_us:
            del recent[: bisect_left(recent, before_us, key=_arrival)]

    def _usual(self, state: RateState, rule: RateRule, width: int) -> float:
        """The usual share; for counts, the usual number in so many cells."""
        prior = 60.0 if self._counts else PRIOR_OF_SHARE
        usual = (state.usual_bad + rule.usual * prior) / (state.usual_total + prior)
        return usual * width if self._counts else usual

    def _open(self, state: RateState, end_us: int, before: int) -> None:
        recent = (member[1] for member in state.recent if member[0] // CELL_US >= before)
        state.since_us = min(recent, default=end_us)
        state.opened_us, state.found_us = state.since_us, end_us
        state.quiet_from = 0
        state.total_bad = sum(one[1] for one in state.cells)
        state.evidence = [member[2] for member in state.recent if member[2]][:_EVIDENCE]
        state.named = {}

    def _close(self, state: RateState, number: int) -> None:
        state.opened_us = state.found_us = state.since_us = state.quiet_from = 0
        state.worst = state.total_bad = 0.0
        state.evidence, state.named, state.cells, state.recent = [], {}, [], []
        state.learnt = number if state.learnt else 0

    def _new(self, state: RateState, members: Iterable[tuple[int, int, str, Impact | None]]) -> list[Impact]:
        """The touched cases that were not named yet."""
        new = []
        for _, _, _, impact in members:
            name = "" if impact is None else impact.case_id or impact.order_id  # of an order with two returns, both
            if impact is not None and name and name not in state.named and len(state.named) < _MOST_NAMED:
                state.named[name] = None
                new.append(impact)
        return new

    def _finding(
        self, state: RateState, seen: Seen, score: float, end_us: int, new: list[Impact], *, closed: bool = False
    ) -> ScopeFinding:
        state.worst = max(state.worst, score)
        state.version = next_version(state.version, end_us)
        said = msgspec.structs.replace(
            seen, since_us=state.since_us, all_bad=state.total_bad, cases=len(state.named), closed=closed
        )
        expected, observed, sentence = self._words(said)
        signal = Signal(
            signal_id=signal_id(self.NAME, self._kind, repr(seen.scope), str(state.found_us)),
            detector=self.NAME,
            kind=self._kind,
            handoff=self._handoff,
            scope=dict(seen.scope) | ({"region": state.region} if state.region else {}),
            case_id="",
            opened_at_us=state.opened_us,
            found_at_us=state.found_us,
            closed_at_us=end_us if closed else None,
            severity=self._severity,
            score=round(state.worst, 3),
            confidence=confidence_of(state.worst),
            expected=expected,
            observed=observed,
            method="rule",
            explanation=sentence,
            evidence=state.evidence,
            arrival_us=end_us,
            version=state.version,
        )
        return ScopeFinding(signal, new)


def surprise_of_share(bad: float, total: float, usual: float) -> float:
    """How surprising `bad` of `total` are where the share `usual` is, as -log10 of a bound; 0 where it is not high."""
    if total <= 0 or bad / total <= usual:
        return 0.0
    share, usual = bad / total, min(max(usual, 1e-6), 1 - 1e-6)
    divergence = share * log(share / usual)
    if share < 1:
        divergence += (1 - share) * log((1 - share) / (1 - usual))
    return total * divergence / _LN10


def surprise_of_number(count: float, usual: float) -> float:
    """How surprising `count` is where `usual` come, as -log10 of a bound; 0 where it is not high."""
    usual = max(usual, 1e-6)
    if count <= usual:
        return 0.0
    return (count * log10(count / usual)) - (count - usual) / _LN10
