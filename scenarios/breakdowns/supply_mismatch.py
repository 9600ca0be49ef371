"""A supplier delivers less than was ordered, or bills more than was agreed."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Scope, at
from scenarios.breakdowns.case_breakdown import CaseBreakdown
from scenarios.breakdowns.supplier import busiest_supplier, supplier_problem
from scenarios.retailer import Retailer
from scenarios.supply import PurchaseOrder
from schemas.durations import Duration


class SupplyMismatchParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which supplier (by default the one with most to deliver), and how it goes wrong.

    Of the deliveries meanwhile, `short` come with `missing` of each line's units not there, though all of it is
    billed; the others are billed at `markup` times the agreed cost.
    """

    supplier: str = ""
    short: float = 0.5
    missing: float = 0.25
    markup: float = 1.12


class SupplyMismatch(CaseBreakdown):
    """Order, receipt and invoice of a purchase order don't agree. It is touched when its invoice comes."""

    kind: ClassVar[str] = "supply_mismatch"
    begins: ClassVar[Duration] = at(7)
    ends: ClassVar[Duration] = at(16)
    Parameters = SupplyMismatchParameters
    parameters: SupplyMismatchParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse a supplier that there is not, or figures that make nothing wrong."""
        if not 0 <= self.parameters.short <= 1:
            return "short must be between 0 and 1"
        if not 0.01 <= self.parameters.missing <= 1:
            return "missing must be between 0.01 and 1"
        if not 1.005 <= self.parameters.markup <= 10:
            return "markup must be between 1.005 and 10"
        return supplier_problem(retailer, self.parameters.supplier)

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - the busiest is not known yet
        """The supplier's part of it, where it was named."""
        return f"{self.kind} of {self.parameters.supplier or 'the busiest supplier'}"

    def install(self, retailer: Retailer) -> None:
        """Choose the supplier when it begins; change what it delivers and bills."""
        self._supply, self._agenda = retailer.supply, retailer.world.agenda
        self._random = retailer.world.random(self.breakdown_id)
        self._supplier = self.parameters.supplier
        self._wrong: set[str] = set()
        self._agenda.at(self.begin_us, self._begin)
        retailer.supply.wrong.append(self._go_wrong)
        retailer.supply.watchers.append(self._sent)

    def scope(self) -> Scope:
        """The supplier."""
        return {"supplier": self._supplier}

    def _begin(self) -> None:
        self._supplier = self._supplier or busiest_supplier(self._supply, self.begin_us, self.end_us, promised=False)

    def _go_wrong(self, po: PurchaseOrder) -> None:
        if po.supplier != self._supplier or not self.begin_us <= self._agenda.now < self.end_us:
            return
        if self._random.random() < self.parameters.short:
            po.received = [(sku, qty - max(1, round(qty * self.parameters.missing))) for sku, qty in po.lines]
            self.effects["deliveries_short"] += 1
        else:
            po.markup = self.parameters.markup
            self.effects["deliveries_overcharged"] += 1
        self._wrong.add(po.po_id)

    def _sent(self, kind: str, po: PurchaseOrder) -> None:
        if kind == "supplier_invoice.received" and po.po_id in self._wrong:
            self.touch_case(po.po_id, self._supply.value(po.lines), "invoices_wrong", self._agenda.now)
