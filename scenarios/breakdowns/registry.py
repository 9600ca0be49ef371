"""Which kinds of breakdowns there are, and how one is made from what a person asked for."""

from collections.abc import Iterable
from typing import Any

from scenarios.breakdowns.adjustments_lost import AdjustmentsLost
from scenarios.breakdowns.breakdown import Breakdown
from scenarios.breakdowns.feed_stopped import FeedStopped
from scenarios.breakdowns.posting_interface_down import PostingInterfaceDown
from scenarios.breakdowns.queue_saturation import QueueSaturation
from scenarios.breakdowns.refund_lag import RefundLag
from scenarios.retailer import Retailer
from scenarios.settings import SimulationSettings
from schemas.durations import HOUR_US, rfc3339
from schemas.errors import SettingsError
from schemas.problems import Problem, declare_document

#: Add a kind here after adding its file.
KINDS: dict[str, type[Breakdown]] = {
    kind.kind: kind for kind in (QueueSaturation, FeedStopped, PostingInterfaceDown, AdjustmentsLost, RefundLag)
}

_FILE = "simulation settings"


def find_problems(settings: SimulationSettings) -> list[Problem]:
    """What is wrong with the breakdowns asked for, as far as it shows without the retailer; all at once."""
    return _make(settings)[1]


def install_breakdowns(settings: SimulationSettings, retailer: Retailer) -> None:
    """Make the breakdowns of `settings` and put them into the retailer, before it opens.

    Raises:
        SettingsError: with every problem of every one of them.
    """
    made, problems = _make(settings)
    for index, breakdown in made:
        words = breakdown.problem(retailer)
        if words:
            problems.append(Problem(_FILE, f"breakdowns[{index}].parameters", "", words))
    if not problems:
        problems.extend(_overlaps(made, retailer))
    if problems:
        raise SettingsError(problems)
    for _, breakdown in made:
        breakdown.install(retailer)
        retailer.breakdowns.append(breakdown)


def _overlaps(made: list[tuple[int, Breakdown]], retailer: Retailer) -> Iterable[Problem]:
    """Breakdowns of the same thing that would run into each other."""
    last: dict[str, Breakdown] = {}
    for index, breakdown in sorted(made, key=lambda pair: (pair[1].begin_us, pair[0])):
        claimed = breakdown.claims(retailer)
        before = last.get(claimed)
        if before is not None and breakdown.begin_us < before.end_us:
            words = f"must not begin before {before.breakdown_id} ends: both are {claimed}"
            yield Problem(_FILE, f"breakdowns[{index}].begin", rfc3339(breakdown.begin_us), words)
        last[claimed] = breakdown


def _make(settings: SimulationSettings) -> tuple[list[tuple[int, Breakdown]], list[Problem]]:
    made: list[tuple[int, Breakdown]] = []
    problems: list[Problem] = []
    for index, spec in enumerate(settings.breakdowns):
        where = f"breakdowns[{index}]"
        kind = KINDS.get(spec.kind)
        if kind is None:
            accepted = f"there is no such breakdown; accepted here: {', '.join(sorted(KINDS))}"
            problems.append(Problem(_FILE, f"{where}.kind", f'"{spec.kind}"', accepted))
            continue
        begin = kind.begins if spec.begin is None else spec.begin
        end = kind.ends if spec.end is None else spec.end
        if not 0 <= begin < end <= settings.duration:
            span = f"{begin / HOUR_US:g}h to {end / HOUR_US:g}h"
            hours = settings.duration / HOUR_US
            words = f"must begin before it ends, both inside the {hours:g} hours that are simulated"
            problems.append(Problem(_FILE, f"{where}.begin, end ({spec.kind})", span, words))
        document: dict[str, Any] = dict(spec.parameters)
        declared = declare_document(document, kind.Parameters, _FILE)
        problems.extend(
            Problem(_FILE, f"{where}.parameters.{found.key}", found.value, found.expected)
            for found in declared.problems
        )
        if declared.value is not None:
            name = f"{spec.kind}-{index + 1}"
            made.append((index, kind(name, settings.start + begin, settings.start + end, declared.value)))
    return made, problems
