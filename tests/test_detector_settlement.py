"""Postings that fail, postings that never come, documents that don't agree; and what is none of it."""

from itertools import cycle

import msgspec
import pytest

from operators.detectors.events import EventDetectors
from operators.detectors.order_book import OrderBook
from operators.detectors.postings import Postings
from operators.detectors.rates import RateRule
from operators.detectors.records import ScopeFinding
from operators.detectors.settings import DetectorSettings
from operators.detectors.settlement import SettlementSettings, settlement_judges, settlement_parts
from schemas.durations import HOUR_US, MINUTE_US
from schemas.events import Arrived, PostingFailed
from schemas.rows import Signal
from tests.detector_days import Day, at, named, run, with_book

ENDS = at(18)
DOWN = range(120, 240)  # dispatched from 10:00 to 12:00


def parts(settings: DetectorSettings = DetectorSettings()):  # noqa: ANN201, B008 - as `Parts`; frozen
    policy = settings.policy
    return with_book(
        lambda book: settlement_parts(settings.settlement, book),
        lambda: settlement_judges(policy("settlement.failures"), policy("settlement.missing")),
    )


def shipped(
    *, failing: range = range(0), lost: str = "", of: range = range(0), every: int = 1, issues: bool = True
) -> Day:
    """An order a minute is dispatched from 8:00 to 16:00: goods issue after 1 min, invoice after 6 to 10, then payment.

    The goods issues of those in `failing` fail every 15 min until 12:30. What is `lost` of every so many-th in `of`
    never comes, nor what follows it.
    """
    day = Day()
    for number in range(480):
        sent, order = at(8) + number * MINUTE_US, f"o{number}"
        day.order(order, sent - HOUR_US)
        day.tell("shipment.dispatched", sent, shipment_id=f"s{number}", order_id=order, node="dc-1")
        posted, wait = sent + MINUTE_US, 5 + number % 5
        while number in failing and posted < at(12.5):
            failed = {"posting_type": "goods_issue", "reference": order, "interface": "goods", "error_code": "E1"}
            day.tell("posting.failed", posted, **failed)
            posted += 15 * MINUTE_US
        steps = [("goods_issue", posted)] if issues else []
        steps += [("invoice", posted + wait * MINUTE_US), ("payment", posted + (40 + 3 * wait) * MINUTE_US)]
        for kind, when in steps:
            if kind == lost and number in of and number % every == 0:
                break
            what = {"posting_type": kind, "reference": order, "amount": "20.00", "currency": "EUR"}
            day.tell("posting.recorded", when, posting_id=f"{kind}-{number}", **what)
    return day


def kinds(found: list[ScopeFinding]) -> set[tuple[str, str]]:
    return {(finding.signal.kind, finding.signal.scope["posting_type"]) for finding in found}


def test_an_interface_that_is_down_is_found_at_once_with_its_code_and_orders() -> None:
    events = shipped(failing=DOWN).events
    found = run(events, parts(), ENDS)
    assert kinds(found) == {("posting_interface_down", "goods_issue")}
    first, last = found[0].signal, found[-1].signal
    assert first.scope == {"posting_type": "goods_issue", "interface": "goods", "error_code": "E1"}
    assert at(10) < first.found_at_us <= at(10) + 15 * MINUTE_US
    assert "on goods (E1) fail" in first.explanation
    assert last.closed_at_us is not None
    assert sorted(named(found)) == sorted(f"o{number}" for number in DOWN)
    assert run(events, parts(), ENDS, step_us=11 * MINUTE_US, keep=True) == found


@pytest.mark.parametrize("name", ["interface", "error_code", "event_id"])
def test_names_with_any_character_in_them_are_told_as_they_are(name: str) -> None:
    def odd(arrived: Arrived) -> Arrived:
        fields = {name: f"a\x1fb {getattr(arrived.event, name)}"} if hasattr(arrived.event, name) else {}
        return msgspec.structs.replace(arrived, event=msgspec.structs.replace(arrived.event, **fields))

    found = run(map(odd, shipped(failing=DOWN).events), parts(), ENDS)
    first = found[0].signal
    told = {"interface": "goods", "error_code": "E1", "event_id": first.evidence[0].removeprefix("a\x1fb ")}
    told[name] = f"a\x1fb {told[name]}"
    assert first.scope == {
        "posting_type": "goods_issue",
        "interface": told["interface"],
        "error_code": told["error_code"],
    }
    assert first.evidence[0] == told["event_id"]
    assert sorted(named(found)) == sorted(f"o{number}" for number in DOWN)


def test_failures_of_one_interface_with_different_codes_name_the_interface_alone() -> None:
    codes = cycle(["E1", "E2", "E3"])

    def coded(arrived: Arrived) -> Arrived:
        if not isinstance(arrived.event, PostingFailed):
            return arrived
        return msgspec.structs.replace(arrived, event=msgspec.structs.replace(arrived.event, error_code=next(codes)))

    in_order = sorted(shipped(failing=DOWN).events, key=lambda one: one.arrival_us)
    events = [coded(one) for one in in_order]
    first = run(events, parts(), ENDS)[0].signal
    assert first.scope == {"posting_type": "goods_issue", "interface": "goods"}
    assert "Postings of goods issue on goods fail" in first.explanation


@pytest.mark.parametrize("lost", ["goods_issue", "invoice", "payment"])
def test_postings_that_never_come_are_found_where_they_are_lost_only(lost: str) -> None:
    events = shipped(lost=lost, of=DOWN, every=2).events
    found = run(events, parts(), ENDS)
    assert kinds(found) == {("posting_missing", lost)}
    waits = {"goods_issue": 1.1, "invoice": 1.25, "payment": 2.0}[lost]
    assert at(10) < found[0].signal.found_at_us <= at(10 + waits)
    assert sorted(named(found)) == sorted(f"o{number}" for number in DOWN if number % 2 == 0)
    assert found[-1].signal.closed_at_us is not None
    assert run(events, parts(), ENDS, step_us=7 * MINUTE_US) == found


def test_invoices_are_awaited_after_the_dispatch_where_nobody_posts_goods_issues() -> None:
    found = run(shipped(lost="invoice", of=DOWN, every=2, issues=False).events, parts(), ENDS)
    assert kinds(found) == {("posting_missing", "invoice")}
    assert {finding.signal.detector for finding in found} == {"missing_invoice_of_dispatch"}


def test_a_usual_day_a_few_failures_and_postings_that_nobody_sends_are_none() -> None:
    assert run(shipped().events, parts(), ENDS) == []
    failing = [Day()]
    failing[0].events = list(shipped().events)
    for number in range(0, 480, 40):
        failed = {"posting_type": "invoice", "reference": f"o{number}", "interface": "goods", "error_code": "E1"}
        failing[0].tell("posting.failed", at(8) + number * MINUTE_US, **failed)
    assert run(failing[0].events, parts(), ENDS) == []
    nobody = [one for one in shipped().events if "posting" not in str(one.event.__struct_config__.tag)]
    assert run(nobody, parts(), ENDS) == []


def test_a_log_that_is_held_back_for_ten_minutes_is_none() -> None:
    begin, end = at(12), at(12) + 10 * MINUTE_US
    held = [
        Arrived(
            end if begin <= one.arrival_us < end else one.arrival_us, "t", 0, one.offset, one.occurred_us, one.event
        )
        for one in shipped().events
    ]
    assert run(held, parts(), ENDS) == []


def test_thresholds_can_be_set() -> None:
    central = DetectorSettings(settlement=SettlementSettings(failures=RateRule(least=100_000)))
    assert run(shipped(failing=DOWN).events, parts(central), ENDS) == []


def test_amounts_that_disagree_and_postings_that_repeat_are_told_of_their_order() -> None:
    day = Day()
    for number, paid in enumerate(("20.00", "15.00")):
        day.order(f"o{number}", at(8))
        day.tell("shipment.dispatched", at(9), shipment_id=f"s{number}", order_id=f"o{number}")
        for kind, amount in (("invoice", "20.00"), ("payment", paid)):
            what = {"posting_type": kind, "reference": f"o{number}", "amount": amount, "currency": "EUR"}
            day.tell("posting.recorded", at(10), posting_id=f"{kind}-{number}", **what)
    again = {"posting_type": "invoice", "reference": "o0", "amount": "20.00", "currency": "EUR"}
    day.tell("posting.recorded", at(11), posting_id="invoice-again", **again)
    signals = told(day)
    assert [(signal.kind, signal.case_id) for signal in signals] == [
        ("amount_mismatch", "o1"),
        ("duplicate_posting", "o0"),
    ]
    assert signals[0].found_at_us == at(10.25)
    assert "20.00 invoiced, 15.00 paid" in signals[0].explanation
    assert len(signals[0].evidence) == 2


@pytest.mark.parametrize(
    ("invoiced", "paid", "finds"),
    [
        (("100.00", "EUR"), ("108.00", "USD"), False),
        (("100.00", "EUR"), ("108.00", None), True),
        (("-50.00", "EUR"), ("-50.00", "EUR"), False),
        (("-50.00", "EUR"), ("-60.00", "EUR"), True),
    ],
)
def test_amounts_are_compared_within_a_currency_whatever_their_sign(
    invoiced: tuple[str, str], paid: tuple[str, str | None], *, finds: bool
) -> None:
    day = Day()
    day.order("o", at(8))
    for kind, (amount, currency) in (("invoice", invoiced), ("payment", paid)):
        what = {"posting_type": kind, "reference": "o", "amount": amount, "currency": currency}
        day.tell("posting.recorded", at(10), posting_id=kind, **what)
    assert [signal.kind for signal in told(day)] == ["amount_mismatch"] * finds


@pytest.mark.parametrize("line", [{}, {"line_id": "1"}], ids=["as a whole", "line by line"])
def test_nothing_is_posted_for_orders_that_were_cancelled(line: dict[str, str]) -> None:
    day = shipped(lost="goods_issue", of=DOWN, every=2)
    for number in DOWN:
        if number % 2 == 0:
            cancelled = at(8) + number * MINUTE_US + MINUTE_US // 2
            day.tell("order.cancelled", cancelled, order_id=f"o{number}", **line)
    assert run(day.events, parts(), ENDS) == []


#: Postings of an order in hours of the day, each of a type and an amount.
Steps = list[tuple[float, str, str]]


@pytest.mark.parametrize(
    ("steps", "finds"),
    [
        ([(10, "invoice", "100.00"), (10.01, "payment", "40.00"), (10.02, "payment", "60.00")], []),  # by two cards
        ([(10, "payment", "150.00"), (10.1, "invoice", "100.00"), (10.2, "invoice", "50.00")], []),  # in two parcels
        ([(10, "invoice", "100.00"), (10.1, "payment", "40.00")], ["10:21"]),
        ([(10, "invoice", "100.00"), (10.1, "payment", "40.00"), (11, "payment", "60.00")], ["10:21", "10:21-11:00"]),
        ([(10, "invoice", "110.00"), (10, "reversal", "110.00"), (10.2, "invoice", "100.00")], []),
        (
            [
                (10, "payment", "100.00"),
                (10, "invoice", "110.00"),
                (10.2, "reversal", "110.00"),
                (11, "invoice", "100"),
            ],
            [],
        ),
        (
            [(10, "payment", "100.00"), (10, "invoice", "110.00"), (10.5, "reversal", "110.00")],
            ["10:15", "10:15-10:30"],
        ),
        (
            [(at_h, kind, "50.00") for at_h, kind in ((10, "invoice"), (10, "payment"))]
            + [(11, "invoice", "50.00"), (11, "payment", "30.00"), (13, "payment", "20.00")]
            + [(14, "invoice", "30.00")],
            ["11:15", "11:15-13:00", "14:15"],  # one that came to agree can fall apart again
        ),
    ],
)
def test_parts_that_come_together_are_compared_together(steps: Steps, finds: list[str]) -> None:
    day = Day()
    day.order("o", at(8))
    for number, (hour, kind, amount) in enumerate(steps):
        what = {"posting_type": kind, "reference": "o", "amount": amount, "currency": "EUR"}
        day.tell("posting.recorded", at(hour), posting_id=f"p{number}", **what)
    signals = told(day)
    assert {signal.kind for signal in signals} <= {"amount_mismatch"}
    assert [spans(signal) for signal in signals] == finds
    assert len({signal.signal_id for signal in signals}) <= 1
    assert [signal.version for signal in signals] == sorted({signal.version for signal in signals})
    assert told(day, step_us=7 * MINUTE_US) == signals


def spans(signal: Signal) -> str:
    """When it was found, and when it was over."""
    times = [signal.found_at_us] if signal.closed_at_us is None else [signal.found_at_us, signal.closed_at_us]
    return "-".join(f"{minutes // 60}:{minutes % 60:02}" for minutes in [(one - at(0)) // MINUTE_US for one in times])


@pytest.mark.parametrize(("parcels", "finds"), [(["s1", "s1"], 1), (["s1", "s2"], 0)])
def test_a_parcel_that_two_systems_tell_of_is_one(parcels: list[str], finds: int) -> None:
    day = Day()
    day.order("o", at(8))
    for shipment in parcels:
        day.tell("shipment.dispatched", at(9), shipment_id=shipment, order_id="o")
    for number in range(2):
        what = {"posting_type": "invoice", "reference": "o", "amount": "20.00", "currency": "EUR"}
        day.tell("posting.recorded", at(10), posting_id=f"p{number}", **what)
    assert [signal.kind for signal in told(day)] == ["duplicate_posting"] * finds


def test_what_was_reversed_and_posted_anew_is_posted_once() -> None:
    day = Day()
    day.order("o", at(8))
    day.tell("shipment.dispatched", at(9), shipment_id="s", order_id="o")
    for number, kind in enumerate(["invoice", "reversal", "invoice", "reversal", "invoice"]):
        what = {"posting_type": kind, "reference": "o", "amount": "20.00", "currency": "EUR"}
        day.tell("posting.recorded", at(10), posting_id=f"p{number}", **what)
    assert told(day) == []
    day.tell("posting.recorded", at(11), posting_id="again", posting_type="invoice", reference="o", amount="20.00")
    assert [signal.kind for signal in told(day)] == ["duplicate_posting"]


def told(day: Day, *, step_us: int = HOUR_US) -> list[Signal]:
    """All that is told of single orders, with time told and everything restarted every `step_us`."""
    rule, signals = DetectorSettings().settlement, list[Signal]()
    events = sorted(day.events, key=lambda one: (one.arrival_us, one.offset))
    kept = None
    for now in range(at(8), at(16), step_us):
        book = OrderBook(48 * HOUR_US)
        first = EventDetectors([book, Postings(book, rule.late_after, rule.tolerance, rule.retention)])
        if kept is not None:
            first.restore(kept)
        signals += first.update(
            [one for one in events if now <= one.arrival_us < now + step_us], [], now + step_us
        ).signals
        kept = first.snapshot()
    return signals
