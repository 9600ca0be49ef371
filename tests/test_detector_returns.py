"""Returns and refunds: what is a finding, what is not, and what it names."""

from collections.abc import Iterable

import msgspec
import pytest

from operators.detectors.catalogue import return_judges
from operators.detectors.events import EventDetectors
from operators.detectors.records import ScopeFinding
from operators.detectors.returns import Returns
from operators.detectors.scopes import ScopeDetectors, ScopeDetectorsState
from operators.detectors.settings import DetectorSettings
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, rfc3339
from schemas.events import Arrived, Event
from tests.harness import START_US
from tests.tallies import all_tallies

SETTINGS = DetectorSettings()


def event(number: int, kind: str, at_us: int, **fields: object) -> Arrived:
    body = {"type": kind, "event_id": f"e{number}", "source": "x", "system": "erp", "occurred_at": rfc3339(at_us)}
    return Arrived(at_us, "t", 0, number, at_us, msgspec.convert(body | fields, Event))  # type: ignore[arg-type] # a union


def received(number: int, at_us: int, sku: str = "") -> Arrived:
    more = {"sku": sku} if sku else {"sku": f"s{number}"}
    return event(number, "return.received", at_us, return_id=f"r{number}", order_id=f"o{number}", amount="10", **more)


def refunded(number: int, at_us: int) -> Arrived:
    fields = {"posting_id": f"p{number}", "posting_type": "refund", "reference": f"r{number}", "amount": "10"}
    return event(10_000 + number, "posting.recorded", at_us, **fields)


def run(events: Iterable[Arrived], until_us: int, *, keep: bool = False, step_us: int = HOUR_US) -> list[ScopeFinding]:
    """All that is found, with time told every `step_us`, and everything restarted each time with `keep`."""
    first, second = EventDetectors([Returns(SETTINGS.returns)]), ScopeDetectors(_judges())
    out: list[ScopeFinding] = []
    log = sorted(events)
    for now in range(START_US, until_us + step_us, step_us):
        found = first.update([one for one in log if now - step_us <= one.arrival_us < now], [], now)
        second.update(all_tallies(found))
        out += second.advance(now)
        if keep:
            kept, judged = first.snapshot(), msgspec.msgpack.encode(second.snapshot())
            first, second = EventDetectors([Returns(SETTINGS.returns)]), ScopeDetectors(_judges())
            first.restore(kept)
            second.restore(msgspec.msgpack.decode(judged, type=ScopeDetectorsState))
    return out


def _judges():  # noqa: ANN202 - the catalogue's
    policy = SETTINGS.policy
    return return_judges(
        policy("returns.refund_lag"), policy("returns.surge"), policy("returns.without_receipt"), SETTINGS.returns
    )


def usual_days(days: int) -> list[Arrived]:
    """Two returns an hour, refunded within two to four hours."""
    out = []
    for number in range(days * 48):
        at = START_US + number * HOUR_US // 2
        out += [received(number, at), refunded(number, at + 2 * HOUR_US + number % 7 * 20 * MINUTE_US)]
    return out


def test_refunds_that_stop_are_found_hours_before_their_deadline_and_closed_when_they_come() -> None:
    stop = START_US + 3 * DAY_US
    stopped = [
        one
        for one in usual_days(5)
        if not (one.offset >= 10_000 and stop <= one.arrival_us < stop + DAY_US)  # refunds come a day late
    ]
    late = {one.offset - 10_000 for one in usual_days(5)} - {one.offset - 10_000 for one in stopped}
    late = {number for number in late if number >= 0}
    stopped += [refunded(number, stop + DAY_US + MINUTE_US * number % HOUR_US) for number in sorted(late)]
    found = run(stopped, START_US + 6 * DAY_US)
    signals = [finding.signal for finding in found if finding.signal.kind == "refund_lag"]
    assert stop < signals[0].found_at_us < stop + 10 * HOUR_US
    assert signals[0].scope == {"posting_type": "refund"}
    assert signals[-1].closed_at_us is not None
    named = [impact.case_id for finding in found for impact in finding.impacts]
    assert len(named) == len(set(named))
    wanted = {f"r{number}" for number in late}
    assert len(wanted & set(named)) >= 0.85 * len(wanted)
    assert len(wanted & set(named)) >= 0.9 * len(named)
    assert found[0].impacts[0].refund == 10.0
    assert run(stopped, START_US + 6 * DAY_US, keep=True, step_us=17 * MINUTE_US) == found


def test_usual_days_are_quiet_and_so_is_who_never_sends_refunds() -> None:
    assert run(usual_days(4), START_US + 4 * DAY_US + 2 * HOUR_US) == []
    assert run([one for one in usual_days(4) if one.offset < 10_000], START_US + 4 * DAY_US) == []


def restocked(number: int, at_us: int) -> Arrived:
    return event(
        20_000 + number, "return.restocked", at_us, return_id=f"r{number}", order_id=f"o{number}", sku=f"s{number}"
    )


def test_what_was_received_and_maybe_refunded_before_the_log_began_is_not_waited_for() -> None:
    left_over = [restocked(1_000 + number, START_US + number * 5 * MINUTE_US) for number in range(12)]
    assert run([*usual_days(2), *left_over], START_US + 2 * DAY_US + 2 * HOUR_US) == []


def test_who_only_ever_restocks_is_told_that_refunds_stop() -> None:
    stop = START_US + 5 * DAY_US
    only = [one if one.offset >= 10_000 else restocked(one.offset, one.arrival_us) for one in usual_days(6)]
    stopped = [one for one in only if not (10_000 <= one.offset < 20_000 and one.arrival_us >= stop)]
    found = run(stopped, START_US + 6 * DAY_US)
    lags = [finding.signal for finding in found if finding.signal.kind == "refund_lag"]
    assert stop < lags[0].found_at_us < stop + 10 * HOUR_US


@pytest.mark.parametrize("usual", [20, 2])
def test_a_surge_of_one_items_returns(usual: int) -> None:
    ordinary = [received(n, START_US + n * DAY_US // usual, f"sku-{n % 5}") for n in range(usual * 4)]
    begin = START_US + 3 * DAY_US
    surge = [received(5_000 + n, begin + n * 10 * MINUTE_US, "sku-9") for n in range(30)]
    found = run([*ordinary, *surge], START_US + 5 * DAY_US)
    assert {finding.signal.kind for finding in found} == {"return_surge"}
    assert {tuple(finding.signal.scope.items()) for finding in found} == {(("sku", "sku-9"),)}
    assert found[0].signal.found_at_us <= begin + 2 * HOUR_US
    assert {impact.order_id for finding in found for impact in finding.impacts} == {f"o{5_000 + n}" for n in range(30)}


def test_of_an_order_with_two_returns_both_are_named() -> None:
    begin = START_US + DAY_US
    authorized = [
        event(n, "return.authorized", START_US + (n - 5_000) * MINUTE_US, return_id=f"r{n}", order_id=f"o{n // 2}")
        for n in range(5_000, 5_040)
    ]
    early = [refunded(5_000 + n, begin + n * 10 * MINUTE_US) for n in range(8)]
    found = run([*usual_days(2), *authorized, *early], START_US + 3 * DAY_US)
    assert {impact.case_id for finding in found for impact in finding.impacts} == {f"r{5_000 + n}" for n in range(8)}


def test_refunds_before_the_goods_are_found_and_a_receipt_that_is_only_reported_late_is_none() -> None:
    begin = START_US + DAY_US
    authorized = [
        event(n, "return.authorized", START_US + (n - 5_000) * MINUTE_US, return_id=f"r{n}", order_id=f"o{n}")
        for n in range(5_000, 5_040)
    ]
    early = [refunded(5_000 + n, begin + n * 10 * MINUTE_US) for n in range(8)]
    found = run([*usual_days(2), *authorized, *early], START_US + 3 * DAY_US)
    assert {finding.signal.kind for finding in found} == {"refund_without_receipt"}
    assert {impact.case_id for finding in found for impact in finding.impacts} == {f"r{5_000 + n}" for n in range(8)}
    on_time = [
        msgspec.structs.replace(
            received(5_000 + n, begin + n * 10 * MINUTE_US), arrival_us=begin + n * 10 * MINUTE_US + 300_000_000
        )
        for n in range(8)
    ]
    assert run([*usual_days(2), *authorized, *early, *on_time], START_US + 3 * DAY_US) == []


def test_a_return_counts_for_each_of_its_items_whenever_they_are_named() -> None:
    """Returns of several items: an authorisation that names none, then an event for each item, told by two systems."""
    ordinary = [received(n, START_US + n * DAY_US // 20, f"sku-{n % 5}") for n in range(80)]
    begin, surge = START_US + 3 * DAY_US, list[Arrived]()
    for number in range(5_000, 5_030):
        at, case = begin + (number - 5_000) * 10 * MINUTE_US, {"return_id": f"r{number}", "order_id": f"o{number}"}
        surge.append(event(4 * number, "return.authorized", at, **case))
        items = (("sku-7", 1, "5.00"), ("sku-9", 2, "10.00"))
        for place, (sku, qty, worth) in enumerate([*items, items[1]], 1):
            said = case | {"sku": sku, "qty": qty, "amount": worth, "currency": "EUR"}
            surge.append(event(4 * number + place, "return.received", at + place * MINUTE_US, **said))
    found = run([*ordinary, *surge], START_US + 5 * DAY_US)
    assert {finding.signal.kind for finding in found} == {"return_surge"}
    assert {finding.signal.scope["sku"] for finding in found} == {"sku-7", "sku-9"}
    for sku, units, worth in (("sku-7", 1, 5.0), ("sku-9", 2, 10.0)):
        impacts = [one for finding in found if finding.signal.scope["sku"] == sku for one in finding.impacts]
        assert {one.order_id for one in impacts} == {f"o{number}" for number in range(5_000, 5_030)}
        assert {(one.units, one.value) for one in impacts} == {(units, worth)}
    assert run([*ordinary, *surge], START_US + 5 * DAY_US, keep=True, step_us=17 * MINUTE_US) == found


def test_what_waits_for_its_refund_is_all_that_came_back() -> None:
    """Refunds stop; of the returns that wait each is of two items, told one after the other and once more."""
    stop = START_US + 3 * DAY_US
    log = [one for one in usual_days(4) if one.arrival_us < stop]
    for number in range(5_000, 5_012):
        case = {"return_id": f"r{number}", "order_id": f"o{number}", "currency": "EUR"}
        at = stop + (number - 5_000) * 30 * MINUTE_US
        for place, (sku, qty, worth) in enumerate([("a", 1, "5.00"), ("b", 2, "10.00"), ("a", 1, "5.00")]):
            said = case | {"sku": f"{sku}{number}", "qty": qty, "amount": worth}
            log.append(event(4 * number + place, "return.authorized", at + place, **said))
        log.append(event(4 * number + 3, "return.received", at + HOUR_US // 2, **case))
    found = run(log, START_US + 5 * DAY_US)
    assert {finding.signal.kind for finding in found} == {"refund_lag"}
    waiting = [one for finding in found for one in finding.impacts if one.case_id.startswith("r50")]
    assert {(one.units, one.refund, one.currency) for one in waiting} == {(3.0, 15.0, "EUR")}


@pytest.mark.parametrize(("after_min", "finds"), [(1, False), (14, False), (16, True)])
def test_goods_that_are_received_shortly_after_the_refund_were_received(after_min: int, *, finds: bool) -> None:
    """At a counter the money goes out while the goods come in."""
    begin, log = START_US + 2 * DAY_US, usual_days(3)
    for number in range(5_000, 5_010):
        at, case = begin + (number - 5_000) * 10 * MINUTE_US, {"return_id": f"r{number}", "order_id": f"o{number}"}
        log.append(event(4 * number, "return.authorized", at - MINUTE_US, **case, sku=f"s{number}"))
        log += [refunded(number, at), received(number, at + after_min * MINUTE_US)]
    found = run(log, START_US + 3 * DAY_US)
    assert {finding.signal.kind for finding in found} == ({"refund_without_receipt"} if finds else set())
