"""Thresholds for stock and for demand."""

import msgspec

from operators.detectors.adjustments import LostRule
from operators.detectors.cover_state import CoverRule
from operators.detectors.demand import DemandRule
from operators.detectors.phantom import PhantomRule
from schemas.durations import MINUTE_US, Duration


class InventorySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`lag` is how far another system may be behind the one that leads before its figure counts as another one."""

    lag: Duration = Duration(15 * MINUTE_US)
    lost: LostRule = LostRule()
    phantom: PhantomRule = PhantomRule()


class DemandSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When demand surges, and when an item is short."""

    surge: DemandRule = DemandRule()
    cover: CoverRule = CoverRule()
