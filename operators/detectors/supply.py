"""Suppliers: deliveries that come late or unannounced, and documents that don't agree.

A purchase order is judged when it is due, and when both its receipt and its invoice are there. A few orders of a
supplier have to be enough, so what counts is the share that goes wrong against what is usual there.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from operators.detectors.case_memory import CaseDetector
from operators.detectors.events import Collected, Handler
from operators.detectors.few import FewWatch
from operators.detectors.order_facts import amount
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, Seen, Words
from operators.detectors.records import Impact, scoped
from operators.detectors.scopes import ScopeDetector
from operators.findings import next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration, to_us
from schemas.events import (
    Arrived,
    AsnReceived,
    EventBase,
    GoodsReceived,
    PoCreated,
    SupplierInvoiceReceived,
    SupplyLine,
)
from schemas.rows import Signal


class SupplySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds for suppliers.

    An order is late when nothing was received `late_after` after it was expected; documents disagree when quantities or
    the amount differ by more than `tolerance` (a share), `match_grace` after the last of receipt and invoice came.
    """

    late: RateRule = RateRule(
        window=Duration(3 * DAY_US),
        least=3,
        share=0.4,
        times=3,
        score=3.2,
        usual=0.08,
        quiet=Duration(DAY_US),
        memory=Duration(30 * DAY_US),
    )
    unannounced: RateRule = RateRule(
        window=Duration(3 * DAY_US),
        least=3,
        share=0.5,
        times=3,
        score=3.5,
        usual=0.05,
        quiet=Duration(DAY_US),
        memory=Duration(30 * DAY_US),
    )
    mismatch: RateRule = RateRule(
        window=Duration(3 * DAY_US),
        least=3,
        share=0.3,
        times=4,
        score=3.0,
        usual=0.03,
        quiet=Duration(DAY_US),
        memory=Duration(30 * DAY_US),
    )
    late_after: Duration = Duration(2 * HOUR_US)
    match_grace: Duration = Duration(15 * MINUTE_US)
    tolerance: float = 0.02
    retention: Duration = Duration(60 * DAY_US)


class _Po(msgspec.Struct, array_like=True):
    """A purchase order: by item what was ordered, received and invoiced; what is not known is None.

    `costs` are by item, as announced or received: of what was ordered before the log began. `told` are the receipts and
    invoices that were counted, as far as they name their document.
    """

    supplier: str = ""
    currency: str = ""
    expected_us: int | None = None
    ordered: dict[str, tuple[float, float | None]] = {}
    received: dict[str, float] = {}
    invoiced: dict[str, float] = {}
    received_qty: float | None = None
    invoiced_qty: float | None = None
    invoiced_amount: float | None = None
    announced: bool = False
    asn_judged: bool = False
    due_judged: bool = False
    matched: bool = False
    receipt_id: str = ""
    invoice_id: str = ""
    po_event: str = ""
    last_us: int = 0
    received_us: int = 0
    costs: dict[str, float] = {}
    told: dict[str, None] = {}


class Supply(CaseDetector[_Po]):
    """Follows each purchase order from its creation to its invoice.

    What is ordered says no currency: it is the invoice's, before there is one that of `currency`. An order that is told
    of again is not ordered again; another event may add items. Nor is an invoice told of again invoiced again: it has
    the id of a document that said the same before; a receipt also its event time, since a delivery note names what is
    received in parts.

    Memory: some 500 bytes for an order of a few lines and 30 a document, dropped `retention` after its last event.
    """

    NAME = "supply"
    VERSION = 2
    CASES = "purchase_orders"

    def __init__(self, settings: SupplySettings, currency: str = "") -> None:
        super().__init__(_Po, settings.retention)
        self._settings, self._currency = settings, currency

    def handlers(self) -> Mapping[type[EventBase], Handler]:
        """As `EventDetector`."""
        return {
            PoCreated: self._created,
            AsnReceived: self._announced,
            GoodsReceived: self._received,
            SupplierInvoiceReceived: self._invoiced,
        }

    def _of(self, po_id: str, supplier: str | None, now_us: int) -> _Po:
        po = self._cases.heard(po_id, now_us)
        po.supplier = po.supplier or supplier or ""
        return po

    def _created(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, PoCreated)
        po = self._of(event.po_id, event.supplier, arrived.arrival_us)
        po.po_event = po.po_event or event.event_id
        lines: dict[str, tuple[float, float | None]] = {}
        for line in event.lines or ():
            qty, _ = lines.get(line.sku, (0.0, None))
            lines[line.sku] = qty + line.qty, amount(line.unit_cost)
        po.ordered = lines | po.ordered
        if event.expected_at is not None and po.expected_us is None:
            po.expected_us = to_us(event.expected_at)
            self.set_timer(max(arrived.arrival_us, po.expected_us + self._settings.late_after), f"due {event.po_id}")

    def _announced(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, AsnReceived)
        po = self._of(event.po_id, event.supplier, arrived.arrival_us)
        po.announced = True
        _price(po.costs, event.lines)

    def _received(self, arrived: Arrived, out: Collected) -> None:
        event = arrived.event
        assert isinstance(event, GoodsReceived)
        po = self._of(event.po_id, event.supplier, arrived.arrival_us)
        if not _is_new(po, event, arrived.occurred_us):
            return
        _add(po.received, event.lines)
        _price(po.costs, event.lines)
        qty = event.qty if event.qty is not None else _total(event.lines)
        if qty is not None:
            po.received_qty = (po.received_qty or 0.0) + qty
        po.receipt_id = event.event_id
        po.received_us = po.received_us or arrived.occurred_us
        if po.po_event and po.supplier and not po.asn_judged:
            po.asn_judged = True
            scope = scoped(supplier=po.supplier)
            if po.announced:
                out.good("po_unannounced", scope, arrived.arrival_us)
            else:
                impact = self._impact(event.po_id, po)
                out.bad("po_unannounced", scope, arrived.arrival_us, arrived.occurred_us, event.event_id, impact=impact)
        self._match_later(event.po_id, po, arrived.arrival_us)

    def _judge_due(self, po_id: str, po: _Po, due_us: int, out: Collected) -> None:
        """Early ones are judged when they are due, too: with those that were due at the same time."""
        assert po.expected_us is not None
        scope = scoped(supplier=po.supplier)
        if po.received_us and po.received_us <= po.expected_us + self._settings.late_after:
            out.good("po_late", scope, due_us)
        else:
            out.bad("po_late", scope, due_us, po.expected_us, po.po_event, impact=self._impact(po_id, po))

    def _invoiced(self, arrived: Arrived, out: Collected) -> None:
        del out
        event = arrived.event
        assert isinstance(event, SupplierInvoiceReceived)
        po = self._of(event.po_id, event.supplier, arrived.arrival_us)
        if not _is_new(po, event):
            return
        _add(po.invoiced, event.lines)
        qty = event.qty if event.qty is not None else _total(event.lines)
        if qty is not None:
            po.invoiced_qty = (po.invoiced_qty or 0.0) + qty
        if event.amount is not None:
            po.invoiced_amount = (po.invoiced_amount or 0.0) + float(event.amount)
        po.currency = event.currency or po.currency
        po.invoice_id = event.event_id
        self._match_later(event.po_id, po, arrived.arrival_us)

    def _match_later(self, po_id: str, po: _Po, now_us: int) -> None:
        if po.receipt_id and po.invoice_id and not po.matched:
            self.set_timer(now_us + self._settings.match_grace, f"match {po_id}")

    def due(self, key: str, due_us: int, out: Collected) -> None:
        """As `EventDetector`: an order is due, its documents can be matched, or it can be forgotten."""
        if self._cases.due(key, due_us):
            return
        what, _, po_id = key.partition(" ")
        po = self._cases.get(po_id)
        if po is None:
            return
        if what == "due" and not po.due_judged and po.supplier:
            po.due_judged = True
            self._judge_due(po_id, po, due_us, out)
        elif what == "match" and not po.matched and po.last_us + self._settings.match_grace <= due_us:
            po.matched = True
            self._match(po_id, po, due_us, out)

    def _match(self, po_id: str, po: _Po, due_us: int, out: Collected) -> None:
        """Three-way: what was ordered, received and invoiced."""
        wrong = self._differences(po)
        if not po.supplier or wrong is None:
            return
        scope = scoped(supplier=po.supplier)
        if not wrong:
            out.good("po_mismatch", scope, due_us)
            return
        out.signal(self._mismatch(po_id, po, wrong, due_us))
        out.bad("po_mismatch", scope, due_us, due_us, po.invoice_id, impact=self._impact(po_id, po))

    def _differences(self, po: _Po) -> list[str] | None:
        """What does not agree, in words; None where there is nothing to compare."""
        found = [self._billed(po), self._delivered(po), self._charged(po)]
        compared = [wrong for wrong in found if wrong is not None]
        return [one for wrong in compared for one in wrong] if compared else None

    def _billed(self, po: _Po) -> list[str] | None:
        """Invoiced against received."""
        if po.received and po.invoiced:
            pairs = [
                (f"{sku}: ", po.received.get(sku, 0.0), po.invoiced.get(sku, 0.0))
                for sku in sorted(po.received.keys() | po.invoiced.keys())
            ]
        elif po.received_qty is not None and po.invoiced_qty is not None:
            pairs = [("", po.received_qty, po.invoiced_qty)]
        else:
            return None
        return [
            f"{what}{got:g} received, {billed:g} invoiced" for what, got, billed in pairs if self._differs(got, billed)
        ]

    def _delivered(self, po: _Po) -> list[str] | None:
        """Received against ordered: more than was ordered (less may be a delivery in parts)."""
        if not po.ordered or not po.received:
            return None
        pairs = [(sku, po.ordered.get(sku, (0.0, None))[0], got) for sku, got in sorted(po.received.items())]
        return [
            f"{sku}: {ordered:g} ordered, {got:g} received"
            for sku, ordered, got in pairs
            if got > ordered and self._differs(got, ordered)
        ]

    def _charged(self, po: _Po) -> list[str] | None:
        """The amount against what was received, at the cost that was ordered (else: announced, received)."""
        wanted = self._worth(po)
        if wanted is None or po.invoiced_amount is None:
            return None
        if not self._differs(wanted, po.invoiced_amount):
            return []
        agreed = "ordered" if po.ordered else "announced" if po.announced else "priced"
        return [f"worth {wanted:.2f} as {agreed} and received, invoiced {po.invoiced_amount:.2f}"]

    def _worth(self, po: _Po) -> float | None:
        """What was received (else: ordered) at its cost; None where one is not known."""
        quantities = po.received or {sku: qty for sku, (qty, _) in po.ordered.items()}
        worth = 0.0
        for sku, qty in quantities.items():
            cost = _cost(po, sku)
            if cost is None:
                return None
            worth += qty * cost
        return worth if quantities else None

    def _differs(self, one: float, other: float) -> bool:
        return abs(one - other) > self._settings.tolerance * max(abs(one), abs(other)) + 1e-9

    def _impact(self, po_id: str, po: _Po) -> Impact:
        quantities = {sku: qty for sku, (qty, _) in po.ordered.items()} or po.received
        value = sum(qty * (_cost(po, sku) or 0.0) for sku, qty in quantities.items())
        units = sum(quantities.values())
        return Impact(
            order_id="", case_id=po_id, units=units, value=round(value, 2), currency=po.currency or self._currency
        )

    def _mismatch(self, po_id: str, po: _Po, wrong: list[str], due_us: int) -> Signal:
        said = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        return Signal(
            signal_id=signal_id(self.NAME, "three_way_mismatch", po_id),
            detector=self.NAME,
            kind="three_way_mismatch",
            handoff="supplier_invoice",
            scope={"supplier": po.supplier},
            case_id=po_id,
            opened_at_us=due_us,
            found_at_us=due_us,
            closed_at_us=None,
            severity="medium",
            score=0.5,
            confidence=1.0,
            expected="order, receipt and invoice agree",
            observed=said,
            method="rule",
            explanation=f"Purchase order {po_id} of {po.supplier}: {said}.",
            evidence=[event_id for event_id in (po.po_event, po.receipt_id, po.invoice_id) if event_id],
            arrival_us=due_us,
            version=next_version(0, due_us),
        )


def _add(quantities: dict[str, float], lines: Iterable[SupplyLine] | None) -> None:
    for line in lines or ():
        quantities[line.sku] = quantities.get(line.sku, 0.0) + line.qty


def _is_new(po: _Po, event: GoodsReceived | SupplierInvoiceReceived, occurred_us: int = 0) -> bool:
    """Whether a document was not counted yet; one that has no id always is."""
    if event.document_id is None:
        return True
    lines = [(line.sku, line.qty) for line in event.lines or ()]
    said = type(event).__name__, event.document_id, occurred_us, event.qty, event.amount, lines
    name = blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    if name in po.told:
        return False
    po.told[name] = None
    return True


def _price(costs: dict[str, float], lines: Iterable[SupplyLine] | None) -> None:
    for line in lines or ():
        cost = amount(line.unit_cost)
        if cost is not None:
            costs.setdefault(line.sku, cost)


def _cost(po: _Po, sku: str) -> float | None:
    """What one is to cost: as ordered, else as announced or received."""
    ordered = po.ordered.get(sku, (0.0, None))[1]
    return ordered if ordered is not None else po.costs.get(sku)


def _total(lines: list[SupplyLine] | None) -> float | None:
    return sum(line.qty for line in lines) if lines else None


def _words(what: str) -> Words:
    def words(seen: Seen) -> tuple[str, str, str]:
        said = f"{seen.where}: {seen.bad:g} of {seen.total:g} purchase orders {what}, where {seen.usual:.0%} is usual"
        return f"about {seen.usual:.0%}", f"{seen.share:.0%}", f"{said}{'; over now' if seen.closed else ''}."

    return words


def supply_judges(
    late: Policy[RateRule], unannounced: Policy[RateRule], mismatch: Policy[RateRule]
) -> list[ScopeDetector]:
    """The second parts."""
    return [
        FewWatch("supplier_late", "supplier_delay", "po_late", late, _words("late"), handoff="supplier_delivery"),
        FewWatch(
            "supplier_unannounced",
            "supplier_delay",
            "po_unannounced",
            unannounced,
            _words("delivered without announcement"),
            handoff="supply_asn",
            severity="medium",
        ),
        FewWatch(
            "supply_mismatch",
            "supply_mismatch",
            "po_mismatch",
            mismatch,
            _words("whose order, receipt and invoice don't agree"),
            handoff="supplier_invoice",
        ),
    ]
