"""Run the retailer for the span of the settings and write its event log and the truth about it."""

import pathlib
import time
from collections.abc import Callable

import msgspec

from scenarios.agenda import Agenda
from scenarios.breakdowns.registry import find_problems as find_breakdown_problems
from scenarios.breakdowns.registry import install_breakdowns
from scenarios.hazards.hazard import Hazard
from scenarios.hazards.registry import find_problems as find_hazard_problems
from scenarios.hazards.registry import install_hazards
from scenarios.journal import Journal
from scenarios.retailer import Retailer
from scenarios.settings import BreakdownSpec, SimulationSettings, demo_settings, find_problems
from scenarios.truth import TruthRecord, clean_periods
from scenarios.world import World
from schemas.durations import MINUTE_US, Instant
from schemas.errors import SettingsError

__all__ = ["BreakdownSpec", "SimulationResult", "SimulationSettings", "demo_settings", "simulate"]

_STEP_US = MINUTE_US
#: Write to the files when this many messages wait to be put in order.
_UNWRITTEN = 20_000


class SimulationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run wrote: events by topic, the files (topics and `truth`), the truth, and how long it took."""

    events: dict[str, int]
    files: dict[str, pathlib.Path]
    truth: tuple[TruthRecord, ...]
    seconds: float


def simulate(
    settings: SimulationSettings, out: pathlib.Path, progress: Callable[[float], None] | None = None
) -> SimulationResult:
    """Simulate and write `orders.jsonl`, ... one file for each topic, and `truth.jsonl`, into `out`.

    Files are the same byte for byte for the same settings and Python version. `progress` is told the share
    that is done, from 0 to 1. Cost: 6 to 13 µs an event; memory: what is in flight, not the log.

    Raises:
        SettingsError: with every problem of `settings`, before anything is written.
    """
    problems = [*find_problems(settings), *find_breakdown_problems(settings), *find_hazard_problems(settings)]
    if problems:
        raise SettingsError(problems)
    began = time.perf_counter()
    first = settings.start - settings.carry_in
    agenda = Agenda(first)
    journal = Journal(out, settings.start, settings.end, settings.duplicates, settings.seed)
    retailer = Retailer(World(settings, agenda, journal))
    hazards = install_hazards(settings, retailer)
    install_breakdowns(settings, retailer)
    journal.open()
    try:
        retailer.open()
        while agenda.now < settings.end:
            agenda.run_until(min(agenda.now + _STEP_US, settings.end))
            if journal.unwritten > _UNWRITTEN:
                journal.flush(agenda.now)
            if progress is not None:
                progress((agenda.now - first) / (settings.end - first))
    finally:
        journal.close()
    truth = _truth(settings, retailer, hazards)
    path = out / "truth.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in truth))
    return SimulationResult(
        events=journal.counts,
        files={**journal.paths, "truth": path},
        truth=truth,
        seconds=time.perf_counter() - began,
    )


def _truth(settings: SimulationSettings, retailer: Retailer, hazards: list[Hazard]) -> tuple[TruthRecord, ...]:
    broken = [(breakdown.begin_us, breakdown.effects_until_us) for breakdown in retailer.breakdowns]
    records = [breakdown.record(settings.end, settings.currency) for breakdown in retailer.breakdowns]
    clean = clean_periods(settings.start, settings.end, broken, settings.currency)
    ordered = sorted([*records, *clean], key=lambda record: (record.begin, record.breakdown_id))
    return tuple(_with_hazards(record, hazards) for record in ordered)


def _with_hazards(record: TruthRecord, hazards: list[Hazard]) -> TruthRecord:
    """The record, naming the hazards that overlap its span."""
    begin, end = Instant.parse(record.begin), Instant.parse(record.end)
    met = [hazard.record() for hazard in hazards if hazard.begin_us < end and begin < hazard.end_us]
    return msgspec.structs.replace(record, hazards=met) if met else record
