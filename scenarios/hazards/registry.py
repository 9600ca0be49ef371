"""Which kinds of hazards there are, and how those that were asked for are put into the retailer."""

from scenarios.hazards.clocks import ClockOff, DaylightSaving
from scenarios.hazards.demand import AnnouncedPromotion, QuietNight, WeeklyPeak
from scenarios.hazards.hazard import Hazard
from scenarios.hazards.transport import ConsumerOutage, DuplicateBurst
from scenarios.injections import FILE, read_injections
from scenarios.retailer import Retailer
from scenarios.settings import SimulationSettings
from schemas.errors import SettingsError
from schemas.problems import Problem

#: Add a kind here after adding its class.
HAZARDS: dict[str, type[Hazard]] = {
    kind.kind: kind
    for kind in (
        QuietNight,
        WeeklyPeak,
        AnnouncedPromotion,
        DaylightSaving,
        ClockOff,
        DuplicateBurst,
        ConsumerOutage,
    )
}


def find_problems(settings: SimulationSettings) -> list[Problem]:
    """What is wrong with the hazards asked for, as far as it shows without the retailer; all at once."""
    return read_injections(settings, settings.hazards, "hazards", HAZARDS)[1]


def install_hazards(settings: SimulationSettings, retailer: Retailer) -> list[Hazard]:
    """Make the hazards of `settings` and put them into the retailer, before it opens.

    Raises:
        SettingsError: with every problem of every one of them.
    """
    asked, problems = read_injections(settings, settings.hazards, "hazards", HAZARDS)
    made: list[Hazard] = []
    for one in asked:
        hazard: Hazard = one.kind(one.begin_us, one.end_us, one.parameters)
        words = hazard.problem(retailer)
        if words:
            problems.append(Problem(FILE, f"hazards[{one.index}].parameters", "", words))
        made.append(hazard)
    if problems:
        raise SettingsError(problems)
    for hazard in made:
        hazard.install(retailer)
    return made
