"""What shipping costs: what customers pay for it, and what carriers charge by their tariffs. Amounts are in cents.

Nothing here is drawn: an item's weight follows from its name, so that the rest of a log does not depend on its freight.
"""

from math import exp, log
from zlib import crc32

#: Weights lie between these (g), most of them low.
_LIGHTEST, _HEAVIEST = 120, 3_500
#: (Up to so many g, price) by carrier; what is heavier costs as much as the heaviest.
_TARIFFS: dict[str, tuple[tuple[int, int], ...]] = {
    "courier-1": ((2_000, 590), (5_000, 690), (12_000, 890), (30_000, 1_290)),
    "parcel-1": ((1_000, 365), (2_000, 410), (5_000, 495), (10_000, 690), (30_000, 1_090)),
    "parcel-2": ((2_000, 385), (5_000, 470), (10_000, 655), (30_000, 990)),
}
#: What is added for another region.
_ZONE = 60
#: What customers pay for a service, and from which value of goods on they don't.
_PAID = {"collect": (0, 0), "same_day": (790, 12_000), "express": (790, 15_000), "standard": (495, 5_900)}
_PAID_MARKETPLACE = (299, 3_900)


def charged(channel: str, service: str, goods: int) -> int:
    """What the customer pays for the shipping of goods that sell for so much."""
    paid, free_from = _PAID_MARKETPLACE if channel == "marketplace" else _PAID[service]
    return 0 if goods >= free_from else paid


def tariff(carrier: str, grams: int, *, same_region: bool) -> int | None:
    """What a carrier's tariff says for a parcel; None for what is collected."""
    bands = _TARIFFS.get(carrier)
    if bands is None:
        return None
    price = next((price for upto, price in bands if grams <= upto), bands[-1][1])
    return price if same_region else price + _ZONE


def weight_g(sku: str) -> int:
    """What an item weighs."""
    place = (crc32(sku.encode()) & 0xFFFF) / 0xFFFF
    return round(_LIGHTEST * exp(place * log(_HEAVIEST / _LIGHTEST)))
