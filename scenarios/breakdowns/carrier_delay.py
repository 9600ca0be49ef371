"""A carrier's line haul slows down."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.carriers import CARRIERS, LineHaul, Parcel
from scenarios.retailer import Retailer
from schemas.durations import HOUR_US, MINUTE_US, Duration


class CarrierDelayParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which carrier, how long its deliveries are held up (half to one and a half times `delay`).

    `told` is the share of them that the carrier reports as an exception.
    """

    carrier: str = "courier-1"
    delay: Duration = Duration(3 * HOUR_US)
    told: float = 0.2


class CarrierDelay(Breakdown):
    """What it would have delivered meanwhile comes hours later.

    Touched are orders whose delivery comes after the carrier's own expectation, as far as the log can show it, and
    those with an exception.
    """

    kind: ClassVar[str] = "carrier_delay"
    begins: ClassVar[Duration] = at(11)
    ends: ClassVar[Duration] = at(17)
    Parameters = CarrierDelayParameters
    parameters: CarrierDelayParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse a carrier that there is not, and amounts that make no sense."""
        if self.parameters.carrier not in CARRIERS:
            return f"carrier must be one of {', '.join(CARRIERS)}"
        if self.parameters.delay < MINUTE_US:
            return "delay must be at least 1m"
        return "" if 0 <= self.parameters.told <= 1 else "told must be between 0 and 1"

    def claims(self, retailer: Retailer) -> str:  # noqa: ARG002 - a carrier says it all
        """The carrier's part of it."""
        return f"{self.kind} of {self.parameters.carrier}"

    def install(self, retailer: Retailer) -> None:
        """Slow the line haul down."""
        self._agenda = retailer.world.agenda
        self._random = retailer.world.random(self.breakdown_id)
        self._log_ends = int(retailer.world.settings.end)
        haul = LineHaul(self.parameters.carrier, self.begin_us, self.end_us, self._hold)
        retailer.carriers.line_hauls.append(haul)

    def scope(self) -> Scope:
        """The carrier."""
        return {"carrier": self.parameters.carrier}

    def _hold(self, parcel: Parcel) -> tuple[int, bool]:
        delay = int(self.parameters.delay * self._random.uniform(0.5, 1.5))
        told = self._random.random() < self.parameters.told
        delivered = self._agenda.now + delay
        self.effects["parcels_held_up"] += 1
        if parcel.job is not None:
            order, lines = parcel.job.order, parcel.job.picked
            if parcel.expected < min(delivered, self._log_ends):
                self.touch(order, lines, "deliveries_late", delivered)
            if told:
                self.touch(order, lines, "exceptions", self._agenda.now)
        return delay, told
