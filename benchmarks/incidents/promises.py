"""How well incidents foretell which promises break and when: simulated days, against what became of each order.

`python benchmarks/incidents/promises.py` runs days of a 12-node retailer, in memory, and holds what
`incident_orders` said of each touched order while it was open (neither delivered nor cancelled) against its events.
An order broke its promise where it was delivered after `promised_at`, or was not there when that passed. Orders whose
promise had not passed at the end of the log, and those that were cancelled, tell nothing and are left out. The log goes
on long after the breakdown: where it ends sooner, those that come last can't be judged, and what is said looks late.

- `precision`: of orders last said to break (while they were open and the promise had not passed), how many broke;
- `recall`: of those that broke after they were named, how many were said to break before the promise passed;
- `error`: how far the time said last was from the delivery, in the median; `covered`: how many of them were within
  `breach_error_s`;
- `first`: of all orders of which a time was said before they were delivered, broken promise or not, for how many the
  first one was within its bound; `any moment`: the same at every quarter of an hour from then to the delivery.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dataflows.engine import run_flow
from dataflows.files import partitions_of
from dataflows.flow import Pipeline, Stop
from dataflows.job import pipeline_settings
from dataflows.lane import FileLane, LaneInput
from dataflows.process_maps import load_process_map
from dataflows.settings import Settings
from scenarios.settings import PRESETS, BreakdownSpec
from scenarios.simulate import simulate
from schemas.durations import HOUR_US, MINUTE_US, Duration, to_us
from schemas.events import Event, OrderCancelled, OrderCreated, OrderPromiseChanged, ShipmentDelivered
from schemas.incident_rows import IncidentOrder
from schemas.rows import Row

#: What is broken on the days of a name. The ordinary breakdowns break hardly any promise, the grave ones many.
DAYS = {
    "picking_backlog": (BreakdownSpec(kind="picking_backlog"),),
    "queue_saturation": (BreakdownSpec(kind="queue_saturation"),),
    "queue_saturation, grave": (BreakdownSpec(kind="queue_saturation", parameters={"capacity": 0.3, "surge": 3.0}),),
    "carrier_delay": (BreakdownSpec(kind="carrier_delay"),),
    "carrier_delay, 9 h": (BreakdownSpec(kind="carrier_delay", parameters={"delay": "9h"}),),
    "picking_backlog, stores": tuple(
        BreakdownSpec(
            kind="picking_backlog",
            begin=Duration(9 * HOUR_US),
            end=Duration(18 * HOUR_US),
            parameters={"node": f"store-{number:03}", "absent": 1.0},
        )
        for number in range(1, 11)
    ),
}
#: Fewer counter sales and stock levels than usual: they are most of a log, and say nothing of promises.
RETAILER = msgspec.structs.replace(
    PRESETS["forty"], stores=10, orders_per_day=1_500, counter_sales_per_day=200, level_cycle=Duration(24 * HOUR_US)
)
_MOMENT_US = 15 * MINUTE_US
_DECODER = msgspec.json.Decoder(Event)


class Fate(msgspec.Struct):
    """What became of an order, event times in microseconds; None where it did not happen in the log."""

    promised_us: int | None = None
    delivered_us: int | None = None
    cancelled_us: int | None = None

    def broke(self, end_us: int) -> bool | None:
        """Whether the promise was broken; None where nobody can tell at the end of the log."""
        if self.promised_us is None or self.cancelled_us is not None:
            return None
        if self.delivered_us is not None:
            return self.delivered_us > self.promised_us
        return True if self.promised_us < end_us else None


class Figures(msgspec.Struct):
    """Counts over orders, and the errors of predicted times in seconds."""

    named: int = 0
    foretold: int = 0
    foretold_broke: int = 0
    broke: int = 0
    broke_foretold: int = 0
    errors_s: list[float] = []
    covered: int = 0
    told: int = 0
    first_held: int = 0
    moments: int = 0
    moments_held: int = 0

    def add(self, other: "Figures") -> None:
        """Count another day in."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def words(self) -> str:
        """One row of the table."""
        error = f"{median(self.errors_s) / 60:.0f} min" if self.errors_s else "-"
        return (
            f"{self.named:6} | {_of(self.foretold_broke, self.foretold)} | {_of(self.broke_foretold, self.broke)} | "
            f"{error:>8} | {_of(self.covered, len(self.errors_s))} | {_of(self.first_held, self.told)} | "
            f"{_of(self.moments_held, self.moments)}"
        )


class _Kept:
    """Takes the rows about orders."""

    def __init__(self) -> None:
        self.rows: list[IncidentOrder] = []

    def write(self, rows: Sequence[Row]) -> None:
        self.rows.extend(row for row in rows if isinstance(row, IncidentOrder))

    def flush(self) -> None:
        return


def fates(folder: Path) -> dict[str, Fate]:
    """What became of each order, from the log alone."""
    found: dict[str, Fate] = {}
    for topic in ("orders", "fulfillment"):
        for line in (folder / f"{topic}.jsonl").read_bytes().splitlines():
            try:
                event = _DECODER.decode(line)
            except msgspec.ValidationError:  # a simulated message that breaks the contract: a dead letter in the job
                continue
            at_us = to_us(event.occurred_at)
            if isinstance(event, OrderCreated | OrderPromiseChanged) and event.promised_at is not None:
                found.setdefault(event.order_id, Fate()).promised_us = to_us(event.promised_at)
            elif isinstance(event, OrderCancelled) and event.line_id is None:
                found.setdefault(event.order_id, Fate()).cancelled_us = at_us
            elif isinstance(event, ShipmentDelivered):
                fate = found.setdefault(event.order_id, Fate())
                fate.delivered_us = min(at_us, fate.delivered_us or at_us)
    return found


def said(folder: Path) -> list[IncidentOrder]:
    """All that the job says of touched orders, in order of time."""
    settings = Settings()
    groups = pipeline_settings(settings, load_process_map("default"))
    files = sorted(str(path) for path in folder.glob("*.jsonl") if path.name != "truth.jsonl")
    source = LaneInput(partitions=tuple(partitions_of(files)), rules=settings.time.rules(), batch=settings.engine.batch)
    kept = _Kept()
    pipeline = Pipeline(
        settings=groups,
        open_lane=lambda name, resume: FileLane(name, groups.lanes, source, resume, lambda _lane, _share: None),
        open_writer=lambda: kept,
        stop=Stop(),
    )
    run_flow(pipeline, None, settings.engine.epoch)
    return sorted(kept.rows, key=lambda row: (row.arrival_us, row.version))


def held_against(rows: Iterable[IncidentOrder], known: dict[str, Fate], end_us: int) -> Figures:
    """The figures of one day; what was said of an order by several incidents is one story."""
    figures, stories = Figures(), dict[str, list[IncidentOrder]]()
    for row in rows:
        stories.setdefault(row.order_id, []).append(row)
    for order_id, story in stories.items():
        fate = known.get(order_id, Fate())
        if fate.delivered_us is not None and fate.cancelled_us is None:
            _hold_bounds(figures, story, fate.delivered_us)
        broke = fate.broke(end_us)
        if broke is None or fate.promised_us is None:
            continue
        until_us = min(fate.promised_us, fate.delivered_us or end_us)
        open_then = [row for row in story if row.arrival_us < until_us]
        if not open_then:
            continue
        figures.named += 1
        last = open_then[-1]
        if last.breach_predicted_at_us is not None:
            figures.foretold += 1
            figures.foretold_broke += broke
        if broke:
            figures.broke += 1
            figures.broke_foretold += any(row.breach_predicted_at_us is not None for row in open_then)
            _hold_times(figures, story, fate.delivered_us)
    return figures


def _hold_times(figures: Figures, story: Iterable[IncidentOrder], delivered_us: int | None) -> None:
    """The last time that was said before the delivery against the delivery."""
    times = [row for row in story if delivered_us and row.arrival_us < delivered_us and row.breach_predicted_at_us]
    if not times or delivered_us is None or times[-1].breach_predicted_at_us is None:
        return
    error_s = abs(times[-1].breach_predicted_at_us - delivered_us) / 1e6
    figures.errors_s.append(error_s)
    figures.covered += error_s <= (times[-1].breach_error_s or 0.0)


def _hold_bounds(figures: Figures, story: Sequence[IncidentOrder], delivered_us: int) -> None:
    """Whether the delivery was within the bound of what was said first, and of what stood at each moment before it."""
    open_then = [row for row in story if row.arrival_us < delivered_us]
    first = True
    for number, row in enumerate(open_then, 1):
        until_us = open_then[number].arrival_us if number < len(open_then) else delivered_us
        if row.breach_predicted_at_us is None:
            continue
        held = abs(row.breach_predicted_at_us - delivered_us) / 1e6 <= (row.breach_error_s or 0.0)
        moments = len(range(-(-row.arrival_us // _MOMENT_US) * _MOMENT_US, until_us, _MOMENT_US))
        figures.moments += moments
        figures.moments_held += moments * held
        figures.told += first
        figures.first_held += first and held
        first = False


def day(name: str, seed: int, hours: int, folder: Path) -> Figures:
    """Simulate, run, judge."""
    settings = msgspec.structs.replace(RETAILER, seed=seed, duration=Duration(hours * HOUR_US), breakdowns=DAYS[name])
    if not (folder / "truth.jsonl").exists():
        simulate(settings, folder)
    return held_against(said(folder), fates(folder), settings.end)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each kind of day."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--day", nargs="*", choices=list(DAYS), default=list(DAYS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[31, 32, 33])
    parser.add_argument("--hours", type=int, default=42, help="length of each log")
    parser.add_argument("--keep", type=Path, help="where the logs are kept for another run")
    asked = parser.parse_args(arguments)
    columns = ("named ", "precision         ", "recall            ", "error   ", "covered           ")
    print(" | ".join((f"{'day':23}", *columns, "first             ", "any moment")))
    total = Figures()
    with tempfile.TemporaryDirectory(prefix="andon-promises-") as place:
        for name in asked.day:
            of_day = Figures()
            for seed in asked.seeds:
                folder = (asked.keep or Path(place)) / f"{name}-{seed}-{asked.hours}"
                folder.mkdir(parents=True, exist_ok=True)
                of_day.add(day(name, seed, asked.hours, folder))
            print(f"{name:23} | {of_day.words()}", flush=True)
            total.add(of_day)
    print(f"{'all':23} | {total.words()}")
    return 0


def _of(part: int, whole: int) -> str:
    return f"{part:4} of {whole:4} {f'{part / whole:.0%}' if whole else '-':>4}"


if __name__ == "__main__":
    sys.exit(main())
