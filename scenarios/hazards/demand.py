"""More or fewer customers than usual, as everybody planned for."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import at
from scenarios.customers import Surge
from scenarios.hazards.hazard import Hazard
from scenarios.retailer import Retailer
from schemas.durations import HOUR_US, Duration

_AHEAD_US = 14 * HOUR_US
#: Rank of demand of the first item of a promotion, and how far apart in rank its items are.
_FIRST, _APART = 9, 3


class QuietNightParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many of the usual customers come."""

    share: float = 0.1


class QuietNight(Hazard):
    """A holiday's night: hardly anybody orders."""

    kind: ClassVar[str] = "quiet_night"
    begins: ClassVar[Duration] = at(0)
    ends: ClassVar[Duration] = at(6)
    Parameters = QuietNightParameters
    parameters: QuietNightParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse what is no share."""
        return "" if 0 <= self.parameters.share <= 1 else "share must be between 0 and 1"

    def install(self, retailer: Retailer) -> None:
        """Plan for few."""
        retailer.world.season.plan(self.begin_us, self.end_us, self.parameters.share)


class WeeklyPeakParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many times the usual customers come."""

    factor: float = 1.7


class WeeklyPeak(Hazard):
    """A day as busy as a Saturday before a feast; staff is planned for it."""

    kind: ClassVar[str] = "weekly_peak"
    begins: ClassVar[Duration] = at(0)
    ends: ClassVar[Duration] = at(24)
    Parameters = WeeklyPeakParameters
    parameters: WeeklyPeakParameters

    def problem(self, retailer: Retailer) -> str:  # noqa: ARG002 - fits any retailer
        """Refuse a peak that is none, or beyond what the retailer is built for."""
        return "" if 1 <= self.parameters.factor <= 3 else "factor must be between 1 and 3"

    def install(self, retailer: Retailer) -> None:
        """Plan for many."""
        retailer.world.season.plan(self.begin_us, self.end_us, self.parameters.factor)


class AnnouncedPromotionParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For how many items (some of the well known ones), and how much more of them is wanted."""

    skus: int = 4
    lift: float = 3.0


class AnnouncedPromotion(Hazard):
    """A promotion whose goods were ordered in time, and are there when it starts."""

    kind: ClassVar[str] = "announced_promotion"
    begins: ClassVar[Duration] = at(10)
    ends: ClassVar[Duration] = at(20)
    Parameters = AnnouncedPromotionParameters
    parameters: AnnouncedPromotionParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse more items than there are, or a promotion that lifts nothing."""
        most = (retailer.world.network.stores[0].carried - _FIRST) // _APART
        if not 1 <= self.parameters.skus <= most:
            return f"skus must be between 1 and {most}"
        return "" if 1 < self.parameters.lift <= 20 else "lift must be above 1 and at most 20"

    def install(self, retailer: Retailer) -> None:
        """Buy for it, announce it, and send the customers."""
        world, more = retailer.world, self.parameters.lift - 1
        catalogue, settings, carried = world.catalogue, world.settings, world.network.stores[0].carried
        skus = [_FIRST + _APART * number for number in range(self.parameters.skus)]
        online = {sku: more * catalogue.share(sku) for sku in skus}
        counter = {sku: more * catalogue.share(sku, carried) for sku in skus}
        days = max(1.0, (self.end_us - self.begin_us) / (24 * HOUR_US))
        retailer.supply.buy(
            {
                sku: round(
                    2 * days * (settings.orders_per_day * online[sku] + settings.counter_sales_per_day * counter[sku])
                )
                for sku in skus
            },
            self.begin_us - _AHEAD_US,
        )
        promotion = f"promo-{200 + (self.begin_us - settings.start) // HOUR_US}"
        retailer.merchandising.announce(promotion, skus, self.begin_us, self.end_us)
        extra, walk_in = sum(online.values()), sum(counter.values())
        surge = Surge(self.begin_us, self.end_us, extra, skus, from_stores=False, counter=walk_in)
        retailer.customers.surges.append(surge)
