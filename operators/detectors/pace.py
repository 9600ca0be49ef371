"""Work that is begun more slowly than it usually is: evidence, minute by minute, that hands are missing.

Of the work that waited at one age, so much still waits at the next. How much usually does is learnt for each pair of
ages. What is seen is held against it by the log of the likelihood ratio of "begun at `_SLOWED` of the usual rate" and
"as usual" (a piece of work that still waits with share q usually, does so with q^`_SLOWED` then); these are added up
and never fall below zero. That is Page's cumulative sum (CUSUM) for waiting times (Sego, Reynolds and Woodall 2009:
risk-adjusted monitoring of survival times): of all tests with as few false alarms it finds a lasting change first.
Work that still waits tells as much as work that was begun, so a node that does nothing is no blind spot.

A burst, a peak or a night's batch waits long, too, while as much is done as ever: a node is slow only where it also did
less than came in and less than it did before, and where what waits would take long to be cleared at its present pace.
"""

from collections.abc import Sequence
from math import log, sqrt
from typing import Any

import msgspec

from schemas.durations import MINUTE_US, Duration

_LN10 = log(10)
#: How much slower work is begun, for what is looked for; and the evidence beyond which more makes no difference.
_SLOWED, _MOST = 0.35, 20.0
#: The usual share is kept within these bounds: no wait is impossible, and none certain.
_LEAST_USUAL, _MOST_USUAL = 0.02, 0.97
#: How many pieces of work the long-run share counts for beside the recent one, and chance beside the long-run one.
_OF_LONG_RUN, _OF_CHANCE = 3.0, 2.0
#: How much one minute can tell of what is usual (a batch begins together and waits together).
_MOST_OF_MINUTE = 10.0
#: For how many minutes (of waits, of counts) is kept what came; how long before the slowness is "before" it.
_WAITS_KEPT, _COUNTS_KEPT, _BEFORE = 61, 160, 90
#: Spans (minutes) that are looked at for too little, beside all that evidence has been gathered for, up to the first.
_SPANS = (60, 20, 12)
#: Minutes after which a node that begins nothing is held to have stopped, not to be slow; and no shorter than what it
#: usually takes for so many to be begun.
_STOPPED, _STOPPED_WORK = 5, 3.0


class SlowRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When work is begun too slowly.

    The evidence must be `score` (-log10 of how likely it is by chance); at least `missing` less, and less than the
    share `share`, must have been begun of what came in, or was begun before in as long; and what waits must take
    `clears`, and `times` the usual wait, to be begun at the present pace. `learnt` pieces of work must have been seen.
    What is usual is learnt after `lag`, and counts by half after `memory`. Before `at_age` pieces of work were seen at
    an age, no fewer are supposed to wait at it than at the age before: how a first morning goes on nobody knows.
    """

    score: float = 4.5
    missing: float = 3.0
    share: float = 0.6
    clears: Duration = Duration(10 * MINUTE_US)
    times: float = 2.0
    learnt: float = 30.0
    lag: Duration = Duration(15 * MINUTE_US)
    memory: Duration = Duration(60 * MINUTE_US)
    at_age: float = 0.0


class Slow(msgspec.Struct, frozen=True):
    """What is seen of slow work: in `minutes`, `begun` of `came`, where `before` would have been begun.

    `waiting` pieces of work take `clears_min` at this pace. `stopped`: nothing was begun lately at all.
    """

    since: int
    minutes: int
    begun: float
    came: float
    before: float
    waiting: float
    clears_min: float
    stopped: bool


class PaceState(msgspec.Struct, array_like=True):
    """What is kept of a node.

    `waits` are (minute, what came, what still waits at each age) of the last minutes, `counts` (minute, came, begun) of
    the last hours; `unlearnt` the trials that are too new to be learnt from: (minute, whether nothing was unusual,
    [age, how many, of them still waiting]). `long` and `recent` are (still waiting, all) by age. Since `since`, when
    evidence began to gather, `due` should have been over, and `over` were.
    """

    minute: int = 0
    waits: list[tuple[int, list[float]]] = []
    counts: list[tuple[int, float, float]] = []
    unlearnt: list[tuple[int, bool, list[tuple[int, float, float]]]] = []
    long: list[tuple[float, float]] = []
    recent: list[tuple[float, float]] = []
    waiting: float = 0.0
    evidence: float = 0.0
    since: int = 0
    learnt: int = 0
    due: float = 0.0
    over: float = 0.0


class Pace:
    """Follows how quickly a node begins its work; `PaceState` is what it knows of one.

    Memory: a few numbers for each of the last hundred minutes in which something came or was begun. Cost: some ten
    logarithms a minute and node.

    Args:
        ages: in minutes, ascending, at which what still waits is counted.
    """

    def __init__(self, ages: Sequence[int]) -> None:
        self._ages = tuple(ages)
        self._steps = tuple(age - before for age, before in zip(ages, (0, *ages), strict=False))
        self._longest = max(self._steps)

    def step(self, state: PaceState, minute: int, counted: Sequence[float], rule: SlowRule, *, learns: bool) -> None:
        """Take a minute's counts: what came, what was begun, what was given up, and what still waits at each age.

        Minutes between the last one and this had none. `learns`: nothing is known to be wrong.
        """
        if not state.minute or minute - state.minute > _WAITS_KEPT:
            state.waits, state.minute = [], minute - 1
            self.forget(state, minute - 1)
        nothing = [0.0] * (len(self._ages) + 3) if state.minute < minute - 1 else []
        while state.minute < minute:
            state.minute += 1
            if state.minute < minute and (not state.waits or state.waits[-1][0] < state.minute - self._longest):
                state.minute = minute  # of what came, none is left whose next age is to come
            now = counted if state.minute == minute else nothing
            self._minute(state, list(now), rule, learns=learns)

    @staticmethod
    def forget(state: PaceState, minute: int) -> None:
        """Begin anew to gather evidence."""
        state.evidence, state.since, state.due, state.over = 0.0, minute, 0.0, 0.0

    def _minute(self, state: PaceState, counted: list[float], rule: SlowRule, *, learns: bool) -> None:
        minute, (came, begun, gone, *_) = state.minute, counted
        state.waiting = max(0.0, state.waiting + came - begun - gone)
        if came or begun:
            _append(state.counts, (minute, came, begun), minute - _COUNTS_KEPT)
        self.observe(state, minute, self._trials(state, [came, *counted[3:]]), rule, learns=learns)

    def observe(
        self, state: PaceState, minute: int, trials: list[tuple[int, float, float]], rule: SlowRule, *, learns: bool
    ) -> None:
        """Take what a minute tells: at which age, how many could have been over, and how many were not."""
        if not state.long:
            state.long, state.recent = [(0.0, 0.0)] * len(self._ages), [(0.0, 0.0)] * len(self._ages)
        state.minute = minute
        if any(total >= rule.learnt for _, total in state.long):
            state.evidence = min(_MOST, state.evidence + self._evidence(state, trials, rule))
        if state.evidence <= 0:
            self.forget(state, minute)
        if trials:
            state.unlearnt.append((minute, learns and state.evidence < rule.score / 2, trials))
        self._learn(state, rule, learns=learns)

    def _trials(self, state: PaceState, waits: list[float]) -> list[tuple[int, float, float]]:
        """At each age: how many could have been begun since the age before, and how many still wait."""
        minute = state.minute
        past = dict(state.waits)
        trials = []
        for index, step in enumerate(self._steps):
            before = past.get(minute - step)
            if before is not None and before[index]:
                trials.append((index, before[index], min(waits[index + 1], before[index])))
        if any(waits):
            _append(state.waits, (minute, waits), minute - self._longest)
        return trials

    def usual(self, state: PaceState, index: int) -> float:
        """The share that usually still waits at an age, of what did at the age before; a standard error above it."""
        still, total = state.long[index]
        long_run = (still + _OF_CHANCE) / (total + 2 * _OF_CHANCE)
        still, recent = state.recent[index]
        share = (still + _OF_LONG_RUN * long_run) / (recent + _OF_LONG_RUN)
        share += sqrt(share * (1 - share) / (max(total, recent) + 2 * _OF_CHANCE))
        return min(_MOST_USUAL, max(_LEAST_USUAL, share))

    def usual_wait_min(self, state: PaceState) -> float:
        """The median wait (min), no longer than the last age."""
        left, before = 1.0, 0
        for index, age in enumerate(self._ages):
            share = left * self.usual(state, index)
            if share <= 0.5:
                return before + (age - before) * (left - 0.5) / (left - share)
            left, before = share, age
        return float(before)

    def _evidence(self, state: PaceState, trials: list[tuple[int, float, float]], rule: SlowRule) -> float:
        """What a minute's trials say, as log10 of the likelihood ratio."""
        total = 0.0
        for index, of, still in trials:
            usual = self._supposed(state, index, rule)
            if usual >= _MOST_USUAL:
                continue  # hardly any is over by then: that none is tells nothing
            state.due += of * (1 - usual)
            state.over += of - still
            slowed = usual**_SLOWED
            total += still * log(slowed / usual) + (of - still) * log((1 - slowed) / (1 - usual))
        return total / _LN10

    def _supposed(self, state: PaceState, index: int, rule: SlowRule) -> float:
        """The usual share at an age; where too little was seen at it, no less than at the age before."""
        if state.long[index][1] >= rule.at_age:
            return self.usual(state, index)
        return max(self.usual(state, index), self._supposed(state, index - 1, rule)) if index else _MOST_USUAL

    @staticmethod
    def _learn(state: PaceState, rule: SlowRule, *, learns: bool) -> None:
        """Learn from what is old enough: recent shares only from minutes in which nothing was unusual."""
        upto = state.minute - rule.lag // MINUTE_US
        if not state.unlearnt or state.unlearnt[0][0] > upto:
            return
        fade = 0.5 ** ((state.minute - state.learnt) * MINUTE_US / rule.memory)
        state.recent = [(still * fade, total * fade) for still, total in state.recent]
        state.learnt = state.minute
        while state.unlearnt and state.unlearnt[0][0] <= upto:
            _, is_calm, trials = state.unlearnt.pop(0)
            if not learns:
                continue
            for index, of, still in trials:
                part = min(1.0, _MOST_OF_MINUTE / of)
                more = still * part, of * part
                state.long[index] = _sum(state.long[index], more)
                if is_calm:
                    state.recent[index] = _sum(state.recent[index], more)

    @staticmethod
    def clears_min(state: PaceState, minutes: int) -> float:
        """How long (min) what waits takes to be begun at the pace of the last minutes."""
        begun = sum(one[2] for one in state.counts if one[0] > state.minute - minutes)
        return state.waiting * minutes / max(begun, 0.5)

    def _long_min(self, state: PaceState, rule: SlowRule) -> float:
        """The least time (min) to be cleared that is too long."""
        return max(rule.clears / MINUTE_US, rule.times * self.usual_wait_min(state))

    def lasts(self, state: PaceState, rule: SlowRule, least: float) -> bool:
        """Whether so many still wait, and would for half of what is too long."""
        if state.waiting < least:
            return False
        return self.clears_min(state, _SPANS[1]) >= self._long_min(state, rule) / 2

    def slow(self, state: PaceState, rule: SlowRule, least: float) -> Slow | None:
        """What is slow, where it is and at least so many wait; of several spans the longest that shows it."""
        if state.evidence < rule.score or state.waiting < least:
            return None
        gathered = state.minute - state.since
        spans = dict.fromkeys(min(span, gathered) for span in _SPANS)
        begins = state.minute - next(iter(spans))
        before = sum(one[2] for one in state.counts if begins - _BEFORE < one[0] <= begins) / _BEFORE
        last = max((at for at, _, begun in state.counts if begun), default=0)
        for minutes in spans:
            within = [one for one in state.counts if one[0] > state.minute - minutes]
            came, begun = sum(one[1] for one in within), sum(one[2] for one in within)
            due = min(came, before * minutes)
            if due - begun < rule.missing or begun >= rule.share * due:
                continue
            clears = self.clears_min(state, min(minutes, _SPANS[1]))
            if clears < self._long_min(state, rule):
                continue
            pause = max(_STOPPED, minutes / 3, _STOPPED_WORK / before)
            stopped = begun < 2 or state.minute - last > pause
            return Slow(state.since, minutes, begun, came, before * minutes, state.waiting, clears, stopped=stopped)
        return None


def _append(kept: list[Any], one: tuple[Any, ...], oldest: int) -> None:
    """Keep one more minute, and none up to the oldest; they stand in their order."""
    while kept and kept[0][0] <= oldest:
        del kept[0]
    kept.append(one)


def _sum(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return one[0] + other[0], one[1] + other[1]
