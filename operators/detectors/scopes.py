"""The second part of detectors: counts by scope, a minute (a cell) at a time.

A cell is judged when nothing that arrived in it is still to come, and all of it at once, so that what is found does not
depend on the order in which key groups reported. Times here are arrival times: what could have been known when.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.records import Impact, Scoped, ScopeFinding, Tally
from schemas.errors import StateError

#: How many touched cases a cell keeps of one metric and scope; beyond, they only count.
MOST_MEMBERS = 5_000
#: A scope that is not idle, and of which nothing comes, is judged once in so many cells.
_IDLE_CELLS = 5


class Cell(msgspec.Struct, array_like=True):
    """What came of one metric in one scope in one minute.

    For gauges `largest` and `last` are the values; `first_at_us` is the earliest event time of what was bad. `members`
    are the bad ones that name a case or an event: (arrival, event time, event id, impact), in that order.
    """

    bad: float = 0.0
    total: float = 0.0
    largest: float = 0.0
    last: float = 0.0
    last_us: int = 0
    first_at_us: int = 0
    region: str = ""
    members: list[tuple[int, int, str, Impact | None]] = []

    def add(self, tally: Tally) -> None:
        """Count a tally in."""
        self.total += tally.total
        self.region = max(self.region, tally.region)
        if not tally.bad:
            return
        self.bad += tally.bad
        self.largest = max(self.largest, tally.bad)
        self.last_us, self.last = max((self.last_us, self.last), (tally.arrival_us, tally.bad))
        self.first_at_us = min(self.first_at_us, tally.at_us) if self.first_at_us else tally.at_us
        if tally.event_id or tally.impact is not None:
            self.members.append((tally.arrival_us, tally.at_us, tally.event_id, tally.impact))

    def settle(self) -> None:
        """Put what was counted in any order into the order of the log, within the bound."""
        self.members.sort(key=_member_order)
        del self.members[MOST_MEMBERS:]


def _member_order(member: tuple[int, int, str, Impact | None]) -> tuple[int, str, str]:
    impact = member[3]
    return member[0], member[2], impact.key if impact is not None else ""


class ScopeDetector:
    """One detector's second part: judges each scope that has counts of its metrics, a cell at a time.

    `State` is what is kept of a scope: a msgspec record that can be made without arguments. `judge` may change it in
    place. A scope for which `idle` holds is not judged in cells without counts (others are, in every fifth), and
    forgotten after `FORGET_US`.
    """

    NAME: ClassVar[str]
    METRICS: tuple[str, ...] = ()
    State: ClassVar[type[Any]]
    FORGET_US: int = 14 * 86_400_000_000

    def judge(self, scope: Scoped, state: Any, cells: Mapping[str, Cell], end_us: int) -> Iterable[ScopeFinding]:  # noqa: ANN401 - the subclass's State
        """What is found at the end of a cell; `cells` has those of this detector's metrics that got counts."""
        raise NotImplementedError

    def idle(self, state: Any) -> bool:  # noqa: ANN401 - the subclass's State
        """Whether the scope needs no judging until something comes."""
        raise NotImplementedError


class _Kept(msgspec.Struct, array_like=True):
    touched_us: int
    state: bytes


class ScopeDetectorsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `ScopeDetectors`: open cells, and by detector and scope what is kept."""

    version: int
    cells: list[tuple[int, str, Scoped, Cell]]
    kept: list[tuple[str, Scoped, _Kept]]
    judged: int


class ScopeDetectors:
    """All second parts, of the scopes of one site group.

    Memory: the detectors' states for each scope that was heard of within `FORGET_US`, and the open cells.
    Cost: one dictionary entry per tally; per cell, one call for each detector and scope with counts or not idle.
    """

    VERSION = 1

    def __init__(self, detectors: Iterable[ScopeDetector]) -> None:
        self._detectors = list(detectors)
        self._names = {detector.NAME: index for index, detector in enumerate(self._detectors)}
        self._readers: dict[str, list[int]] = {}
        for index, detector in enumerate(self._detectors):
            for metric in detector.METRICS:
                self._readers.setdefault(metric, []).append(index)
        self._cells: dict[int, dict[tuple[int, Scoped], dict[str, Cell]]] = {}
        self._states: dict[tuple[int, Scoped], Any] = {}
        self._touched: dict[tuple[int, Scoped], int] = {}
        self._busy: set[tuple[int, Scoped]] = set()
        self._judged = 0

    def update(self, tallies: Sequence[Tally]) -> None:
        """Take counts; they are judged when time passes the end of their cell."""
        readers = self._readers
        for tally in tallies:
            metric = tally.metric
            indexes = readers.get(metric)
            if indexes is None:
                continue
            scopes = self._cells.setdefault(tally.arrival_us // CELL_US, {})
            for index in indexes:
                key = index, tally.scope
                metrics = scopes.get(key)
                if metrics is None:
                    metrics = scopes[key] = {}
                found = metrics.get(metric)
                if found is None:
                    found = metrics[metric] = Cell(members=[])
                found.add(tally)

    def advance(self, watermark_us: int) -> list[ScopeFinding]:
        """Judge every cell that is over."""
        upto = watermark_us // CELL_US
        out: list[ScopeFinding] = []
        counted = sorted((cell for cell in self._cells if cell < upto), reverse=True)
        while True:
            cell = counted[-1] if counted else upto
            if self._busy:
                cell = min(cell, (self._judged // _IDLE_CELLS + 1) * _IDLE_CELLS)
            if cell >= upto:
                break
            if counted and counted[-1] == cell:
                counted.pop()
            self._judge_cell(cell, out)
        self._judged = max(self._judged, upto - 1)
        return out

    def _judge_cell(self, cell: int, out: list[ScopeFinding]) -> None:
        counts = self._cells.pop(cell, {})
        end_us = (cell + 1) * CELL_US
        for key in sorted(counts.keys() | self._busy if cell % _IDLE_CELLS == 0 else counts):
            index, scope = key
            detector, metrics = self._detectors[index], counts.get(key, {})
            for counted in metrics.values():
                counted.settle()
            state = self._states.get(key)
            if state is None:
                state = self._states[key] = detector.State()
            if metrics:
                self._touched[key] = cell
            out.extend(detector.judge(scope, state, metrics, end_us))
            if detector.idle(state):
                self._busy.discard(key)
            else:
                self._busy.add(key)
        self._judged = cell
        if cell % 60 == 0:
            self._forget(cell)

    def _forget(self, cell: int) -> None:
        for key, touched in list(self._touched.items()):
            if (cell - touched) * CELL_US > self._detectors[key[0]].FORGET_US and key not in self._busy:
                del self._touched[key], self._states[key]

    def sizes(self) -> dict[str, int]:
        """How many scopes are known, how many are being watched, how many cells are open."""
        return {"scopes": len(self._states), "busy": len(self._busy), "cells": len(self._cells)}

    def snapshot(self) -> ScopeDetectorsState:
        """Everything that is kept."""
        cells = [
            (cell, metric, key[1], found)
            for cell, scopes in sorted(self._cells.items())
            for key, metrics in scopes.items()
            for metric, found in metrics.items()
        ]
        kept = [
            (
                self._detectors[index].NAME,
                scope,
                _Kept(self._touched.get((index, scope), self._judged), msgspec.msgpack.encode(state)),
            )
            for (index, scope), state in self._states.items()
        ]
        return ScopeDetectorsState(self.VERSION, cells, kept, self._judged)

    def restore(self, state: ScopeDetectorsState) -> None:
        """Take over a snapshot; what a detector kept that is no more is forgotten.

        Raises:
            StateError: it is of another version, or a detector can't read what it kept.
        """
        if state.version != self.VERSION:
            raise StateError(f"scope detectors' state of version {state.version}; this code reads {self.VERSION}")
        self._judged = state.judged
        for cell, metric, scope, found in state.cells:
            for index in self._readers.get(metric, ()):
                copy = msgspec.structs.replace(found, members=list(found.members))
                self._cells.setdefault(cell, {}).setdefault((index, scope), {})[metric] = copy
        for name, scope, kept in state.kept:
            index = self._names.get(name, -1)
            if index < 0:
                continue
            try:
                restored = msgspec.msgpack.decode(kept.state, type=self._detectors[index].State)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                raise StateError(f"detector {name} can't read what it kept of {scope}: {error}") from error
            self._states[index, scope], self._touched[index, scope] = restored, kept.touched_us
            if not self._detectors[index].idle(restored):
                self._busy.add((index, scope))
