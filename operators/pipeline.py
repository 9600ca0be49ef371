"""What every process of a job has to agree on: key spaces, the names of key groups, and how the work is cut."""

import msgspec

from operators.alerting.settings import AlertSettings
from operators.anomaly.settings import ModelSettings
from operators.detectors.settings import DetectorSettings
from operators.incidents.settings import IncidentSettings
from operators.process_map import ProcessMap
from operators.stock import StockSettings
from operators.windows import WindowSettings
from schemas.durations import BEGIN_OF_TIME_US

CASE, ITEM, INTERFACE, SITE, INCIDENT = "case", "item", "interface", "site", "incident"


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What groups need to know; one record for all of them, the same in every process."""

    process: ProcessMap
    lanes: tuple[str, ...]
    case_groups: int
    item_groups: int
    site_groups: int
    handoff_windows: WindowSettings
    stock_windows: WindowSettings
    stock: StockSettings
    dedup_horizon_us: int
    dedup_max_ids: int
    detectors: DetectorSettings = DetectorSettings()
    incidents: IncidentSettings = IncidentSettings()
    alerting: AlertSettings = AlertSettings()
    models: ModelSettings = ModelSettings()
    close_at_us: int = BEGIN_OF_TIME_US

    def upstream_of_sites(self) -> list[str]:
        """The names of the groups that feed every site group."""
        return [
            *group_names(CASE, self.case_groups),
            *group_names(ITEM, self.item_groups),
            *group_names(INTERFACE, 1),
        ]

    def upstream_of_incidents(self) -> list[str]:
        """The names of the groups that feed the incidents."""
        return [*group_names(SITE, self.site_groups), *group_names(INTERFACE, 1)]

    def known_to(self, clock_us: int, *, ended: bool) -> int:
        """How far time has come for timers: to the asked-for end of the log where the input has ended."""
        return max(clock_us, self.close_at_us) if ended else clock_us


def group_names(space: str, count: int) -> list[str]:
    """`case:0000` … of a key space."""
    return [group_name(space, index) for index in range(count)]


def group_name(space: str, index: int) -> str:
    """The name of one key group; recovery hangs on it."""
    return f"{space}:{index:04d}"
