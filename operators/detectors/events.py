"""The first part of detectors: the events of a key group, one by one, in the order of the log.

`EventDetectors` hosts all detectors of a key group. Before an event come the timers that were due by then and the
findings of the operators beside them (handoffs) that were known by then, so that the result is a function of the log
alone, however it is cut into batches.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, TypeAlias

import msgspec

from operators.detectors.readiness import PromotionAsked
from operators.detectors.records import Impact, Scoped, Tally
from operators.detectors.timers import Timers
from operators.increments import Part
from schemas.durations import END_OF_TIME_US
from schemas.errors import StateError
from schemas.events import Arrived, EventBase
from schemas.rows import Signal

Handler: TypeAlias = "Callable[[Arrived, Collected], None]"
#: Of good ones, how many came by cell.
Cells: TypeAlias = dict[int, float]

CELL_US = 60_000_000


class Metrics:
    """Metrics that are counted together, by whoever adds to many of one scope at once."""

    def __init__(self, *names: str) -> None:
        self.names = names


class Counted(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How many good ones of one metric came in one scope, by cell."""

    metric: str
    scope: Scoped
    cells: dict[int, float]


class Collected:
    """What the detectors of a group found in one batch.

    `read` are the metrics that anybody judges; those that nobody does are not collected. None: all are.
    """

    def __init__(self, read: frozenset[str] | None = None) -> None:
        self.signals: list[Signal] = []
        self.tallies: list[Tally] = []
        self.promotions: list[PromotionAsked] = []
        self._read = read
        self._good: dict[str, dict[Scoped, Cells]] = {}
        self._together: dict[Metrics, dict[Scoped, tuple[Cells, ...]]] = {}

    def signal(self, signal: Signal) -> None:
        """A finding about one case."""
        self.signals.append(signal)

    def bad(
        self,
        metric: str,
        scope: Scoped,
        arrival_us: int,
        at_us: int,
        event_id: str = "",
        *,
        impact: Impact | None = None,
        region: str = "",
        total: float = 1.0,
    ) -> None:
        """One that is bad. Pass `total=0` where it was counted as good before."""
        self.tallies.append(Tally(metric, scope, arrival_us, at_us, 1.0, total, event_id, impact, region))

    def good(self, metric: str, scope: Scoped, arrival_us: int, total: float = 1.0) -> None:
        """One (or `total`) of those among which the bad ones are counted."""
        scopes = self._good.get(metric)
        if scopes is None:
            scopes = self._good[metric] = {}
        cell = arrival_us // CELL_US
        cells = scopes.get(scope)
        if cells is None:
            scopes[scope] = {cell: total}
        else:
            cells[cell] = cells.get(cell, 0.0) + total

    def cells(self, metrics: Metrics, scope: Scoped) -> tuple[Cells, ...]:
        """The good ones of each of the metrics in one scope, to be added to."""
        scopes = self._together.get(metrics)
        if scopes is None:
            scopes = self._together[metrics] = {}
        found = scopes.get(scope)
        if found is None:
            good = [self._good.setdefault(metric, {}) for metric in metrics.names]
            found = scopes[scope] = tuple([one.setdefault(scope, {}) for one in good])
        return found

    def reads(self, metric: str) -> bool:
        """Whether anybody judges a metric, for what costs something to count."""
        return self._read is None or metric in self._read

    def gauge(
        self, metric: str, scope: Scoped, arrived: Arrived, value: float, *, region: str = "", total: float = 1.0
    ) -> None:
        """A measured value."""
        event_id = arrived.event.event_id
        self.tallies.append(
            Tally(metric, scope, arrived.arrival_us, arrived.occurred_us, value, total, event_id, None, region)
        )

    def counted(self) -> list[Counted]:
        """The good ones, by metric and scope."""
        read = self._read
        return [
            Counted(metric, scope, cells)
            for metric, scopes in self._good.items()
            if read is None or metric in read
            for scope, cells in scopes.items()
            if cells
        ]

    def told(self) -> list[Tally]:
        """The bad ones and the gauges."""
        read = self._read
        return self.tallies if read is None else [tally for tally in self.tallies if tally.metric in read]


class EventDetector:
    """One detector's first part: what it does with the events of its types. Subclasses override what they need.

    State is bounded by the subclass (it says by what) and kept as bytes. `set_timer` asks for a call of `due` with a
    key, before any event that arrives then or later; timers can't be taken back: `due` looks whether it still counts.
    `parts` are what of its state can be kept apart from the rest.
    """

    NAME: ClassVar[str]

    def __init__(self) -> None:
        self.set_timer: Callable[[int, str], None] = _no_timer
        self.parts: dict[str, Part] = {}

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """What to call for events of a type."""
        return {}

    def found(self, signal: Signal, out: Collected) -> None:
        """A finding about a case by the operators beside (handoffs), in the order of the log."""

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """A timer."""

    def sizes(self) -> Mapping[str, int]:
        """How many of what are kept."""
        return {}

    def snapshot(self) -> bytes:
        """The state, with a version."""
        return b""

    def restore(self, state: bytes) -> None:
        """Take over a snapshot (StateError when it can't be read)."""


def _no_timer(due_us: int, key: str) -> None:
    raise RuntimeError(f"a timer for {key!r} at {due_us} was set outside a host")


class EventDetectorsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `EventDetectors`: each detector's bytes by its name, and the timers."""

    version: int
    detectors: dict[str, bytes]
    timers: list[tuple[int, str, str]]


class EventDetectors:
    """All detectors of one key group.

    Cost: for each event one look-up by type, then the calls of those who read it. `read` as in `Collected`.
    """

    VERSION = 1

    def __init__(self, detectors: Iterable[EventDetector], read: frozenset[str] | None = None) -> None:
        self._detectors = list(detectors)
        self._read = read
        self._timers = Timers()
        self._due = [detector.due for detector in self._detectors]
        self._handlers: dict[type[EventBase], list[Handler]] = {}
        self._listeners = [one for one in self._detectors if type(one).found is not EventDetector.found]
        for index, detector in enumerate(self._detectors):
            detector.set_timer = self._timers.setter(index)
            for record, handler in detector.handlers().items():
                self._handlers.setdefault(record, []).append(handler)

    def update(self, events: Sequence[Arrived], signals: Sequence[Signal], clock_us: int) -> Collected:
        """Take the events of a batch, the findings made of them, and how far time has come after them."""
        out = Collected(self._read)
        waiting = sorted(signals, key=_found_at) if self._listeners else []
        handlers_of, timers, due = self._handlers.get, self._timers, self._due
        upto, found_us = 0, waiting[0].arrival_us if waiting else END_OF_TIME_US
        for arrived in events:
            called = handlers_of(type(arrived.event))
            if called is None:
                continue
            now = arrived.arrival_us
            if found_us <= now:
                upto = self._pass_on(waiting, upto, now, out)
                found_us = waiting[upto].arrival_us if upto < len(waiting) else END_OF_TIME_US
            if timers.next_us <= now:
                timers.fire(now, due, out)
            for handler in called:
                handler(arrived, out)
        self._pass_on(waiting, upto, clock_us, out)
        timers.fire(clock_us, due, out)
        return out

    def _pass_on(self, waiting: list[Signal], upto: int, now_us: int, out: Collected) -> int:
        while upto < len(waiting) and waiting[upto].arrival_us <= now_us:
            signal = waiting[upto]
            self._timers.fire(signal.arrival_us, self._due, out)
            for listener in self._listeners:
                listener.found(signal, out)
            upto += 1
        return upto

    def sizes(self) -> dict[str, Mapping[str, int]]:
        """How many of what each keeps."""
        return {detector.NAME: detector.sizes() for detector in self._detectors}

    def parts(self) -> dict[str, Part]:
        """What can be kept apart from the rest, by detector and its own name for it."""
        return {f"{one.NAME} {name}": part for one in self._detectors for name, part in one.parts.items()}

    def snapshot(self) -> EventDetectorsState:
        """Everything that is kept, but for what is kept apart."""
        names = [detector.NAME for detector in self._detectors]
        timers = [(due_us, names[index], key) for due_us, index, key in self._timers.all()]
        return EventDetectorsState(
            self.VERSION, {detector.NAME: detector.snapshot() for detector in self._detectors}, timers
        )

    def restore(self, state: EventDetectorsState) -> None:
        """Take over a snapshot; a detector that it does not know begins anew.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"detectors' state of version {state.version}; this code reads {self.VERSION}")
        indexes = {detector.NAME: index for index, detector in enumerate(self._detectors)}
        self._timers.restore((due_us, indexes[name], key) for due_us, name, key in state.timers if name in indexes)
        for detector in self._detectors:
            kept = state.detectors.get(detector.NAME, b"")
            if kept:
                detector.restore(kept)


def _found_at(signal: Signal) -> tuple[int, str, int]:
    return signal.arrival_us, signal.signal_id, signal.version
