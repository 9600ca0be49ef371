"""What is kept of incidents between runs."""

import msgspec

from operators.detectors.records import ScopeFinding
from operators.incidents.records import Record


class IncidentsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `Incidents`: the incidents, findings whose minute is not over, and delays learnt by kind."""

    version: int
    records: list[Record]
    pending: dict[int, list[ScopeFinding]]
    learnt: dict[str, dict[int, int]]
    begun: int
    clock_us: int
