"""Clocks that are put forward or back, or are a little off."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import at
from scenarios.hazards.hazard import Hazard
from scenarios.journal import Source
from scenarios.retailer import Retailer
from schemas.durations import HOUR_US, SECOND_US, Duration


class DaylightSavingParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether the clocks go forward (spring) or back (autumn)."""

    forward: bool = True


class DaylightSaving(Hazard):
    """From its begin (01:00 UTC in Europe) doors, shifts and customers are an hour earlier, or later, in UTC."""

    kind: ClassVar[str] = "daylight_saving"
    begins: ClassVar[Duration] = at(1)
    ends: ClassVar[Duration] = at(24)
    Parameters = DaylightSavingParameters
    parameters: DaylightSavingParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Nothing can be wrong with it."""
        return ""

    def install(self, retailer: Retailer) -> None:
        """Put the clocks forward or back; they stay so."""
        retailer.world.local.change(self.begin_us, HOUR_US if self.parameters.forward else -HOUR_US)


class ClockOffParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose clock, and by how much it is ahead (`behind`: it is late by as much)."""

    source: str = "oms-1"
    off: Duration = Duration(90 * SECOND_US)
    behind: bool = False


class ClockOff(Hazard):
    """One system's clock is off by a minute and a half: what it sends says so in `occurred_at`, and comes in time."""

    kind: ClassVar[str] = "clock_off"
    begins: ClassVar[Duration] = at(0)
    ends: ClassVar[Duration] = at(24)
    Parameters = ClockOffParameters
    parameters: ClockOffParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse a source that there is not, or an error that is worth an alarm."""
        sources = retailer.world.sources
        if self.parameters.source not in sources:
            return f"source must be one of {', '.join(sorted(sources))}"
        return "" if self.parameters.off <= 120 * SECOND_US else "off must be at most 120s"

    def install(self, retailer: Retailer) -> None:
        """Set the clock wrong, then right."""
        agenda, source = retailer.world.agenda, retailer.world.sources[self.parameters.source]
        off = -self.parameters.off if self.parameters.behind else self.parameters.off
        agenda.at(self.begin_us, self._set, source, off)
        agenda.at(self.end_us, self._set, source, -off)

    def _set(self, source: Source, by_us: int) -> None:
        source.skew_us += by_us
