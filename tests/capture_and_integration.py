"""Driving first parts, second parts and the traffic of lanes together, for the tests of these detectors."""

from collections.abc import Callable, Sequence

import msgspec

from operators.detectors.events import EventDetector, EventDetectors, EventDetectorsState
from operators.detectors.integration import IntegrationSettings, Traffic, TrafficState
from operators.detectors.integration_minute import heard_of
from operators.detectors.records import ScopeFinding
from operators.detectors.refusals import Refusals
from operators.detectors.scopes import ScopeDetector, ScopeDetectors, ScopeDetectorsState
from operators.slices import Refused
from schemas.durations import MINUTE_US, SECOND_US
from schemas.events import Arrived
from tests.scripts import Script, at, clock
from tests.tallies import all_tallies

#: Makes the first and second parts under test.
Parts = Callable[[], tuple[list[EventDetector], list[ScopeDetector]]]


class Job:
    """First parts of one group, second parts of one site group, and the traffic."""

    def __init__(self, parts: Parts, settings: IntegrationSettings | None = None) -> None:
        self.parts, self.settings = parts, settings or IntegrationSettings()
        first, second = parts()
        self.first, self.second = EventDetectors(first), ScopeDetectors(second)
        self.traffic, self.refusals = Traffic(self.settings), Refusals()

    def take(self, events: Sequence[Arrived], refused: Sequence[Refused] = ()) -> list[ScopeFinding]:
        """Events in the order of arrival; what is found of the minutes before the last of them."""
        heard = heard_of(events, self.settings.delays.after, self.settings.clocks.ahead)
        self.traffic.push(heard, refused)
        self.refusals.push(refused)
        return self._found(events, max([one.arrival_us for one in (*events, *refused)]))

    def reach(self, time: str) -> list[ScopeFinding]:
        """Arrival time comes to `time`."""
        return self._found([], at(time))

    def _found(self, events: Sequence[Arrived], clock_us: int) -> list[ScopeFinding]:
        out = self.first.update(events, [], clock_us)
        self.refusals.count(clock_us, out)
        self.traffic.count(clock_us, out, ended=False)
        self.second.update(all_tallies(out))
        return self.second.advance(clock_us)

    def kept_and_restored(self) -> "Job":
        """As if the process had been killed right after a snapshot."""
        other = Job(self.parts, self.settings)
        other.first.restore(_copied(self.first.snapshot(), EventDetectorsState))
        other.second.restore(_copied(self.second.snapshot(), ScopeDetectorsState))
        other.traffic.restore(_copied(self.traffic.snapshot(), TrafficState))
        other.refusals.restore(_copied(self.refusals.snapshot(), list[Refused]))
        return other


def _copied(state: object, kind: type) -> object:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=kind)


class Log(Script):
    """Writes a log to be taken later: `add` says what arrives, in any order."""

    def __init__(self) -> None:
        super().__init__(self)  # type: ignore[arg-type] # nothing is sent
        self.events: list[Arrived] = []

    def add(self, arrival: str, type_: str, **fields: object) -> None:
        self.events.append(self.arrived(arrival, type_, **fields))

    def in_order(self) -> list[Arrived]:
        return sorted(self.events)


def times(begin: str, end: str, every_s: float) -> list[str]:
    """Every so many seconds from `begin` on, before `end`."""
    return [clock(instant) for instant in range(at(begin), at(end), round(every_s * SECOND_US))]


def later(time: str, minutes: float) -> str:
    return clock(at(time) + round(minutes * MINUTE_US))


def run(
    parts: Parts, events: Sequence[Arrived], end: str, settings: IntegrationSettings | None = None, batch: int = 100_000
) -> list[ScopeFinding]:
    """All that is found, the log cut into batches, with a stop and a resumption after each where there are several."""
    job = Job(parts, settings)
    found: list[ScopeFinding] = []
    for index in range(0, len(events), batch):
        found += job.take(events[index : index + batch])
        if batch < len(events):
            job = job.kept_and_restored()
    return found + job.reach(end)


def same_in_pieces(parts: Parts, events: Sequence[Arrived], end: str) -> list[ScopeFinding]:
    """What is found, which must not depend on how the log is cut, nor on stops."""
    whole = run(parts, events, end)
    assert run(parts, events, end, batch=len(events) // 7 + 1) == whole
    return whole


def opened(findings: Sequence[ScopeFinding]) -> list[str]:
    """What was opened and closed, and when: `10:05 transport_fault interface=pay`, `11:40 over interface=pay`."""
    out, known = [], set()
    for finding in findings:
        signal = finding.signal
        where = " ".join(f"{name}={value}" for name, value in sorted(signal.scope.items()))
        if signal.signal_id not in known:
            known.add(signal.signal_id)
            out.append(f"{clock(signal.found_at_us)} {signal.kind} {where}".strip())
        if signal.closed_at_us is not None:
            out.append(f"{clock(signal.closed_at_us)} over {where}".strip())
    return out


def named(findings: Sequence[ScopeFinding]) -> list[str]:
    """The touched orders, as often as they were named."""
    return sorted(impact.key for finding in findings for impact in finding.impacts)
