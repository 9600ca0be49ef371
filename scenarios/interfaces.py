"""Interfaces between the systems: calls that succeed, fail and are tried again, and faults that make them fail."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from scenarios.journal import Fields
from scenarios.world import World
from schemas.durations import MINUTE_US

if TYPE_CHECKING:
    from scenarios.orders import Line, Order

#: What a call over an interface is about.
CARRIES = {
    "payment-gateway": "order.created",
    "marketplace-import": "order.created",
    "oms-wms": "order.allocated",
}
_FAILS = 0.003
#: What waited for a fault to be mended is sent off over this time.
_CATCH_UP_US = 3 * MINUTE_US


class Held(NamedTuple):
    """A call that did not go through at once: until when what it carries waits.

    `broken` turns a message into the form it was refused in, when its form was the reason.
    """

    until_us: int
    broken: Callable[[Fields], Fields] | None


class Fault:
    """A span in which `share` of the calls over `interface` fail with `status`.

    The caller tries again after each of `waits_us`. When they are used up it waits the last of them again and again
    (`patient`), or sets the case aside until the fault is mended. `for_good` means that the same case fails each time:
    the reason is in the case, not in the moment. `touch` is told of each order whose call failed, and until when.
    """

    def __init__(
        self,
        interface: str,
        begin_us: int,
        end_us: int,
        *,
        status: str,
        http_status: int,
        latency_ms: tuple[float, float],
        share: float,
        waits_us: tuple[int, ...],
        patient: bool,
        for_good: bool,
        broken: Callable[[Fields], Fields] | None,
        touch: Callable[["Order", list["Line"], str, int], None],
    ) -> None:
        self.interface = interface
        self.begin_us, self.end_us = begin_us, end_us
        self.status = status
        self.http_status = http_status
        self.latency_ms = latency_ms
        self.share = share
        self.waits_us = waits_us
        self.patient = patient
        self.for_good = for_good
        self.broken = broken
        self.touch = touch


class Interfaces:
    """Calls between the systems, each told of by the middleware as `call.completed`.

    Now and then a call fails in transport and is repeated at once; that costs nothing but the message. What a fault
    refuses waits for the call that goes through.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random("interfaces")
        self.faults: list[Fault] = []

    def call(self, interface: str, order: "Order", lines: list["Line"]) -> Held | None:
        """Make one call about lines of an order; nothing is returned when it goes through at once."""
        for fault in self.faults:
            if fault.interface == interface and fault.begin_us <= self._world.agenda.now < fault.end_us:
                return self._try(fault, order, lines)
        self._succeed(interface, order.order_id)
        return None

    def _try(self, fault: Fault, order: "Order", lines: list["Line"]) -> Held | None:
        """Work out all attempts of one call, and book those that are still to come."""
        random, agenda, at = self._random, self._world.agenda, self._world.agenda.now
        attempt = 0
        while at < fault.end_us and (random.random() < fault.share or (attempt and fault.for_good)):
            agenda.at(at, self._fail, fault, order.order_id)
            if attempt >= len(fault.waits_us) and not fault.patient:
                at = fault.end_us + int(random.random() * _CATCH_UP_US)
                break
            at += int(fault.waits_us[min(attempt, len(fault.waits_us) - 1)] * random.uniform(0.8, 1.2))
            attempt += 1
        agenda.at(at, self._succeed, fault.interface, order.order_id)
        if at == agenda.now:
            return None
        fault.touch(order, lines, "calls_failed", at)
        return Held(at, fault.broken)

    def _fail(self, fault: Fault, case: str) -> None:
        latency = self._random.uniform(*fault.latency_ms)
        self._tell(fault.interface, fault.status, fault.http_status, latency, case)

    def _succeed(self, interface: str, case: str) -> None:
        random = self._random
        while random.random() < _FAILS:
            self._tell(interface, "transport_error", 503, random.lognormvariate(4.6, 0.5), case)
        self._tell(interface, "ok", 200, random.lognormvariate(4.6, 0.5), case)

    def _tell(self, interface: str, status: str, http_status: int, latency_ms: float, case: str) -> None:
        fields = {
            "interface": interface,
            "status": status,
            "http_status": http_status,
            "latency_ms": round(latency_ms, 1),
            "case_id": case,
        }
        self._world.send(self._world.middleware, "call.completed", fields)
