"""Dropping what the log delivered twice: by (source, event_id) within a horizon of arrival time."""

from collections.abc import Sequence

from operators.dedup_state import DedupState
from schemas.errors import StateError
from schemas.events import Arrived, type_name
from schemas.rows import DuplicateEvent


class Dedup:
    """Remember ids for a horizon of arrival time.

    An event is dropped when the same (source, event_id) was let through at most `horizon_us` of arrival time before.
    Ids are kept in two generations, each one horizon long, so forgetting costs nothing per event.

    Memory: the ids of at most two horizons, and never more than `2 * max_ids` (the generation is turned early when it
    is full; `turned_early` counts that, since from then on a repeat may come through). Cost: three dict look-ups.
    """

    VERSION = 2

    def __init__(self, horizon_us: int, max_ids: int = 1_000_000) -> None:
        self.horizon_us = horizon_us
        self.max_ids = max_ids
        self.turned_early = 0
        self._turned_us = 0
        self._current: dict[str, dict[str, int]] = {}
        self._previous: dict[str, dict[str, int]] = {}
        self._count = 0

    def split(self, events: Sequence[Arrived]) -> tuple[list[Arrived], list[tuple[Arrived, int]]]:
        """The events let through, and those dropped, each with the arrival time of the one let through before."""
        kept: list[Arrived] = []
        dropped: list[tuple[Arrived, int]] = []
        horizon = self.horizon_us
        current, previous, count = self._current, self._previous, self._count
        turn_us, most = self._turned_us + horizon, self.max_ids
        for arrived in events:
            now = arrived.arrival_us
            if now > turn_us or count >= most:
                self._turn(now)
                current, previous, count = self._current, self._previous, 0
                turn_us = now + horizon
            event = arrived.event
            source, event_id = event.source, event.event_id
            ids = current.get(source)
            if ids is None:
                ids = current[source] = {}
            seen = ids.get(event_id)
            if seen is None:
                if source in previous:
                    seen = previous[source].get(event_id)
                count += seen is None or now - seen > horizon
            if seen is not None and now - seen <= horizon:
                dropped.append((arrived, seen))
            else:
                ids[event_id] = now
                kept.append(arrived)
        self._count = count
        return kept, dropped

    def _turn(self, now_us: int) -> None:
        if now_us - self._turned_us > 2 * self.horizon_us:
            self._previous = {}
        else:
            self._previous = self._current
            self.turned_early += now_us - self._turned_us <= self.horizon_us
        self._current = {}
        self._count = 0
        self._turned_us = now_us

    def __len__(self) -> int:
        """How many ids are remembered."""
        return sum(map(len, self._current.values())) + sum(map(len, self._previous.values()))

    def sizes(self) -> dict[str, int]:
        """Ids remembered, and how often ids were let go before their horizon for want of room."""
        return {"ids": len(self), "turned_early": self.turned_early}

    def snapshot(self) -> DedupState:
        """The ids of both generations."""
        return DedupState(self.VERSION, self._turned_us, self._current, self._previous)

    def restore(self, state: DedupState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"dedup state of version {state.version}; this code reads {self.VERSION}")
        self._turned_us = state.turned_us
        self._current, self._previous = state.current, state.previous
        self._count = sum(map(len, self._current.values()))


def duplicate_row(arrived: Arrived, first_arrival_us: int) -> DuplicateEvent:
    """The record of a dropped event."""
    event = arrived.event
    return DuplicateEvent(
        topic=arrived.topic,
        partition=arrived.partition,
        offset=arrived.offset,
        type=type_name(event),
        source=event.source,
        event_id=event.event_id,
        first_arrival_us=first_arrival_us,
        seen_at_us=arrived.arrival_us,
    )
