"""Carriers that are late, and what is none: one slow parcel, parcels that spend the night, other carriers."""

from operators.detectors.carriers import Parcels, carrier_judges
from operators.detectors.policy import Override
from operators.detectors.settings import DetectorSettings
from schemas.durations import HOUR_US, MINUTE_US, rfc3339
from tests.detector_days import Day, at, named, run, with_book


def parts(settings: DetectorSettings = DetectorSettings()):  # noqa: ANN201, B008 - as `Parts`; frozen
    policy = settings.policy
    return with_book(
        lambda book: [Parcels(book, HOUR_US)],
        lambda: carrier_judges(policy("carriers.late"), policy("carriers.exceptions")),
    )


def couriers(late: range = range(0), *, by_us: int = 3 * HOUR_US, exceptions: range = range(0)) -> Day:
    """A parcel every five minutes from 7:00 to 17:00 with each of two couriers, promised in two hours, there in one.

    Of `bike`, those with a number in `late` come so much later, and those in `exceptions` meet an obstacle.
    """
    day = Day()
    for number in range(120):
        sent = at(7) + number * 5 * MINUTE_US
        for carrier in ("bike", "van"):
            order = f"{carrier}-{number}"
            day.order(order, sent - HOUR_US)
            parcel = {"shipment_id": f"p-{order}", "order_id": order, "carrier": carrier}
            day.tell("shipment.dispatched", sent, **parcel, expected_at=rfc3339(sent + 2 * HOUR_US))
            if carrier == "bike" and number in exceptions:
                day.tell("shipment.exception", sent + HOUR_US, **parcel, reason="nobody at home")
            held = by_us if carrier == "bike" and number in late else 0
            day.tell("shipment.delivered", sent + HOUR_US + number % 7 * MINUTE_US + held, **parcel)
    return day


def test_a_carrier_that_slows_down_is_found_before_parcels_are_overdue() -> None:
    late = range(48, 84)  # sent from 11:00 to 14:00
    found = run(couriers(late).events, parts(), at(22))
    signals = [finding.signal for finding in found]
    assert {(signal.kind, tuple(signal.scope.items())) for signal in signals} == {
        ("carrier_delay", (("carrier", "bike"),))
    }
    assert at(12.5) <= signals[0].found_at_us <= at(13)  # the first was promised for 13:00
    assert signals[0].opened_at_us == at(11)
    assert signals[-1].closed_at_us is not None
    assert sorted(named(found)) == sorted(f"bike-{number}" for number in late)
    assert found[-1].signal.explanation.startswith("bike delivers in time again; 36 orders")
    assert run(couriers(late).events, parts(), at(22), step_us=MINUTE_US * 13, keep=True) == found


def test_what_was_promised_needs_no_history() -> None:
    found = run(couriers(range(12)).events, parts(), at(22))
    assert at(9) < found[0].signal.found_at_us <= at(9.75)
    assert set(named(found)) == {f"bike-{number}" for number in range(12)}


def test_a_usual_day_and_some_slow_parcels_are_none() -> None:
    assert run(couriers().events, parts(), at(22)) == []
    assert run(couriers(range(0, 120, 20)).events, parts(), at(22)) == []


def test_obstacles_are_found_by_themselves() -> None:
    found = run(couriers(exceptions=range(60, 90)).events, parts(), at(22))
    assert {finding.signal.detector for finding in found} == {"carrier_exceptions"}
    assert set(named(found)) == {f"bike-{number}" for number in range(60, 90)}
    assert run(couriers(exceptions=range(0, 120, 20)).events, parts(), at(22)) == []


def test_thresholds_of_one_carrier() -> None:
    override = Override(carrier="bike", set={"carriers.late.least": 1_000})
    assert run(couriers(range(48, 84)).events, parts(DetectorSettings(override=[override])), at(22)) == []
    override = Override(carrier="van", set={"carriers.late.least": 1_000})
    assert run(couriers(range(48, 84)).events, parts(DetectorSettings(override=[override])), at(22)) != []


def deliveries(
    parcels: dict[int, int], *, stands: tuple[float, float] = (0, 0), takes_min: tuple[int, int] = (30, 150)
) -> Day:
    """By the hour so many parcels with a courier who promises three hours and takes so many minutes, by turns.

    What would be delivered within `stands` comes four hours later.
    """
    day = Day()
    for minute in range(7 * 60, 18 * 60):
        for _ in range(parcels.get(minute // 60, 1)):
            number, sent = len(day.events), at(minute / 60)
            day.order(f"o{number}", sent - HOUR_US)
            parcel = {"shipment_id": f"p{number}", "order_id": f"o{number}", "carrier": "bike"}
            day.tell("shipment.dispatched", sent, **parcel, expected_at=rfc3339(sent + 3 * HOUR_US))
            due = sent + (takes_min[0] + number * 37 % (takes_min[1] - takes_min[0])) * MINUTE_US
            held = at(stands[0]) <= due < at(stands[1])
            day.tell("shipment.delivered", due + (4 * HOUR_US if held else 0), **parcel)
    return day


def test_deliveries_that_fail_to_come_are_found_long_before_parcels_are_overdue() -> None:
    found = run(deliveries({}, stands=(12, 15)).events, parts(), at(22))
    assert at(12) < found[0].signal.found_at_us <= at(12.5)
    assert at(11.8) <= found[0].signal.opened_at_us <= at(12.2)
    assert found[0].signal.explanation.startswith("bike delivers too few parcels")
    assert found[-1].signal.closed_at_us is not None
    assert len(set(named(found))) >= 150  # of 180


def test_a_first_morning_of_many_parcels_is_none() -> None:
    """Nobody was ever seen to wait that long: what is usual later in the promised time is not known yet."""
    for takes_min in ((70, 130), (100, 120), (40, 170)):
        assert run(deliveries(dict.fromkeys(range(24), 5), takes_min=takes_min).events, parts(), at(11)) == []


def test_more_parcels_and_fewer_are_none() -> None:
    assert run(deliveries({12: 3, 13: 3}).events, parts(), at(22)) == []
    assert run(deliveries({12: 0, 13: 0}).events, parts(), at(22)) == []
