"""What must not alarm: unusual days on which nothing breaks down."""

import random
from collections.abc import Callable
from datetime import date

from second_retailer.retailer import HOUR, local_hour
from second_retailer.run import Run

#: The last day of a run, where a hazard asks for one: a Saturday, and the end of summer time.
DATES = {"weekly_peak": date(2026, 9, 19), "dst_switch": date(2026, 10, 25)}


def quiet_night(run: Run, _rng: random.Random, _day: float) -> None:
    """Next to nobody orders before six."""
    run.world.course.demand = lambda t: 0.15 if local_hour(t) < 6 else 1.0


def weekly_peak(run: Run, _rng: random.Random, _day: float) -> None:
    """A strong Saturday, as every week, strongest in the evening."""
    run.world.course.demand = lambda t: 1.25 if 15 <= local_hour(t) < 21 else 1.1


def promotion_with_stock(run: Run, rng: random.Random, day: float) -> None:
    """A promotion that was announced, with stock laid in the night before."""
    items = rng.sample(range(10, 80), 4)
    begin = day + rng.uniform(8, 14) * HOUR
    lasts = 6 * HOUR
    for node in run.retailer.depots:
        for item in items:
            run.world.at(day + rng.uniform(1, 4) * HOUR, run.world.move, node, item, 400.0, "receipt", "PRZED-AKCJA")
    run.world.at(begin, run.trade.announce, f"AKCJA-{rng.randrange(100, 999)}", items, lasts)
    for _ in range(round(run.retailer.orders_per_day * 0.05)):
        channel, item = rng.choice(run.retailer.channels[:2]), rng.choice(items)
        run.world.at(rng.uniform(begin, begin + lasts), run.desk.place, channel, [item])


def dst_switch(_run: Run, _rng: random.Random, _day: float) -> None:
    """The clocks go back; the day has 25 hours. The date does it all."""


def clock_90s(run: Run, rng: random.Random, _day: float) -> None:
    """One source's clock is a minute and a half off, ahead or behind, all the time."""
    name, by = rng.choice(run.retailer.sources()).name, rng.choice((-90.0, 90.0))
    run.world.journal.clock = lambda source, _t: by if source == name else 0.0


def duplicate_burst(run: Run, rng: random.Random, day: float) -> None:
    """A broker delivers a third of its messages twice for twenty minutes, byte for byte."""
    begin = day + rng.uniform(8, 20) * HOUR
    run.world.journal.duplicates = lambda t: 0.35 if begin <= t < begin + 1200 else 0.002


def consumer_outage(run: Run, rng: random.Random, day: float) -> None:
    """What writes the log stands still for ten minutes, then catches up in one, in order."""
    begin = day + rng.uniform(8, 20) * HOUR

    def arrive(t: float) -> float:
        return begin + 600 + (t - begin) / 11 if begin <= t < begin + 660 else t

    run.world.journal.arrive = arrive


HAZARDS: dict[str, Callable[[Run, random.Random, float], None]] = {
    one.__name__: one
    for one in (quiet_night, weekly_peak, promotion_with_stock, dst_switch, clock_90s, duplicate_burst, consumer_outage)
}
