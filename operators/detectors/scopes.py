"""The second part of detectors: counts by scope, a minute (a cell) at a time.

A cell is judged when nothing that arrived in it is still to come, and all of it at once, so that what is found does not
depend on the order in which key groups reported. Times here are arrival times: what could have been known when.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter, itemgetter
from typing import Any, ClassVar

import msgspec

from operators.detectors.events import CELL_US, Counted
from operators.detectors.readiness import ItemReady
from operators.detectors.records import Impact, Scoped, ScopeFinding, Tally
from schemas.errors import StateError

#: How many touched cases a cell keeps of one metric and scope; beyond, they only count.
MOST_MEMBERS = 5_000
#: A scope that is not idle, and of which nothing comes, is judged once in so many cells.
_IDLE_CELLS = 5
#: What a scope is judged with in which nothing came.
_NOTHING: dict[str, "Cell"] = {}


class Cell(msgspec.Struct, array_like=True, gc=False):
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
        if tally.region > self.region:  # noqa: PLR1730 - faster than max
            self.region = tally.region
        bad = tally.bad
        if not bad:
            return
        now_us, at_us = tally.arrival_us, tally.at_us
        self.bad += bad
        if bad > self.largest:  # noqa: PLR1730 - faster than max
            self.largest = bad
        if now_us > self.last_us or (now_us == self.last_us and bad > self.last):
            self.last_us, self.last = now_us, bad
        if at_us < self.first_at_us or not self.first_at_us:
            self.first_at_us = at_us
        if tally.event_id or tally.impact is not None:
            self.members.append((now_us, at_us, tally.event_id, tally.impact))

    def settle(self) -> None:
        """Put what was counted in any order into the order of the log, within the bound."""
        members = self.members
        members.sort(key=_arrival)
        if len({member[0] for member in members}) < len(members):  # of the same instant, which few are
            members.sort(key=_member_order)
        del members[MOST_MEMBERS:]


def _member_order(member: tuple[int, int, str, Impact | None]) -> tuple[int, str, str]:
    impact = member[3]
    return member[0], member[2], (impact.key or impact.tag) if impact is not None else ""


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

    def judge(
        self,
        scope: Scoped,
        state: Any,  # noqa: ANN401 - the subclass's State
        cells: Mapping[str, Cell],
        end_us: int,
    ) -> Iterable[ScopeFinding | ItemReady]:
        """What is found at the end of a cell, and what was asked for.

        `cells` has those of this detector's metrics that got counts.
        """
        raise NotImplementedError

    def idle(self, state: Any) -> bool:  # noqa: ANN401 - the subclass's State
        """Whether the scope needs no judging until something comes."""
        raise NotImplementedError


class _Watched:
    """One scope as one detector sees it: what is kept (None before it was judged), and the counts to be judged."""

    __slots__ = ("cells", "is_busy", "order", "scope", "state", "touched", "which")

    def __init__(self, which: int, scope: Scoped) -> None:
        self.which = which
        self.scope = scope
        self.order = _place(which, scope)
        self.state: Any = None
        self.touched = 0
        self.is_busy = False
        self.cells: dict[int, dict[str, Cell]] = {}


_order, _arrival = attrgetter("order"), itemgetter(0)


def _place(which: int, scope: Scoped) -> str:
    """What sorts as (which, scope) does, but as one text, which is compared at once: each part ends below any other."""
    parts = [part.replace("\0", "\0\1") for field in scope for part in field]
    return "\0\0".join((chr(which), *parts, ""))


class Kept(msgspec.Struct, array_like=True):
    """Of one detector and scope: what is kept (empty before it was judged) and the counts to be judged, by cell."""

    detector: str
    scope: Scoped
    touched: int
    state: bytes
    cells: list[tuple[int, dict[str, Cell]]]


class ScopeDetectorsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `ScopeDetectors`."""

    version: int
    kept: list[Kept]
    judged: int


class ScopeDetectors:
    """All second parts, of the scopes of one site group.

    Memory: the detectors' states for each scope that was heard of within `FORGET_US`, and the open cells.
    Cost: one dictionary entry per tally and count; per cell, one call for each detector and scope with counts or not
    idle.
    """

    VERSION = 4

    def __init__(self, detectors: Iterable[ScopeDetector]) -> None:
        self._detectors = list(detectors)
        self._watched: list[dict[Scoped, _Watched]] = [{} for _ in self._detectors]
        self._readers: dict[str, list[tuple[int, dict[Scoped, _Watched]]]] = {}
        for which, detector in enumerate(self._detectors):
            for metric in detector.METRICS:
                self._readers.setdefault(metric, []).append((which, self._watched[which]))
        self._due: dict[int, list[_Watched]] = {}
        self._busy: set[_Watched] = set()
        self._judged = 0
        self._answers: list[ItemReady] = []

    def update(self, tallies: Iterable[Tally]) -> None:
        """Take counts; they are judged when time passes the end of their cell."""
        readers = self._readers
        for tally in tallies:
            metric = tally.metric
            for which, scopes in readers.get(metric, ()):
                watched = scopes.get(tally.scope) or self._watch(which, tally.scope)
                cell = tally.arrival_us // CELL_US
                metrics = watched.cells.get(cell)
                if metrics is None:
                    metrics = self._cell(watched, cell)
                found = metrics.get(metric)
                if found is None:
                    found = metrics[metric] = Cell()
                found.add(tally)

    def count(self, counts: Iterable[Counted]) -> None:
        """Take the good ones of a batch; as `update` of as many tallies."""
        readers = self._readers
        for counted in counts:
            metric, scope = counted.metric, counted.scope
            for which, scopes in readers.get(metric, ()):
                watched = scopes.get(scope) or self._watch(which, scope)
                cells = watched.cells
                for cell, total in counted.cells.items():
                    metrics = cells.get(cell)
                    if metrics is None:
                        metrics = self._cell(watched, cell)
                    found = metrics.get(metric)
                    if found is None:
                        metrics[metric] = Cell(0.0, total)
                    else:
                        found.total += total

    def _watch(self, which: int, scope: Scoped) -> _Watched:
        watched = self._watched[which][scope] = _Watched(which, scope)
        return watched

    def _cell(self, watched: _Watched, cell: int) -> dict[str, Cell]:
        """The counts of one cell, to be judged when it is over."""
        metrics = watched.cells.get(cell)
        if metrics is None:
            metrics = watched.cells[cell] = {}
            due = self._due.get(cell)
            if due is None:
                self._due[cell] = [watched]
            else:
                due.append(watched)
        return metrics

    def advance(self, watermark_us: int) -> list[ScopeFinding]:
        """Judge every cell that is over."""
        upto = watermark_us // CELL_US
        out: list[ScopeFinding] = []
        counted = sorted((cell for cell in self._due if cell < upto), reverse=True)
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

    def answers(self) -> list[ItemReady]:
        """What was answered since this was last called; to be called after each `advance`, since no snapshot has it."""
        answers, self._answers = self._answers, []
        return answers

    def _judge_cell(self, cell: int, out: list[ScopeFinding]) -> None:
        due = self._due.pop(cell, [])
        if cell % _IDLE_CELLS == 0 and self._busy:
            due = list(self._busy.union(due))
        due.sort(key=_order)
        end_us = (cell + 1) * CELL_US
        for watched in due:
            detector, metrics = self._detectors[watched.which], watched.cells.pop(cell, _NOTHING)
            for counted in metrics.values():
                if len(counted.members) > 1:
                    counted.settle()
            state = watched.state
            if state is None:
                state = watched.state = detector.State()
            if metrics:
                watched.touched = cell
            said = detector.judge(watched.scope, state, metrics, end_us)
            if said:  # some say that there is nothing by an empty tuple
                self._sort_out(said, out)
            if detector.idle(state) == watched.is_busy:
                watched.is_busy = not watched.is_busy
                (self._busy.add if watched.is_busy else self._busy.discard)(watched)
        self._judged = cell
        if cell % 60 == 0:
            self._forget(cell)

    def _sort_out(self, said: Iterable[ScopeFinding | ItemReady], out: list[ScopeFinding]) -> None:
        """Findings go to `out`, answers wait to be asked for."""
        for one in said:
            if isinstance(one, ScopeFinding):
                out.append(one)
            else:
                self._answers.append(one)

    def _forget(self, cell: int) -> None:
        for detector, scopes in zip(self._detectors, self._watched, strict=True):
            before = cell - detector.FORGET_US // CELL_US
            gone = [one for one in scopes.values() if one.touched < before and not (one.is_busy or one.cells)]
            for watched in gone:
                del scopes[watched.scope]

    def sizes(self) -> dict[str, int]:
        """How many scopes are known, how many are being watched, how many cells are open."""
        known = sum(map(len, self._watched))
        return {"scopes": known, "busy": len(self._busy), "cells": len(self._due)}

    def snapshot(self) -> ScopeDetectorsState:
        """Everything that is kept."""
        encode = msgspec.msgpack.encode
        kept = [
            Kept(
                self._detectors[watched.which].NAME,
                watched.scope,
                watched.touched,
                b"" if watched.state is None else encode(watched.state),
                list(watched.cells.items()),
            )
            for scopes in self._watched
            for watched in scopes.values()
        ]
        return ScopeDetectorsState(self.VERSION, kept, self._judged)

    def restore(self, state: ScopeDetectorsState) -> None:
        """Take over a snapshot; what a detector kept that is no more is forgotten.

        Raises:
            StateError: it is of another version, or a detector can't read what it kept.
        """
        if state.version != self.VERSION:
            raise StateError(f"scope detectors' state of version {state.version}; this code reads {self.VERSION}")
        self._judged = state.judged
        names = {detector.NAME: which for which, detector in enumerate(self._detectors)}
        for kept in state.kept:
            which = names.get(kept.detector, -1)
            if which < 0:
                continue
            detector = self._detectors[which]
            watched = self._watch(which, kept.scope)
            watched.touched = kept.touched
            for cell, metrics in kept.cells:
                self._cell(watched, cell).update(
                    {metric: counted for metric, counted in metrics.items() if metric in detector.METRICS}
                )
            if not kept.state:
                continue
            try:
                watched.state = msgspec.msgpack.decode(kept.state, type=detector.State)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                raise StateError(
                    f"detector {kept.detector} can't read what it kept of {kept.scope}: {error}"
                ) from error
            if not detector.idle(watched.state):
                watched.is_busy = True
                self._busy.add(watched)
