"""What the handoff tracker finds of single cases, counted by handoff and scope.

The metric is the finding's kind and its handoff or rule: `overdue:pick`, `missing_step:allocation`,
`out_of_sequence:invoice_posting`, `duplicate:order_approval`; an exception's is its name: `task_rejected`. What they
are counted among are the passes of the handoff that were completed (`CaseGroup` counts those in).
"""

from operators.detectors.events import Collected, EventDetector
from operators.detectors.order_book import OrderBook
from operators.detectors.records import Impact, Scoped
from operators.process_map import ProcessMap
from schemas.rows import Signal

#: The findings about a handoff for which its completed passes are counted.
COUNTED = ("overdue", "missing_step", "out_of_sequence")


class CaseFindings(EventDetector):
    """Counts each finding when it is first said. Memory: none."""

    NAME = "case_findings"

    def __init__(self, book: OrderBook, process: ProcessMap) -> None:
        super().__init__()
        self._book = book
        self._of_orders = {handoff.name for handoff in process.handoff if handoff.case == "order_id"}
        self._of_orders |= {rule.name for rule in process.forbidden if rule.case == "order_id"}
        self._of_orders |= {rule.name for rule in process.exception if rule.case == "order_id"}

    def found(self, signal: Signal, out: Collected) -> None:
        """As `EventDetector`."""
        if signal.found_at_us != signal.arrival_us:
            return
        if signal.closed_at_us is not None and signal.closed_at_us != signal.opened_at_us:
            return
        name = signal.handoff or signal.kind
        metric = f"{signal.kind}:{signal.handoff}" if signal.handoff else signal.kind
        impact: Impact | None = None  # an event that names no case is counted, and touches none
        if signal.case_id:
            is_order = name in self._of_orders or self._book.get(signal.case_id) is not None
            impact = self._book.impact(signal.case_id) if is_order else Impact(order_id="", case_id=signal.case_id)
        scope: Scoped = tuple(sorted(signal.scope.items()))
        shown = signal.evidence[-1] if signal.evidence else signal.signal_id
        out.bad(metric, scope, signal.arrival_us, signal.opened_at_us, shown, impact=impact)
