"""Calls over interfaces that fail, by the class of the failure: transport, schema, rule, downstream.

Metric `calls:<status>` by interface. A class is found when too many calls fail that way and most of the failures beyond
the usual are of that class: what is down answers some calls with time-outs, too.
"""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import CELL_US, Collected, EventDetector, Handler, Metrics
from operators.detectors.policy import ByScope, Policy
from operators.detectors.rates import RateRule, RateState, RateWatch, Seen, Words
from operators.detectors.records import Impact, Scoped, ScopeFinding, ScopesOf
from operators.detectors.scopes import Cell, ScopeDetector
from schemas.events import Arrived, CallCompleted, EventBase

#: The kind of finding of each status, the most direct evidence first.
KINDS = {
    "schema_error": "schema_change",
    "rule_error": "rule_failure",
    "downstream_error": "downstream_outage",
    "transport_error": "transport_fault",
}
_METRICS = {status: f"calls:{status}" for status in KINDS}
_GOOD = Metrics(*_METRICS.values())
_WORDS = {
    "schema_error": "are refused because of the form of the message",
    "rule_error": "are refused by a business rule",
    "downstream_error": "fail because what lies behind it is down",
    "transport_error": "get lost or time out on the way",
}


class CallSettings(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When calls of an interface fail too often in one way; `cases` of them or more have to be different cases.

    Of the failures beyond the usual ones, the class must be at least `of_failures`.
    """

    rate: RateRule = RateRule(least=6.0, share=0.08, times=4.0, score=6.0, usual=0.01)
    cases: int = 3
    of_failures: float = 0.5


class Calls(EventDetector):
    """Counts calls and their failures. Memory: the names of interfaces."""

    NAME = "calls"

    def __init__(self) -> None:
        super().__init__()
        self._interfaces = ScopesOf("interface")

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {CallCompleted: self._completed}

    def _completed(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, CallCompleted)
        scope, now_us = self._interfaces[event.interface], arrived.arrival_us
        cell, failed = now_us // CELL_US, _METRICS.get(event.status)
        for metric, counted in zip(_GOOD.names, out.cells(_GOOD, scope), strict=True):
            if metric != failed:
                counted[cell] = counted.get(cell, 0.0) + 1.0
        if failed is not None:
            impact = Impact(order_id=event.case_id) if event.case_id else None
            out.bad(failed, scope, now_us, arrived.occurred_us, event.event_id, impact=impact)


class CallState(msgspec.Struct, array_like=True):
    """What is kept of an interface: of each class of failure what `RateWatch` keeps."""

    classes: dict[str, RateState] = {}


class CallFailures(ScopeDetector):
    """Judges the classes of failure of one interface side by side."""

    NAME = "call_failures"
    METRICS = tuple(_METRICS.values())
    State = CallState

    def __init__(self, policy: Policy[CallSettings], rates: Policy[RateRule]) -> None:
        self._policy = policy
        self._rates = rates
        self._watches = {
            status: RateWatch(f"call_failures:{status}", kind, _METRICS[status], rates, _words_of(status))
            for status, kind in KINDS.items()
        }

    def judge(self, scope: Scoped, state: CallState, cells: Mapping[str, Cell], end_us: int) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        if len(state.classes) < len(KINDS):
            state.classes = {status: state.classes.get(status) or RateState() for status in KINDS}
        if self._is_clean(scope, state, cells, end_us):
            for status, watch in self._watches.items():
                yield from watch.judge(scope, state.classes[status], cells, end_us)
            return
        settings = self._policy.of(scope)
        oldest = (end_us - self._rates.of(scope).window) // CELL_US
        excess: dict[str, float] = {}
        for status in KINDS:
            kept = state.classes[status]
            cell = cells.get(_METRICS[status])
            usual = kept.usual_bad / max(kept.usual_total, 50.0)
            excess[status] = max(0.0, _sum(kept, cell, oldest, 1) - usual * _sum(kept, cell, oldest, 2))
        total = sum(excess.values())
        leading = next((status for status in KINDS if excess[status] == max(excess.values())), "")
        for status, watch in self._watches.items():
            kept = state.classes[status]
            minor = status != leading or excess[status] < settings.of_failures * total
            few = _cases(kept, cells.get(_METRICS[status])) < settings.cases
            yield from watch.judge(scope, kept, cells, end_us, barred=minor or few)

    def _is_clean(self, scope: Scoped, state: CallState, cells: Mapping[str, Cell], end_us: int) -> bool:
        """Whether no class can be found and none is open: no call of the window failed."""
        rule, number = self._rates.of(scope), end_us // CELL_US
        return all(
            not kept.opened_us and self._watches[status].is_clean(kept, rule, number)
            for status, kept in state.classes.items()
        ) and not any(cell.bad for cell in cells.values())

    def idle(self, state: CallState) -> bool:
        """As `ScopeDetector`."""
        return all(not kept.opened_us for kept in state.classes.values())


def _sum(kept: RateState, cell: Cell | None, oldest: int, which: int) -> float:
    """The failed (1) or all (2) calls of the window."""
    now = 0.0 if cell is None else (cell.bad if which == 1 else cell.total)
    return now + sum(one[which] for one in kept.cells if one[0] > oldest)


def _cases(kept: RateState, cell: Cell | None) -> int:
    """How many different cases the failures are about; those without one count for themselves."""
    members = [*kept.recent, *(cell.members if cell is not None else ())]
    return len({impact.key if impact is not None else event_id for _, _, event_id, impact in members})


def _words_of(status: str) -> Words:
    def words(seen: Seen) -> tuple[str, str, str]:
        name = dict(seen.scope).get("interface", "")
        expected = f"{seen.usual:.1%} of the calls"
        observed = f"{seen.bad:.0f} of {seen.total:.0f} calls in {seen.within}"
        if seen.closed:
            return expected, observed, f"Calls over {name} go through again; {seen.cases} cases were touched."
        return expected, observed, f"Calls over {name} {_WORDS[status]}: {observed}, about {seen.cases} cases so far."

    return words
