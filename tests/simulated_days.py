"""Reading back what the simulator wrote, typed and checked against the contract, for its tests."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from scenarios.simulate import SimulationResult, SimulationSettings, simulate
from schemas.durations import to_us
from schemas.events import BUSINESS_TOPICS, Event, EventBase

_DECODER = msgspec.json.Decoder(Event, strict=True)


class Day:
    """A simulated span: its events by type (duplicates dropped, by event time), and the raw ones by topic.

    `refused` are those that break the contract.
    """

    def __init__(self, settings: SimulationSettings, out: Path) -> None:
        self.settings = settings
        self.result: SimulationResult = simulate(settings, out)
        self.by_topic: dict[str, list[EventBase]] = {}
        self.by_type: dict[type, list] = {}
        self.refused: list[dict] = []
        seen: set[tuple[str, str]] = set()
        for topic in BUSINESS_TOPICS:
            lines = self.result.files[topic].read_bytes().splitlines()
            self.by_topic[topic] = [event for event in map(self._decode, lines) if event is not None]
            for event in self.by_topic[topic]:
                if (event.source, event.event_id) not in seen:
                    seen.add((event.source, event.event_id))
                    self.by_type.setdefault(type(event), []).append(event)
        for events in self.by_type.values():
            events.sort(key=lambda event: event.occurred_at)

    def _decode(self, line: bytes) -> EventBase | None:
        try:
            return _DECODER.decode(line)
        except msgspec.ValidationError:
            self.refused.append(msgspec.json.decode(line))
            return None

    def of(self, kind: type) -> list:
        """The events of a type, by event time."""
        return self.by_type.get(kind, [])


def occurred(event: EventBase) -> int:
    return to_us(event.occurred_at)


def recorded(event: EventBase) -> int:
    assert event.recorded_at is not None
    return to_us(event.recorded_at)


def delay_s(event: EventBase) -> float:
    return (recorded(event) - occurred(event)) / 1e6


def p95(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[int(0.95 * (len(ordered) - 1))]
