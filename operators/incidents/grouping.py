"""Which findings are one incident: each begins one of its own, and incidents with one cause become one."""

from collections.abc import Iterable, Iterator

from operators.incidents.causes import CauseGraph
from operators.incidents.links import Verdict, judge, places, siblings
from operators.incidents.orders import SharedOrders, absorb_orders
from operators.incidents.ranking import ranked
from operators.incidents.records import Record, Shown, records_by_number
from operators.incidents.settings import IncidentSettings


class Grouping:
    """All incidents that are known, by what they can be linked through.

    Two incidents become one by `judge`, or where many places have the same trouble at once. What is left is the older
    one to those who read of it; `take_merged` tells who was given up to which.

    Memory: beside the records one entry for each finding, and for each case and incident. Cost: a new finding is held
    against the incidents whose causes are of a kind that has to do with its own, not against their findings; a merger
    costs as much as the smaller one has.
    """

    def __init__(self, graph: CauseGraph, settings: IncidentSettings, records: Iterable[Record] = ()) -> None:
        self._graph, self._settings = graph, settings
        self.records = records_by_number(records)
        self.of_signal = {signal_id: one.number for one in self.records.values() for signal_id in one.findings}
        self.shared = SharedOrders(self.records.values())
        self._of_kind: dict[str, set[int]] = {}
        self._of_handoff: set[int] = set()
        self._merged: list[tuple[Record, Shown, int]] = []
        for record in self.records.values():
            self._enter(record)

    def begin(self, record: Record) -> None:
        """Know an incident; it is not linked to others before `place`."""
        self.records[record.number] = record
        for signal_id in record.findings:
            self.of_signal[signal_id] = record.number

    def place(self, record: Record, now_us: int) -> tuple[Record, bool]:
        """Link an incident to others as far as what is known of it says so.

        Returns:
            What it is part of now, and whether orders have yet to tell whether it is part of another one.
        """
        self._leave(record)
        while True:
            partners, unsure = self._partners(record, now_us)
            if not partners:
                break
            for partner in partners:
                record = self._merge(record, partner, now_us)
        self._enter(record)
        return record, unsure

    def attribute(self, record: Record, cause: str) -> None:
        """Another finding is held for the cause."""
        self._leave(record)
        record.cause = cause
        self._enter(record)

    def forget(self, record: Record) -> None:
        """An incident is over for good."""
        self._leave(record)
        self.shared.drop(record.number, record.orders)
        self.let_go(record.findings)
        del self.records[record.number]

    def let_go(self, signal_ids: Iterable[str]) -> None:
        """Findings of which nothing more is expected."""
        for signal_id in signal_ids:
            del self.of_signal[signal_id]

    def take_merged(self) -> list[tuple[Record, Shown, int]]:
        """What was given up, as it was, by whom it was known, and to which incident."""
        merged, self._merged = self._merged, []
        return merged

    def _near(self, record: Record) -> Iterator[Record]:
        """The incidents whose causes may have to do with an incident's own."""
        numbers: set[int] = set()
        for kind in self._graph.near(record.root.kind):
            numbers |= self._of_kind.get(kind, set())
        if record.root.handoff:
            numbers |= self._of_handoff
        for number in sorted(numbers):
            other = self.records[number]
            if number != record.number and not (
                record.written and other.written and (record.resolved or other.resolved)
            ):
                yield other

    def _partners(self, record: Record, now_us: int) -> tuple[list[Record], bool]:
        """What it comes from, the surest only; else all that comes from it; else those that have it, too."""
        causes: list[tuple[float, int, int, Record]] = []
        effects: list[Record] = []
        unsure = False
        waited = not record.written and record.hold_us <= now_us
        for other in self._near(record):
            shared = self.shared.shared(record.number, other.number)
            upstream = judge(other, record, shared, self._graph, self._settings)
            downstream = judge(record, other, shared, self._graph, self._settings)
            if other.resolved:  # what is over is opened again by what is sure only
                upstream = upstream if upstream is not None and upstream.sure else None
                downstream = downstream if downstream is not None and downstream.sure else None
            if upstream is not None and _counts(upstream, waited=waited):
                causes.append((-upstream.strength, other.root.opened_us, other.number, other))
            elif downstream is not None and _counts(downstream, waited=waited):
                effects.append(other)
            unsure = unsure or upstream is not None or downstream is not None
        if causes:
            return [min(causes)[-1]], False
        return effects or self._siblings(record), unsure

    def _siblings(self, record: Record) -> list[Record]:
        same = [self.records[number] for number in sorted(self._of_kind.get(record.root.kind, ()))]
        others = [
            one
            for one in same
            if one.number != record.number and not one.resolved and siblings(one, record, self._settings)
        ]
        enough = sum(map(places, [record, *others])) >= self._settings.siblings
        return others if enough and not record.resolved else []

    def _merge(self, one: Record, other: Record, now_us: int) -> Record:
        """Make two incidents one. The bigger one's record goes on; to readers it is the older one that goes on."""
        self._leave(other)
        stays, goes = sorted(
            (one, other), key=lambda record: (not record.written, record.shown.found_us, record.number)
        )
        if goes.written:
            self._merged.append((_as_it_was(goes), goes.shown, 0))
        for finding in goes.findings.values():
            finding.role, finding.rank = "", 0
        goes.fresh, goes.fresh_orders = list(goes.findings), list(goes.orders)
        big, small = (stays, goes) if _size(stays) >= _size(goes) else (goes, stays)
        cause, shown = stays.cause, stays.shown
        big.absorb_parts(small)
        absorb_orders(big, small, self.shared, self._settings.most_orders)
        big.fresh.extend(small.fresh)
        big.cause, big.shown = cause, shown
        big.ranked.extend(small.ranked)
        big.added_us = now_us
        big.heard_us, big.over_us = max(big.heard_us, small.heard_us), max(big.over_us, small.over_us)
        big.hold_us = min(big.hold_us, small.hold_us)
        for signal_id in small.findings:
            self.of_signal[signal_id] = big.number
        del self.records[small.number]
        self._merged = [
            (gone, known, big.number if into in (0, small.number) else into) for gone, known, into in self._merged
        ]
        big.cause = ranked(big, self._graph, self._settings)[0].finding.signal_id
        return big

    def _enter(self, record: Record) -> None:
        self._of_kind.setdefault(record.root.kind, set()).add(record.number)
        if record.root.handoff:
            self._of_handoff.add(record.number)

    def _leave(self, record: Record) -> None:
        self._of_kind.get(record.root.kind, set()).discard(record.number)
        self._of_handoff.discard(record.number)


def _counts(verdict: Verdict, *, waited: bool) -> bool:
    return verdict.sure or (waited and verdict.by_time)


def _size(record: Record) -> int:
    return len(record.findings) + len(record.orders)


def _as_it_was(record: Record) -> Record:
    """What is told of an incident that is given up: its cause and the scope of it."""
    root = record.root
    was = Record(number=record.number, cause=record.cause)
    was.findings = {record.cause: root}
    was.kinds = {root.kind: record.root_part}
    return was
