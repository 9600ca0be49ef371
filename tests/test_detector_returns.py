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
