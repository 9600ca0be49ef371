"""Queues of the middleware that take in more than they get through, by what they say of themselves.

Metrics `queue_depth` and `queue_age` (s) by queue, as they were sampled.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import exp, log

import msgspec

from operators.detectors.events import Collected, EventDetector, Handler
from operators.detectors.integration_findings import Said, Standing, standing_finding
from operators.detectors.policy import ByScope, Policy
from operators.detectors.records import Scoped, ScopeFinding, scoped
from operators.detectors.scopes import Cell, ScopeDetector
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Duration, people_duration
from schemas.events import Arrived, EventBase, QueueDepth

_DEPTH, _AGE = "queue_depth", "queue_age"


#: How old a sample is before it counts for what is usual.
_LEARNS_AFTER_US = HOUR_US
#: The oldest message grows older by at least this share of the time that goes by.
_GROWTH = 0.2
#: And be so far on its way to the bar.
_RISING = 2 / 3
#: Of no more messages than this, their number does not tell a queue that empties from one that does not.
_FEW = 5


class QueueSettings(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a queue is saturated.

    The age of the oldest message is above `age` and `times` the largest that is usual, in `samples` samples running,
    without shrinking; or two thirds of that, having grown in as many steps while the queue did not empty. Or, where it
    falls behind slowly, the age is above `slow_age` and `times` the largest usual on an average over `lasting`, in
    which a sample counts no more than as the bar above, while the queue does not empty. Where ages aren't told, the
    first two of the depth with `depth`. It is over when the age (or depth) has been below half of the lowest of these
    for `quiet`. What is usual is halved after `memory`.
    """

    age: Duration = Duration(3 * MINUTE_US)
    depth: float = 30.0
    slow_age: Duration = Duration(MINUTE_US)
    lasting: Duration = Duration(10 * MINUTE_US)
    times: float = 3.0
    samples: int = 3
    quiet: Duration = Duration(5 * MINUTE_US)
    memory: Duration = Duration(2 * DAY_US)


class Queues(EventDetector):
    """Passes on what queues say of themselves. Memory: none."""

    NAME = "queues"

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {QueueDepth: self._sampled}

    def _sampled(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, QueueDepth)
        scope = scoped(queue=event.queue)
        out.gauge(_DEPTH, scope, arrived, event.depth)
        if event.oldest_age_s is not None:
            out.gauge(_AGE, scope, arrived, event.oldest_age_s)


class QueueState(msgspec.Struct, array_like=True):
    """What is kept of a queue: the largest usual depth and age, the finding, and the samples of the last hour.

    These are (event time, depth, age or -1), one a minute at most.
    """

    samples: list[tuple[int, float, float]] = []
    usual_depth: float = 0.0
    usual_age: float = 0.0
    learnt_us: int = 0
    calm_from: int = 0
    most: float = 0.0
    standing: Standing = msgspec.field(default_factory=Standing)


class QueueWatch(ScopeDetector):
    """Finds queues that saturate: what waits longest waits ever longer, beyond what is usual for the queue.

    A queue that drains is not one. Memory: up to 60 samples a queue.
    """

    NAME = "queue_saturation"
    METRICS = (_DEPTH, _AGE)
    State = QueueState

    def __init__(self, policy: Policy[QueueSettings]) -> None:
        self._policy = policy

    def judge(self, scope: Scoped, state: QueueState, cells: Mapping[str, Cell], end_us: int) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        settings = self._policy.of(scope)
        depth, age = cells.get(_DEPTH), cells.get(_AGE)
        if depth is None:
            return
        evidence = [member[2] for member in (age or depth).members]
        at_us = max((member[1] for member in depth.members), default=end_us)
        self._slide(state, end_us, settings)
        state.samples = [*state.samples, (at_us, depth.last, age.last if age is not None else -1.0)]
        values = [one[2] if age is not None else one[1] for one in state.samples]
        usual = state.usual_age if age is not None else state.usual_depth
        least = settings.age / SECOND_US if age is not None else settings.depth
        bar = max(least, settings.times * usual)
        low = bar if age is None else max(settings.slow_age / SECOND_US, settings.times * usual)
        standing = state.standing
        if standing.found_us:
            yield from self._go_on(scope, state, (low, bar), values[-1], end_us, settings, age is not None)
            return
        found = _is_above(values, bar, settings.samples) or _is_rising(state.samples, values, bar, settings.samples)
        if found or (age is not None and _is_slow(state.samples, low, bar, settings)):
            began = _began(state.samples, values, bar / 2 if found else low)
            standing.begin(end_us, began, 3.0 + 3.0 * values[-1] / bar, evidence)
            state.most = values[-1]
            state.calm_from = 0
            yield self._finding(scope, state, values[-1], depth.last, usual, end_us, is_age=age is not None)

    def idle(self, state: QueueState) -> bool:  # noqa: ARG002 - as its base
        """As `ScopeDetector`: without samples there is nothing to judge."""
        return True

    def _go_on(
        self,
        scope: Scoped,
        state: QueueState,
        bars: tuple[float, float],
        value: float,
        end_us: int,
        settings: QueueSettings,
        is_age: bool,  # noqa: FBT001 - of what `value` is
    ) -> Iterable[ScopeFinding]:
        low, bar = bars
        depth = state.samples[-1][1]
        usual = state.usual_age if is_age else state.usual_depth
        if value > state.most * 1.5:
            state.most = value
            state.standing.score = max(state.standing.score, value / bar * 3.0)
            yield self._finding(scope, state, value, depth, usual, end_us, is_age=is_age)
        if value >= low / 2:
            state.calm_from = 0
            return
        state.calm_from = state.calm_from or end_us
        if end_us - state.calm_from >= settings.quiet:
            yield self._finding(scope, state, value, depth, usual, end_us, is_age=is_age, closed=True)
            state.standing.end()
            state.most, state.calm_from, state.samples = 0.0, 0, state.samples[-1:]

    @staticmethod
    def _slide(state: QueueState, end_us: int, settings: QueueSettings) -> None:
        """Let go of old samples: the largest depth and age that are usual are learnt from them, and fade.

        Not from new ones, or a queue that fills slowly would teach that this is usual; nor while it is saturated.
        """
        gone = [one for one in state.samples if one[0] <= end_us - _LEARNS_AFTER_US]
        if not gone:
            return
        state.samples = state.samples[len(gone) :]
        if state.standing.found_us:
            return
        fade = exp(-log(2) * (end_us - state.learnt_us) / settings.memory) if state.learnt_us else 0.0
        state.usual_depth = max(state.usual_depth * fade, *(one[1] for one in gone))
        state.usual_age = max(state.usual_age * fade, *(one[2] for one in gone))
        state.learnt_us = end_us

    def _finding(
        self,
        scope: Scoped,
        state: QueueState,
        value: float,
        depth: float,
        usual: float,
        end_us: int,
        *,
        is_age: bool,
        closed: bool = False,
    ) -> ScopeFinding:
        name = dict(scope)["queue"]
        if is_age:
            expected = f"no message older than {people_duration(max(usual, 1.0) * SECOND_US)}"
            observed = f"the oldest of {depth:.0f} is {people_duration(value * SECOND_US)} old"
        else:
            expected, observed = f"at most {usual:.0f} messages", f"{depth:.0f} messages wait"
        sentence = f"Queue {name} takes in more than it gets through: {observed}."
        if closed:
            most = people_duration(state.most * SECOND_US) if is_age else f"{state.most:.0f} messages"
            sentence = f"Queue {name} is through with what waited in it; at its worst that was {most}."
        said = Said(expected, observed, sentence)
        return standing_finding(self.NAME, "queue_saturation", dict(scope), state.standing, said, end_us, closed=closed)


def _is_above(values: list[float], bar: float, samples: int) -> bool:
    """Whether the last samples are all above the bar, and don't shrink."""
    run = values[-samples:]
    return len(run) == samples and min(run) > bar and run[-1] >= run[0]


def _is_rising(samples: list[tuple[int, float, float]], values: list[float], bar: float, least: int) -> bool:
    """Whether it is well on its way to the bar and grew steadily: in age (by a fifth of the time or more) and depth."""
    run, seen = values[-least - 1 :], samples[-least - 1 :]
    if len(run) <= least or run[-1] <= _RISING * bar or any(after <= before for before, after in pairwise(run)):
        return False
    age_grows = seen[0][2] < 0 or run[-1] - run[0] > _GROWTH * (seen[-1][0] - seen[0][0]) / SECOND_US
    depths = [depth for _, depth, _ in seen]
    return age_grows and depths[-1] > depths[0] and depths[-1] >= max(depths) / 2  # one that empties is through soon


def _is_slow(samples: list[tuple[int, float, float]], low: float, bar: float, settings: QueueSettings) -> bool:
    """Whether messages have been old on an average for a while, though never for long at a time.

    A few messages of a quiet queue come and go between samples, so that neither age nor depth grows steadily.
    """
    since = samples[-1][0] - settings.lasting
    if samples[0][0] > since:
        return False
    seen = [one for one in samples if one[0] > since]
    depths, ages = [depth for _, depth, _ in seen], [min(max(age, 0.0), bar) for _, _, age in seen]
    if len(seen) <= settings.samples or sum(ages) <= low * len(seen):
        return False
    return max(depths) <= _FEW or depths[-1] >= max(depths) / 2


def _began(samples: list[tuple[int, float, float]], values: list[float], bar: float) -> int:
    """When the oldest message of the first sample above the bar was put in; of depths, that sample's time."""
    first = len(values) - 1
    while first and values[first - 1] > bar:
        first -= 1
    at_us, _, age = samples[first]
    return at_us - round(max(age, 0.0) * SECOND_US)
