"""Making signals: deterministic ids, one plain sentence, and the version that lets a later one replace it."""

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from schemas.durations import MINUTE_US, SECOND_US
from schemas.events import Arrived
from schemas.rows import HandoffPass, Scope, Signal

_SEPARATOR = "\x1f"


class Cause(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The event that brought a change about: where it stands in the log, and what it is."""

    topic: str
    partition: int
    offset: int
    type: str
    source: str
    event_id: str
    occurred_us: int


class Span(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A pass as windows see it, event times in microseconds.

    Open from `start_us` (included) to `end_us` (None: not yet over). `completed` tells an end from a cancellation;
    `deadline_us` is None where there is none.
    """

    start_us: int
    end_us: int | None
    deadline_us: int | None
    completed: bool


class PassChange(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A pass through `handoff` (an index into the process map) in `scope` became `new`, having been `old`."""

    arrival_us: int
    handoff: int
    scope: str
    old: Span | None
    new: Span | None
    cause: Cause | None


#: An event is oddly dated that came this long after it happened, or is dated this long after it came. Less than the
#: first is how messages travel, less than the second how well clocks are kept.
BEHIND_US, AHEAD_US = MINUTE_US, SECOND_US


class OddTime(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An oddly dated event: its source, and how long after its arrival it is dated (before it: less than 0)."""

    source: str
    ahead_us: int


class Misdated(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Why two events may stand in the wrong order by a clock's fault alone.

    By `margin_us` the first of them is dated after the second. `late` is the first where it is oddly dated, `early`
    the second: the one may be dated too late, the other too early.
    """

    margin_us: int
    late: OddTime | None
    early: OddTime | None


class Doubt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A sequence finding that may be a clock's fault: told, or not, by `operators/sequence_doubts.py`.

    One that `is_once` is told once and corrected by nothing; one that `is_again` was handed on before with other times.
    """

    signal: Signal
    why: Misdated
    is_once: bool = False
    is_again: bool = False


class LateStart(msgspec.Struct, frozen=True, gc=False, array_like=True, order=True):
    """A start that came long after the end of its pass had happened, by a clock that is right, and is dated before it.

    Had its source's clock been behind by `delay_us`, so much as lies between its date and its arrival, the pass would
    have ended before it began. So it speaks for a message that is late, and against a clock that is wrong.
    """

    arrival_us: int
    source: str
    delay_us: int


def late_start(arrived: Arrived, end_us: int | None, end_odd: OddTime | None) -> LateStart | None:
    """What the start of a pass with this end says of its source's clock; None where it says nothing.

    The end must have happened within the first half of the delay: what else messages wait is no more than the rest.
    """
    arrival_us, delay_us = arrived.arrival_us, arrived.arrival_us - arrived.occurred_us
    if end_us is None or end_odd is not None or delay_us <= BEHIND_US:
        return None
    if not arrived.occurred_us <= end_us < arrival_us - delay_us // 2:
        return None
    return LateStart(arrival_us, arrived.event.source, delay_us)


def odd_time(arrived: Arrived) -> OddTime | None:
    """What is odd about an event's time; None where nothing is."""
    ahead_us = arrived.occurred_us - arrived.arrival_us
    return None if -BEHIND_US <= ahead_us <= AHEAD_US else OddTime(arrived.event.source, ahead_us)


def misdated(margin_us: int, late: OddTime | None, early: OddTime | None) -> Misdated | None:
    """Why a wrong order may be a clock's fault; None where it can't: no clock ahead dates an event before its time."""
    is_late, is_early = late is not None and late.ahead_us > 0, early is not None and early.ahead_us < 0
    return Misdated(margin_us, late, early) if is_late or is_early else None


def confidence_of(score: float) -> float:
    """How sure a finding is whose `score` says how unlikely chance alone is: 1 - 10^-score."""
    return round(1.0 - math.pow(10.0, -min(score, 9.0)), 9)


def cause_of(arrived: Arrived, type_: str) -> Cause:
    """The cause that an event is. `type_` is the wire name of its type: finding it out costs more than being told."""
    event = arrived.event
    return Cause(
        arrived.topic,
        arrived.partition,
        arrived.offset,
        type_,
        event.source,
        event.event_id,
        arrived.occurred_us,
    )


#: What is found in a case: the rows of its passes, and signals.
Output: TypeAlias = HandoffPass | Signal


def signal_id(*parts: str) -> str:
    """The same finding has the same id in every run: a hash of what it is about."""
    return "s" + blake2b(joined(parts).encode(), digest_size=10).hexdigest()


def joined(parts: Sequence[str]) -> str:
    """Parts as one text that no other parts, as many, have: where one has the separator in it, lengths come first."""
    text = _SEPARATOR.join(parts)
    if text.count(_SEPARATOR) == len(parts) - 1:
        return text
    return _SEPARATOR.join((*[str(len(part)) for part in parts], text))


def next_version(previous: int, arrival_us: int) -> int:
    """A version above `previous` that also grows with arrival time, so that it grows even when state was dropped."""
    return max(previous + 1, arrival_us)


def scope_of(by: str, value: str) -> Scope:
    """A scope of one dimension, empty where it is unknown."""
    return {by: value} if by and value else {}
