"""What is done to the job in `make soak`, and when: in the first third, so that the rest shows one process at rest.

All of them again and again would show no more: that nothing is lost by them is what the tests show, at random points.
"""

from collections.abc import Callable, Iterator

import msgspec
from soak_parts import Parts, Scale

#: When, as shares of the run.
_KILL, _STORE, _BROKER, _STOP = 0.09, 0.16, 0.23, 0.30


class Disturbance(msgspec.Struct):
    """Something done to the run: when it began, when it was over, and when the job had caught up (run seconds)."""

    name: str
    what: str
    begin_s: float = 0.0
    end_s: float | None = None
    recovered_s: float | None = None
    detail: str = ""


class Deed(msgspec.Struct, frozen=True):
    """At `at_s`, do `act`; it begins or ends (or both) `disturbance`."""

    at_s: float
    disturbance: Disturbance
    act: Callable[[], object]
    begins: bool
    ends: bool


def deeds(parts: Parts, scale: Scale) -> Iterator[Deed]:
    """All of them, in order."""
    length_s, away_s, frozen_s = scale.minutes * 60, scale.store_away_s, scale.broker_frozen_s

    killed = Disturbance("SIGKILL", "of the job, and started again")
    yield Deed(_KILL * length_s, killed, lambda: _kill(parts, killed), begins=True, ends=True)

    away = Disturbance("ClickHouse away", f"its front killed for {away_s:.0f} s")
    yield Deed(_STORE * length_s, away, parts.front.kill, begins=True, ends=False)
    yield Deed(_STORE * length_s + away_s, away, parts.front.start, begins=False, ends=True)

    frozen = Disturbance("broker frozen", f"SIGSTOP for {frozen_s:.0f} s")
    yield Deed(_BROKER * length_s, frozen, parts.broker.freeze, begins=True, ends=False)
    yield Deed(_BROKER * length_s + frozen_s, frozen, parts.broker.thaw, begins=False, ends=True)

    stopped = Disturbance("SIGTERM", "to the job, and started again")
    yield Deed(_STOP * length_s, stopped, lambda: _stop(parts, stopped), begins=True, ends=True)


def _kill(parts: Parts, into: Disturbance) -> None:
    parts.job.kill()
    into.detail = f"exit code {parts.job.code}"
    parts.start_job()


def _stop(parts: Parts, into: Disturbance) -> None:
    into.detail = parts.stop_job()
    parts.start_job()
