"""What happens to messages on their way, without any being lost."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import at
from scenarios.hazards.hazard import Hazard
from scenarios.journal import Journal
from scenarios.retailer import Retailer
from schemas.durations import HOUR_US, SECOND_US, Duration


class DuplicateBurstParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The share of the messages that come twice, under the same event id."""

    share: float = 0.2


class DuplicateBurst(Hazard):
    """Something sends again what it has sent already, for ten minutes."""

    kind: ClassVar[str] = "duplicate_burst"
    begins: ClassVar[Duration] = at(12)
    ends: ClassVar[Duration] = at(12 + 1 / 6)
    Parameters = DuplicateBurstParameters
    parameters: DuplicateBurstParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse what is no share."""
        return "" if 0 < self.parameters.share <= 0.99 else "share must be above 0 and at most 0.99"

    def install(self, retailer: Retailer) -> None:
        """Raise the share of duplicates, then bring it back."""
        journal, usual = retailer.world.journal, retailer.world.journal.duplicates
        retailer.world.agenda.at(self.begin_us, self._set, journal, self.parameters.share)
        retailer.world.agenda.at(self.end_us, self._set, journal, usual)

    def _set(self, journal: Journal, share: float) -> None:
        journal.duplicates = share


class ConsumerOutageParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long the catching up takes."""

    catch_up: Duration = Duration(60 * SECOND_US)


class ConsumerOutage(Hazard):
    """Nothing of any topic is taken in for ten minutes; then all of it comes in a burst, in its order."""

    kind: ClassVar[str] = "consumer_outage"
    begins: ClassVar[Duration] = at(15)
    ends: ClassVar[Duration] = at(15 + 1 / 6)
    Parameters = ConsumerOutageParameters
    parameters: ConsumerOutageParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse catching up at once, or never."""
        catch_up = self.parameters.catch_up
        return "" if SECOND_US <= catch_up <= HOUR_US else "catch_up must be between 1s and 1h"

    def install(self, retailer: Retailer) -> None:
        """Hold the log back."""
        retailer.world.journal.hold(self.begin_us, self.end_us, self.parameters.catch_up)
