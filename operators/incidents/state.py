"""What is kept of incidents between runs."""

import msgspec

from operators.detectors.records import ScopeFinding, Tally
from operators.incidents.paces import Pace, PacesState
from operators.incidents.records import Record
from operators.incidents.standings import StandingsState


class IncidentsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `Incidents`: the incidents, findings whose minute is not over, and delays learnt by kind.

    Of the way to promises: what of it was heard in minutes that are not over, how long its handoffs take (None in
    snapshots of before), and where orders stand that no incident touches.
    """

    version: int
    records: list[Record]
    pending: dict[int, list[ScopeFinding]]
    learnt: dict[str, dict[int, int]]
    begun: int
    clock_us: int
    moves: dict[int, list[Tally]] = {}
    heard: dict[int, list[Pace]] = {}
    paces: PacesState | None = None
    standings: StandingsState | None = None
