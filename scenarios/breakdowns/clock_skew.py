"""A system's clock is wrong."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.retailer import Retailer
from schemas.durations import MINUTE_US, SECOND_US, Duration


class ClockSkewParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose clock (the first centre's warehouse system by default), by how much; behind unless `ahead`."""

    source: str = ""
    skew: Duration = Duration(20 * MINUTE_US)
    ahead: bool = False


class ClockSkew(Breakdown):
    """Everything the system tells carries a wrong `occurred_at`; what happens, and when it arrives, is as ever."""

    kind: ClassVar[str] = "clock_skew"
    begins: ClassVar[Duration] = at(10)
    ends: ClassVar[Duration] = at(16)
    Parameters = ClockSkewParameters
    parameters: ClockSkewParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse a system that there is not, and no skew at all."""
        if self.parameters.skew < SECOND_US:
            return "skew must be at least 1s"
        names = sorted(retailer.world.sources)
        return "" if self.parameters.source in ("", *names) else f"source must be one of {', '.join(names)}"

    def claims(self, retailer: Retailer) -> str:
        """The system's clock: several can be wrong at once."""
        return f"{self.kind} of {self._chosen(retailer)}"

    def install(self, retailer: Retailer) -> None:
        """Book when the clock is set wrong, and when it is set right."""
        self._source = retailer.world.sources[self._chosen(retailer)]
        self._sent = 0
        skew = self.parameters.skew if self.parameters.ahead else -self.parameters.skew
        retailer.world.agenda.at(self.begin_us, self._turn, skew)
        retailer.world.agenda.at(self.end_us - 1, self._turn, -skew)

    def scope(self) -> Scope:
        """The system."""
        return {"source": self._source.name}

    def _turn(self, by_us: int) -> None:
        self._source.skew_us += by_us
        self.effects["events_with_wrong_time"] = self._source.sent - self._sent
        self._sent = self._source.sent

    def _chosen(self, retailer: Retailer) -> str:
        world = retailer.world
        return self.parameters.source or world.wms(world.network.centres[0]).name
