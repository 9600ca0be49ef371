"""A supplier's lead time gets longer, and some of its announcements are missing."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Scope, at
from scenarios.breakdowns.case_breakdown import CaseBreakdown
from scenarios.breakdowns.supplier import busiest_supplier, supplier_problem
from scenarios.retailer import Retailer
from scenarios.supply import PurchaseOrder
from schemas.durations import HOUR_US, Duration


class SupplierDelayParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which supplier (by default the one with most to deliver), by how much it is late, and what it doesn't announce.

    A delivery comes `delay` later, give or take a third; `asn_missing` is the share that is not announced.
    """

    supplier: str = ""
    delay: Duration = Duration(18 * HOUR_US)
    asn_missing: float = 0.5


class SupplierDelay(CaseBreakdown):
    """What the supplier should deliver meanwhile comes long after it was expected.

    A purchase order is touched when its goods were not there when its supplier had said. Of one that was
    ordered before the log nobody in it knows that: it comes late, too, but is not named.
    """

    kind: ClassVar[str] = "supplier_delay"
    begins: ClassVar[Duration] = at(5)
    ends: ClassVar[Duration] = at(20)
    Parameters = SupplierDelayParameters
    parameters: SupplierDelayParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse a supplier that there is not."""
        if not 0 <= self.parameters.asn_missing <= 1:
            return "asn_missing must be between 0 and 1"
        return supplier_problem(retailer, self.parameters.supplier)

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - the busiest is not known yet
        """The supplier's part of it, where it was named."""
        return f"{self.kind} of {self.parameters.supplier or 'the busiest supplier'}"

    def install(self, retailer: Retailer) -> None:
        """Choose the supplier when it begins, and hold its deliveries back."""
        self._supply, self._agenda = retailer.supply, retailer.world.agenda
        self._random = retailer.world.random(self.breakdown_id)
        self._supplier = self.parameters.supplier
        self._agenda.at(self.begin_us, self._begin)
        retailer.supply.late.append(self._late)
        retailer.supply.silent.append(self._silent)

    def scope(self) -> Scope:
        """The supplier."""
        return {"supplier": self._supplier}

    def _begin(self) -> None:
        self._supplier = self._supplier or busiest_supplier(self._supply, self.begin_us, self.end_us, promised=True)

    def _ours(self, po: PurchaseOrder) -> bool:
        return po.supplier == self._supplier and self.begin_us <= self._agenda.now < self.end_us

    def _late(self, po: PurchaseOrder) -> int:
        if not self._ours(po):
            return 0
        comes = self._agenda.now + int(self.parameters.delay * self._random.uniform(2 / 3, 4 / 3))
        if po.expected and comes > po.expected:
            self._agenda.at(po.expected, self._missed, po, comes)
        return comes - self._agenda.now

    def _missed(self, po: PurchaseOrder, comes: int) -> None:
        self.touch_case(po.po_id, self._supply.value(po.lines), "deliveries_late", comes)

    def _silent(self, po: PurchaseOrder) -> bool:
        if not self._ours(po) or self._random.random() >= self.parameters.asn_missing:
            return False
        self.effects["asns_missing"] += 1
        return True
