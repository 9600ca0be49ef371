"""Incidents, composed: findings about scopes in; what broke, why, and what it costs, out."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.records import ScopeFinding, Tally, bucket_key
from operators.findings import next_version
from operators.incidents.causes import CauseGraph
from operators.incidents.delays import Delays
from operators.incidents.grouping import Grouping
from operators.incidents.journeys import Journeys
from operators.incidents.lifecycle import next_look_us, status_at
from operators.incidents.orders import latest, touch
from operators.incidents.paces import Pace, Paces
from operators.incidents.promises import predict
from operators.incidents.ranking import Candidate, ranked, role_of
from operators.incidents.records import Record, Touched, begun, finding_of
from operators.incidents.rows import (
    MOST_CANDIDATES,
    incident_id,
    incident_row,
    merged_row,
    order_row,
    said,
    signal_row,
)
from operators.incidents.settings import IncidentSettings, find_problems
from operators.incidents.standings import Standings
from operators.incidents.state import IncidentsState
from operators.process_map import ProcessMap
from operators.promise_path import promise_path
from schemas.durations import BEGIN_OF_TIME_US, SECOND_US
from schemas.errors import SettingsError, StateError
from schemas.incident_rows import Incident, IncidentOrder, IncidentSignal

IncidentOutput: TypeAlias = Incident | IncidentOrder | IncidentSignal


class Incidents:
    """Put findings together to incidents; docs/incidents.md has the rules.

    Findings are judged a minute (a cell) of arrival time at a time, all that arrived in one together, so that the rows
    don't depend on the order within it nor on how the input was cut into calls. What arrived at the very end of a cell
    belongs to it. An incident is written at most once a cell, and only where it says something new.

    Memory: a record for each finding and each touched case of the incidents that are not over, or were resolved within
    `reopen_within`; findings that are over are let go beyond `most_findings`, so that what is left are those that
    detectors have open. Cost: per finding the incidents of related kinds; per case one step for each incident that
    touches it; per incident and cell quadratic in its number of kinds.

    Raises:
        SettingsError: with everything that is wrong with the settings.
    """

    VERSION = 1

    def __init__(self, settings: IncidentSettings, process: ProcessMap) -> None:
        problems = find_problems(settings)
        if problems:
            raise SettingsError(problems)
        self._settings = settings
        self._graph = CauseGraph(settings.cause, process, settings.reopen_within)
        self._grouping = Grouping(self._graph, settings)
        self._delays = Delays()
        self._path = promise_path(process)
        self._paces = Paces()
        self._standings = Standings(len(self._path), settings.give_up_after, settings.most_orders)
        self._journeys = Journeys(self._path, self._paces)
        self._pending: dict[int, list[ScopeFinding]] = {}
        self._moves: dict[int, list[Tally]] = {}
        self._heard: dict[int, list[Pace]] = {}
        self._due: list[tuple[int, int]] = []
        self._begun = 0
        self._clock_us = BEGIN_OF_TIME_US

    def update(self, findings: Sequence[ScopeFinding]) -> list[IncidentOutput]:
        """Take findings in order of arrival; gives what is to be said of the cells before the last one's.

        A finding that comes after its cell was judged counts in the next one.
        """
        out: list[IncidentOutput] = []
        for finding in findings:
            arrival_us = finding.signal.arrival_us
            out += self.advance(arrival_us)
            self._pending.setdefault(self._cell_of(arrival_us), []).append(finding)
        return out

    def hear(self, moves: Sequence[Tally], paces: Sequence[Pace]) -> None:
        """Take where orders stand now and how long handoffs take: before findings that arrived later, in any order."""
        for move in moves:
            self._moves.setdefault(self._cell_of(move.arrival_us), []).append(move)
        for pace in paces:
            self._heard.setdefault(self._cell_of(pace.arrival_us), []).append(pace)

    def advance(self, clock_us: int) -> list[IncidentOutput]:
        """Judge the cells that ended before `clock_us`; everything that arrived before it has been given."""
        out: list[IncidentOutput] = []
        while True:
            cell = min(self._pending, default=clock_us)
            if self._due:
                cell = min(cell, _cell_end(self._due[0][0]))
            if cell >= clock_us:
                self._follow(clock_us - 1)
                return out
            self._clock_us = cell
            self._follow(cell)
            self._judge(cell, out)

    def _cell_of(self, arrival_us: int) -> int:
        return max(_cell_end(arrival_us), self._clock_us + CELL_US)

    def _follow(self, upto_us: int) -> None:
        """Know what was heard of orders and handoffs in the cells up to this one."""
        for cell in sorted(cell for cell in {*self._moves, *self._heard} if cell <= upto_us):
            self._paces.hear(self._heard.pop(cell, []))
            for move in sorted(self._moves.pop(cell, []), key=_move_order):
                impact = move.impact
                if impact is None or impact.standing is None:
                    continue
                self._standings.hear(impact.key, impact.standing, cell)
                for number in self._grouping.shared.touching(impact.key):
                    record = self._grouping.records[number]
                    touched = record.orders[impact.key]
                    touched.standing = latest(touched.standing, impact.standing)
                    if impact.promised_us not in (None, touched.impact.promised_us):
                        touched.impact = msgspec.structs.replace(touched.impact, promised_us=impact.promised_us)
                        record.fresh_orders.append(impact.key)  # written when the incident is looked at next

    def _judge(self, now_us: int, out: list[IncidentOutput]) -> None:
        self._paces.at(now_us)
        changed, new = self._take(now_us)
        changed |= self._look(now_us)
        waiting: set[int] = set()
        records = self._grouping.records
        order = sorted(new, key=lambda number: (records[number].root.opened_us, records[number].cause))
        for number in [*order, *sorted(changed)]:
            record = records.get(number)
            if record is None:
                continue
            placed, unsure = self._grouping.place(record, now_us)
            changed.add(placed.number)
            if unsure:
                waiting.add(placed.number)
            else:
                waiting.discard(placed.number)
        for gone, shown, into in self._grouping.take_merged():
            shown.version = next_version(shown.version, now_us)
            out.append(merged_row(gone, shown, records[into].shown.incident_id, now_us))
        for number in sorted(changed & records.keys()):
            record = records[number]
            if not record.written and number in waiting and now_us < record.hold_us:
                self._look_again(record, now_us)
            else:
                self._write(record, now_us, out)

    def _take(self, now_us: int) -> tuple[set[int], set[int]]:
        """Take in a cell's findings; which incidents heard of something, and which are new."""
        grouping, changed, new = self._grouping, set[int](), set[int]()
        for finding in sorted(self._pending.pop(now_us, []), key=_finding_order):
            signal = finding.signal
            number = grouping.of_signal.get(signal.signal_id)
            if number is None and _was_forgotten(finding):
                continue
            if number is None:
                self._begun += 1
                number = self._begun
                grouping.begin(begun(number, finding_of(finding), now_us + self._settings.hold))
                new.add(number)
            record = grouping.records[number]
            known = record.findings[signal.signal_id]
            if known.closed_us is None and signal.closed_at_us is not None:
                record.over_us = now_us
            record.renew(known, finding)
            added = number in new
            for impact in finding.impacts:
                known.orders += 1
                standing = latest(impact.standing, self._standings.get(impact.key))
                plain = msgspec.structs.replace(impact, standing=None)
                touched = Touched(plain, known.signal_id, known.kind, now_us, standing=standing)
                added = touch(record, grouping.shared, touched, self._settings.most_orders) or added
            record.heard_us = now_us
            record.added_us = now_us if added else record.added_us
            changed.add(number)
        return changed - new, new

    def _look(self, now_us: int) -> set[int]:
        """The incidents that were to be looked at by now; what is over for good is forgotten."""
        found = set()
        while self._due and self._due[0][0] <= now_us:
            due_us, number = heappop(self._due)
            record = self._grouping.records.get(number)
            if record is None or record.due_us != due_us:
                continue
            forget_us = record.shown.resolved_us + self._settings.reopen_within
            if record.resolved and forget_us <= now_us and record.added_us != now_us:
                self._grouping.forget(record)
            else:
                found.add(number)
        return found

    def _write(self, record: Record, now_us: int, out: list[IncidentOutput]) -> None:
        candidates = ranked(record, self._graph, self._settings)
        best = candidates[0].finding.signal_id
        if best != record.cause:
            self._grouping.attribute(record, best)
        shown = record.shown
        again, shown.cause = best != shown.cause, best
        status = status_at(record, now_us, self._settings)
        if not record.written:
            shown.incident_id, shown.found_us = incident_id(record.cause), now_us
        predict(record, self._delays, self._journeys, now_us)
        if status == "resolved" and shown.status != "resolved":
            shown.resolved_us = now_us
            closed_us = max(part.closed_us for part in record.kinds.values()) or now_us
            held = ((closed_us - touched.touched_us) / SECOND_US for touched in record.orders.values())
            self._delays.learn(record.root.kind, [max(0.0, length_s) for length_s in held])
        shown.status = status
        self._write_signals(record, candidates, now_us, out, again=again)
        for key in dict.fromkeys(record.fresh_orders):
            touched = record.orders[key]
            touched.version = next_version(touched.version, now_us)
            out.append(order_row(shown.incident_id, key, touched, now_us))
        record.fresh, record.fresh_orders = [], []
        row = incident_row(record, candidates, status, now_us, self._settings)
        if said(row) != shown.said:
            shown.said, shown.version = said(row), next_version(shown.version, now_us)
            out.append(msgspec.structs.replace(row, version=shown.version))
        self._grouping.let_go(record.let_go(self._settings.most_findings))
        self._look_again(record, now_us)

    def _write_signals(
        self, record: Record, candidates: Sequence[Candidate], now_us: int, out: list[IncidentOutput], *, again: bool
    ) -> None:
        ranks = {one.finding.signal_id: rank for rank, one in enumerate(candidates[:MOST_CANDIDATES], 1)}
        those = list(record.findings) if again else [*ranks, *record.ranked, *record.fresh]
        record.ranked = list(ranks)
        for signal_id in dict.fromkeys(those):
            finding = record.findings[signal_id]
            part = *role_of(finding, record.root, self._graph), ranks.get(signal_id, 0)
            if part != (finding.role, finding.reason, finding.rank):
                finding.role, finding.reason, finding.rank = part
                finding.version = next_version(finding.version, now_us)
                out.append(signal_row(record.shown.incident_id, finding, now_us))

    def _look_again(self, record: Record, now_us: int) -> None:
        due_us = next_look_us(record, now_us, self._settings)
        if due_us != record.due_us:
            record.due_us = due_us
            heappush(self._due, (due_us, record.number))

    def sizes(self) -> dict[str, int]:
        """How many of what are kept."""
        records = self._grouping.records.values()
        return {
            "incidents": len(records),
            "open": sum(record.written and not record.resolved for record in records),
            "waiting": sum(not record.written for record in records),
            "findings": len(self._grouping.of_signal),
            "cases": len(self._grouping.shared),
            "unnamed_cases": sum(record.unnamed for record in records),
            "pending": sum(map(len, self._pending.values())),
            "paces": len(self._paces),
            "standings": len(self._standings),
        }

    def snapshot(self) -> IncidentsState:
        """Everything that is kept. To be encoded before the next call of anything here: it is no copy."""
        records = list(self._grouping.records.values())
        return IncidentsState(
            self.VERSION,
            records,
            self._pending,
            self._delays.learnt,
            self._begun,
            self._clock_us,
            self._moves,
            self._heard,
            self._paces.snapshot(),
            self._standings.snapshot(),
        )

    def restore(self, state: IncidentsState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"incidents of version {state.version}; this code reads {self.VERSION}")
        self._grouping = Grouping(self._graph, self._settings, state.records)
        self._delays = Delays(state.learnt)
        self._pending = {cell: list(findings) for cell, findings in state.pending.items()}
        self._moves = {cell: list(moves) for cell, moves in state.moves.items()}
        self._heard = {cell: list(paces) for cell, paces in state.heard.items()}
        if state.paces is not None:
            self._paces.restore(state.paces)
        if state.standings is not None:
            self._standings.restore(state.standings)
        self._due = [(record.due_us, record.number) for record in state.records if record.due_us]
        heapify(self._due)
        self._begun, self._clock_us = state.begun, state.clock_us


def _cell_end(time_us: int) -> int:
    return -(-time_us // CELL_US) * CELL_US


def _was_forgotten(finding: ScopeFinding) -> bool:
    """Whether a finding that no incident has is the end of one that was given up: nobody need be told of that."""
    signal = finding.signal
    return signal.closed_at_us is not None and _cell_end(signal.found_at_us) < _cell_end(signal.arrival_us)


def _move_order(move: Tally) -> tuple[int, str, str]:
    return move.arrival_us, bucket_key(move.scope), move.event_id


def _finding_order(finding: ScopeFinding) -> tuple[int, str, int]:
    return finding.signal.opened_at_us, finding.signal.signal_id, finding.signal.version
