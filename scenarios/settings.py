"""What a simulated day is made of: its size, its span, and the breakdowns that are put into it."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.durations import HOUR_US, MINUTE_US, Duration, Instant
from schemas.errors import SettingsError
from schemas.flaws import Flaw, declare_and_lint
from schemas.problems import Problem

_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("stores", 1, 2_000),
    ("distribution_centres", 1, 50),
    ("skus", 20, 100_000),
    ("orders_per_day", 1, 2_000_000),
    ("counter_sales_per_day", 0, 5_000_000),
    ("store_range", 0.05, 1),
    ("marketplace_share", 0, 1),
    ("duplicates", 0, 0.2),
    ("duration", HOUR_US, 28 * 24 * HOUR_US),
    ("carry_in", 0, 48 * HOUR_US),
    ("level_cycle", 15 * MINUTE_US, 48 * HOUR_US),
    ("queue_sample", MINUTE_US, HOUR_US),
)
_DURATIONS = ("duration", "carry_in", "level_cycle", "queue_sample")


class BreakdownSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One breakdown, or one hazard, to inject.

    `begin` and `end` count from the start of the log, and default to what the kind finds telling;
    `parameters` are the kind's own (docs/scenarios.md lists them).
    """

    kind: str
    begin: Duration | None = None
    end: Duration | None = None
    parameters: dict[str, Any] = {}


class SimulationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A retailer and a span of its life. The defaults are the demo's: a small chain, one day.

    `carry_in` is how long the retailer was at work before the log begins: cases of that time start in the
    middle. `store_range` is the share of the catalogue that a store carries (the most wanted items).
    `level_cycle` is how long each system takes to send the level of every item once; `duplicates` the share
    of messages sent twice.
    """

    seed: int = 7
    start: Instant = Instant(1_772_409_600_000_000)
    duration: Duration = Duration(24 * HOUR_US)
    carry_in: Duration = Duration(6 * HOUR_US)
    stores: int = 12
    distribution_centres: int = 1
    skus: int = 150
    store_range: float = 0.7
    orders_per_day: int = 1_200
    counter_sales_per_day: int = 1_800
    marketplace_share: float = 0.25
    level_cycle: Duration = Duration(6 * HOUR_US)
    queue_sample: Duration = Duration(2 * MINUTE_US)
    duplicates: float = 0.002
    currency: str = "EUR"
    breakdowns: tuple[BreakdownSpec, ...] = ()
    hazards: tuple[BreakdownSpec, ...] = ()

    @property
    def end(self) -> int:
        """The instant (microseconds) at which the log ends."""
        return self.start + self.duration


#: Retailers of other sizes than the demo's, by the word that asks for one.
PRESETS: dict[str, SimulationSettings] = {
    "small": SimulationSettings(),
    "forty": SimulationSettings(
        stores=38,
        distribution_centres=2,
        skus=400,
        orders_per_day=4_000,
        counter_sales_per_day=6_000,
        level_cycle=Duration(12 * HOUR_US),
    ),
    "chain": SimulationSettings(
        stores=600,
        distribution_centres=4,
        skus=20_000,
        store_range=0.05,
        orders_per_day=50_000,
        counter_sales_per_day=150_000,
        level_cycle=Duration(48 * HOUR_US),
    ),
}


def demo_settings(seed: int = 7) -> SimulationSettings:
    """The small retailer's day with the demo's three breakdowns in it, one after the other."""
    kinds = ("feed_stopped", "queue_saturation", "posting_interface_down")
    return SimulationSettings(seed=seed, breakdowns=tuple(BreakdownSpec(kind=kind) for kind in kinds))


def read_settings(text: str, file: str, base: SimulationSettings | None = None) -> SimulationSettings:
    """Read settings written in TOML (docs/scenarios.md has the keys); what is not said is that of `base`.

    Raises:
        SettingsError: with every problem of the file.
    """
    read = declare_and_lint(text, SimulationSettings, file, _lint)
    if read.value is None:
        raise SettingsError(read.problems)
    if base is None:
        return read.value
    return msgspec.structs.replace(base, **{key: getattr(read.value, key) for key in tomllib.loads(text)})


def find_problems(settings: SimulationSettings, file: str = "simulation settings") -> list[Problem]:
    """What is out of bounds in `settings`, all at once; breakdowns are judged by their kinds."""
    return [flaw.problem(file, "") for flaw in _lint(settings)]


def _lint(settings: SimulationSettings) -> Iterator[Flaw]:
    for key, low, high in _BOUNDS:
        value = getattr(settings, key)
        if not low <= value <= high:
            shown, least, most = (f"{x / HOUR_US:g}h" if key in _DURATIONS else f"{x:.10g}" for x in (value, low, high))
            yield Flaw((key,), shown if key in _DURATIONS else value, f"must be between {least} and {most}")
    if not re.fullmatch(r"[A-Z]{3}", settings.currency):
        yield Flaw(("currency",), settings.currency, "must be an ISO 4217 code such as EUR")
