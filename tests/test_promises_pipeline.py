"""Promises over the whole pipeline: a carrier that slows down, from its events to what is said of each order."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from dataflows.engine import run_flow
from dataflows.files import partitions_of
from dataflows.flow import Pipeline, Stop
from dataflows.job import pipeline_settings
from dataflows.lane import FileLane, LaneInput
from dataflows.settings import Settings
from scenarios.settings import PRESETS, BreakdownSpec
from scenarios.simulate import simulate
from schemas.durations import HOUR_US, Duration, to_us
from schemas.events import Event, OrderCreated, ShipmentDelivered
from schemas.incident_rows import Incident, IncidentOrder
from schemas.rows import Row
from tests.harness import encoded
from tests.incident_streams import PROCESS

assert PROCESS is not None
LATE = BreakdownSpec(kind="carrier_delay", parameters={"delay": "9h"})
DAY = msgspec.structs.replace(
    PRESETS["small"],
    stores=4,
    orders_per_day=700,
    counter_sales_per_day=50,
    level_cycle=Duration(24 * HOUR_US),
    duration=Duration(23 * HOUR_US),
    breakdowns=(LATE,),
)
_DECODER = msgspec.json.Decoder(Event)


class Kept:
    """Takes the rows about incidents."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        self.rows.extend(row for row in rows if isinstance(row, Incident | IncidentOrder))

    def flush(self) -> None:
        return


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("late")
    simulate(DAY, made)
    return made


@pytest.fixture(scope="module")
def plain(folder: Path) -> list[Row]:
    return rows_of(folder, batch=2_048, groups=1)


def rows_of(folder: Path, *, batch: int, groups: int) -> list[Row]:
    """What is said of incidents and orders, through the engine, cut like this."""
    chosen, kept = Settings(), Kept()
    assert PROCESS is not None
    pipeline = pipeline_settings(chosen, PROCESS)
    pipeline = msgspec.structs.replace(pipeline, case_groups=groups, item_groups=groups, site_groups=groups)
    files = sorted(str(path) for path in folder.glob("*.jsonl") if path.name != "truth.jsonl")
    source = LaneInput(partitions=tuple(partitions_of(files)), rules=chosen.time.rules(), batch=batch)
    flow = Pipeline(
        settings=pipeline,
        open_lane=lambda name, resume: FileLane(name, pipeline.lanes, source, resume, lambda _lane, _share: None),
        open_writer=lambda: kept,
        stop=Stop(),
    )
    run_flow(flow, None, chosen.engine.epoch)
    return sorted(kept.rows, key=lambda row: (row.arrival_us, row.version))


def test_promises_do_not_depend_on_batches_and_groups(folder: Path, plain: list[Row]) -> None:
    assert encoded(rows_of(folder, batch=300, groups=3)) == encoded(plain)


def test_of_a_carrier_that_is_late_it_is_foretold_which_promises_break_and_when(folder: Path, plain: list[Row]) -> None:
    """Against the log: who was promised what, and when it came."""
    promised: dict[str, int] = {}
    delivered: dict[str, int] = {}
    lines = [
        line for topic in ("orders", "fulfillment") for line in (folder / f"{topic}.jsonl").read_bytes().splitlines()
    ]
    for line in lines:
        event = _DECODER.decode(line)
        if isinstance(event, OrderCreated) and event.promised_at is not None:
            promised[event.order_id] = to_us(event.promised_at)
        elif isinstance(event, ShipmentDelivered):
            delivered.setdefault(event.order_id, to_us(event.occurred_at))
    before: dict[str, IncidentOrder] = {}  # what was said last while the order could yet be in time
    for row in plain:
        if not isinstance(row, IncidentOrder) or row.order_id not in promised:
            continue
        if row.arrival_us < min(promised[row.order_id], delivered.get(row.order_id, DAY.end)):
            before[row.order_id] = row
    judged = {key: delivered.get(key, DAY.end) > promised[key] for key in before if promised[key] < DAY.end}
    said = {key for key in judged if before[key].breach_predicted_at_us is not None}
    broke = {key for key, late in judged.items() if late}
    assert len(broke) >= 10
    assert len(said & broke) >= 0.9 * len(broke)
    assert len(said & broke) >= 0.8 * len(said)
    last = {row.order_id: row for row in plain if isinstance(row, IncidentOrder)}
    told = [key for key in broke & delivered.keys() if last[key].breach_predicted_at_us == delivered[key]]
    assert told, "what came too late while the incident was open is told with the time it came"
