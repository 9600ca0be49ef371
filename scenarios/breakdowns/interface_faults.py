"""Four things that can be wrong with one interface: the network, what lies behind it, its form, its rules."""

from abc import abstractmethod
from typing import ClassVar, Literal

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.interfaces import CARRIES, Fault
from scenarios.journal import Fields
from scenarios.retailer import Retailer
from schemas.durations import MINUTE_US, SECOND_US, Duration


class InterfaceFaultParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which interface, and which share of its calls (or of its cases) fails; each kind has a usual share."""

    interface: str = "payment-gateway"
    share: float | None = None


class InterfaceFault(Breakdown):
    """Calls fail, are told of as such and tried again; what they carry waits for the one that goes through.

    An order is touched when a call about it failed because of this.
    """

    Parameters: ClassVar[type[msgspec.Struct]] = InterfaceFaultParameters
    parameters: InterfaceFaultParameters
    share: ClassVar[float]

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse an interface that there is not, or a share that is none."""
        if self.parameters.interface not in CARRIES:
            return f"interface must be one of {', '.join(CARRIES)}"
        return "" if 0 < self._share() <= 1 else "share must be above 0 and at most 1"

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - an interface says it all
        """The interface: one thing is wrong with it at a time."""
        return f"a fault of {self.parameters.interface}"

    def install(self, retailer: Retailer) -> None:
        """Let calls fail."""
        retailer.oms.interfaces.faults.append(self._fault())

    def scope(self) -> Scope:
        """The interface."""
        return {"interface": self.parameters.interface}

    @abstractmethod
    def _fault(self) -> Fault:
        """How calls fail."""

    def _share(self) -> float:
        return self.share if self.parameters.share is None else self.parameters.share


class DownstreamOutage(InterfaceFault):
    """What lies behind the interface is down: every call fails until it is up again (some, with a lower `share`)."""

    kind: ClassVar[str] = "downstream_outage"
    begins: ClassVar[Duration] = at(10)
    ends: ClassVar[Duration] = at(11)
    share: ClassVar[float] = 1.0

    def _fault(self) -> Fault:
        return Fault(
            self.parameters.interface,
            self.begin_us,
            self.end_us,
            status="downstream_error",
            http_status=502,
            latency_ms=(4_000, 20_000),
            share=self._share(),
            waits_us=(10 * SECOND_US, 30 * SECOND_US, 2 * MINUTE_US, 5 * MINUTE_US),
            patient=True,
            for_good=False,
            broken=None,
            touch=self.touch,
        )


class TransportFault(InterfaceFault):
    """The network loses calls, whichever they are; the next attempt may go through."""

    kind: ClassVar[str] = "transport_fault"
    begins: ClassVar[Duration] = at(12)
    ends: ClassVar[Duration] = at(13)
    share: ClassVar[float] = 0.4

    def _fault(self) -> Fault:
        return Fault(
            self.parameters.interface,
            self.begin_us,
            self.end_us,
            status="transport_error",
            http_status=503,
            latency_ms=(10_000, 30_000),
            share=self._share(),
            waits_us=(5 * SECOND_US, 15 * SECOND_US, 60 * SECOND_US),
            patient=True,
            for_good=False,
            broken=None,
            touch=self.touch,
        )


class RuleFailure(InterfaceFault):
    """A business rule that was set wrong refuses some cases, as often as they are tried."""

    kind: ClassVar[str] = "rule_failure"
    begins: ClassVar[Duration] = at(14)
    ends: ClassVar[Duration] = at(16)
    share: ClassVar[float] = 0.5

    def _fault(self) -> Fault:
        return Fault(
            self.parameters.interface,
            self.begin_us,
            self.end_us,
            status="rule_error",
            http_status=422,
            latency_ms=(40, 160),
            share=self._share(),
            waits_us=(15 * MINUTE_US,),
            patient=True,
            for_good=True,
            broken=None,
            touch=self.touch,
        )


class SchemaChangeParameters(InterfaceFaultParameters, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As for every fault, and how the new form is wrong: a needed field is renamed, or there is text for a number."""

    form: Literal["renamed", "text"] = "renamed"


class SchemaChange(InterfaceFault):
    """A sender has a new release: some of its messages have a form that neither the other side nor the contract knows.

    They are sent, and refused; sent again a few times, set aside, and sent in the right form when it is mended.
    """

    kind: ClassVar[str] = "schema_change"
    begins: ClassVar[Duration] = at(16.5)
    ends: ClassVar[Duration] = at(18)
    share: ClassVar[float] = 0.6
    Parameters: ClassVar[type[msgspec.Struct]] = SchemaChangeParameters
    parameters: SchemaChangeParameters

    def install(self, retailer: Retailer) -> None:
        """Let messages go wrong, and calls fail for it."""
        super().install(retailer)
        world = retailer.world
        senders = {"payment-gateway": world.shop, "marketplace-import": world.marketplace, "oms-wms": world.oms}
        self._source = senders[self.parameters.interface].name

    def scope(self) -> Scope:
        """The interface, and the system whose messages broke."""
        return {"interface": self.parameters.interface, "source": self._source}

    def _fault(self) -> Fault:
        return Fault(
            self.parameters.interface,
            self.begin_us,
            self.end_us,
            status="schema_error",
            http_status=400,
            latency_ms=(5, 40),
            share=self._share(),
            waits_us=(10 * SECOND_US, 60 * SECOND_US),
            patient=False,
            for_good=True,
            broken=self._break,
            touch=self.touch,
        )

    def _break(self, fields: Fields) -> Fields:
        """The message in its new form: one that the contract refuses."""
        self.effects["messages_broken"] += 1
        if self.parameters.form == "renamed":
            rest = {name: value for name, value in fields.items() if name != "order_id"}
            return {**rest, "orderId": fields["order_id"]}
        if "lines" in fields:
            return {**fields, "lines": [{**line, "qty": str(line["qty"])} for line in fields["lines"]]}
        return {**fields, "node": {"id": fields["node"]}}
