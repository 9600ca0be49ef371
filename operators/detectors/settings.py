"""The thresholds of all detectors: `[detectors]` of the settings."""

import msgspec

from operators.detectors.capture import CaptureSettings
from operators.detectors.carriers import CarrierSettings
from operators.detectors.integration import IntegrationSettings
from operators.detectors.inventory_settings import DemandSettings, InventorySettings
from operators.detectors.margin import MarginSettings
from operators.detectors.picking import WarehouseSettings
from operators.detectors.policy import ByScope, Override, Policy
from operators.detectors.returns import ReturnsSettings
from operators.detectors.routing import RoutingSettings
from operators.detectors.settlement import SettlementSettings
from operators.detectors.supply import SupplySettings
from schemas.durations import DAY_US, Duration


class DetectorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One record for each family, and other values for regions, groups of nodes and channels.

    `enabled` is the kill switch of all of them: off, none counts or judges anything, what they kept is forgotten, and
    what is left is what handoffs, stock and models say. `order_retention` is how long what is known of an order is kept
    after its last event.
    """

    enabled: bool = True
    order_retention: Duration = Duration(7 * DAY_US)
    returns: ReturnsSettings = ReturnsSettings()
    supply: SupplySettings = SupplySettings()
    margin: MarginSettings = MarginSettings()
    capture: CaptureSettings = CaptureSettings()
    integration: IntegrationSettings = IntegrationSettings()
    routing: RoutingSettings = RoutingSettings()
    warehouse: WarehouseSettings = WarehouseSettings()
    carriers: CarrierSettings = CarrierSettings()
    settlement: SettlementSettings = SettlementSettings()
    inventory: InventorySettings = InventorySettings()
    demand: DemandSettings = DemandSettings()
    node_groups: dict[str, list[str]] = {}
    override: list[Override] = []

    def policy(self, path: str) -> Policy:  # type: ignore[type-arg] # of the record at that path
        """The thresholds at a path of fields, as `capture.incomplete`, by scope.

        Raises:
            TypeError: what is there is not declared to be read by scope.
        """
        record: object = self
        for name in path.split("."):
            record = getattr(record, name)
        if not isinstance(record, ByScope):
            raise TypeError(f"{path} is a {type(record).__name__}, which is not ByScope: overrides of it are refused")
        return Policy(record, self.override, self.node_groups, path)
