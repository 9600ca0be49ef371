"""Suppliers: late and unannounced deliveries, and documents that don't agree."""

import msgspec
import pytest

from operators.detectors.catalogue import supply_judges
from operators.detectors.events import EventDetectors
from operators.detectors.records import ScopeFinding
from operators.detectors.scopes import ScopeDetectors, ScopeDetectorsState
from operators.detectors.settings import DetectorSettings
from operators.detectors.supply import Supply
from schemas.durations import DAY_US, HOUR_US, rfc3339
from schemas.events import Arrived, Event, PoCreated
from schemas.rows import Signal
from tests.harness import START_US
from tests.tallies import all_tallies

SETTINGS = DetectorSettings()


def event(number: int, kind: str, at_us: int, **fields: object) -> Arrived:
    body = {"type": kind, "event_id": f"e{number}", "source": "x", "system": "supplier", "occurred_at": rfc3339(at_us)}
    return Arrived(at_us, "t", 0, number, at_us, msgspec.convert(body | fields, Event))  # type: ignore[arg-type] # a union


def purchase(
    number: int,
    supplier: str,
    at_us: int,
    *,
    after_h: float | None = 20,
    announced: bool = True,
    invoiced: float | None = 10,
    amount: str | None = "50.00",
    received: float = 10,
) -> list[Arrived]:
    """An order of 10 at 5.00 each, expected after a day; received `after_h` hours, invoiced an hour later."""
    po = {"po_id": f"po{number}", "supplier": supplier}
    lines = [{"sku": "a", "qty": 10, "unit_cost": "5.00"}]
    out = [event(number * 10, "po.created", at_us, **po, expected_at=rfc3339(at_us + DAY_US), lines=lines)]
    if announced:
        out.append(event(number * 10 + 1, "asn.received", at_us + HOUR_US, **po))
    if after_h is None:
        return out
    at = at_us + round(after_h * HOUR_US)
    out.append(event(number * 10 + 2, "goods.received", at, **po, lines=[{"sku": "a", "qty": received}]))
    if invoiced is not None:
        more = {"lines": [{"sku": "a", "qty": invoiced}]} | ({"amount": amount, "currency": "EUR"} if amount else {})
        out.append(event(number * 10 + 3, "supplier_invoice.received", at + HOUR_US, **po, **more))
    return out


def run(log: list[Arrived], *, keep: bool = False, step_us: int = HOUR_US) -> tuple[list[ScopeFinding], list[Signal]]:
    first, second = EventDetectors([Supply(SETTINGS.supply, "EUR")]), ScopeDetectors(_judges())
    out: list[ScopeFinding] = []
    signals: list[Signal] = []
    log = sorted(log)
    for now in range(START_US, log[-1].arrival_us + 2 * DAY_US, step_us):
        found = first.update([one for one in log if now - step_us <= one.arrival_us < now], [], now)
        signals += found.signals
        second.update(all_tallies(found))
        out += second.advance(now)
        if keep:
            kept, judged = first.snapshot(), msgspec.msgpack.encode(second.snapshot())
            first, second = EventDetectors([Supply(SETTINGS.supply, "EUR")]), ScopeDetectors(_judges())
            first.restore(kept)
            second.restore(msgspec.msgpack.decode(judged, type=ScopeDetectorsState))
    return out, signals


def _judges():  # noqa: ANN202 - the catalogue's
    policy = SETTINGS.policy
    return supply_judges(policy("supply.late"), policy("supply.unannounced"), policy("supply.mismatch"))


def usual() -> list[Arrived]:
    return [one for n in range(24) for one in purchase(n, f"s{n % 4}", START_US + n * 6 * HOUR_US)]


def kinds(found: list[ScopeFinding]) -> set[tuple[str, str]]:
    return {(finding.signal.kind, finding.signal.scope["supplier"]) for finding in found}


def test_a_supplier_that_delivers_late_is_found_when_the_third_is_overdue() -> None:
    late = [one for n in range(3) for one in purchase(100 + n, "s1", START_US + (30 + n) * HOUR_US, after_h=None)]
    found, _ = run([*usual(), *late])
    assert kinds(found) == {("supplier_delay", "s1")}
    due = START_US + (32 + 24 + 2) * HOUR_US
    assert due <= found[0].signal.found_at_us <= due + HOUR_US
    assert [impact.case_id for impact in found[0].impacts] == ["po100", "po101", "po102"]
    assert found[0].impacts[0].value == 50.0
    assert run([*usual(), *late], keep=True, step_us=HOUR_US // 2)[0] == found


def test_three_late_ones_in_a_row_are_found_though_many_were_in_time_just_before() -> None:
    """An order every half hour. Early ones are judged when they are due, too, so that the late ones stand together."""
    good = [one for n in range(25) for one in purchase(n, "s1", _hours(n / 2), invoiced=None)]
    late = [one for n in (12.2, 12.9, 13.4) for one in purchase(round(10 * n), "s1", _hours(n), after_h=None)]
    after = [one for n in range(30, 40) for one in purchase(n, "s1", _hours(n / 2), invoiced=None)]
    found, _ = run([*good, *late, *after], step_us=HOUR_US // 10)
    due = _hours(13.4 + 24 + 2)
    assert kinds(found) == {("supplier_delay", "s1")}
    assert due <= found[0].signal.found_at_us <= due + HOUR_US // 10
    assert {impact.case_id for finding in found for impact in finding.impacts} == {"po122", "po129", "po134"}


def _hours(number: float) -> int:
    return START_US + round(number * HOUR_US)


def test_as_many_late_ones_here_and_there_are_none() -> None:
    log = [
        one
        for n in range(30)
        for one in purchase(n, "s1", START_US + n * HOUR_US, after_h=None if n % 8 == 3 else 20, invoiced=None)
    ]
    assert run(log)[0] == []


def test_what_came_late_is_late_when_it_is_due_and_what_came_too_early_to_tell_is_not() -> None:
    detector = EventDetectors([Supply(SETTINGS.supply, "EUR")])
    log = [*purchase(1, "s1", START_US, after_h=27), *purchase(2, "s1", START_US, after_h=25.9)]
    log = sorted([*log, *purchase(3, "s1", START_US, after_h=2)])
    found = [tally for step in range(30) for tally in _late_between(detector, log, step)]
    assert found == [(25, 1.0, 3.0)], "all three at the 26th hour, two hours after they were expected"


def _late_between(detector: EventDetectors, log: list[Arrived], step: int) -> list[tuple[int, float, float]]:
    """What is counted of lateness in an hour: (hour, late, all)."""
    begin, end = START_US + step * HOUR_US, START_US + (step + 1) * HOUR_US
    out = detector.update([one for one in log if begin <= one.arrival_us < end], [], end)
    late = [tally for tally in all_tallies(out) if tally.metric == "po_late"]
    return [(step, sum(one.bad for one in late), sum(one.total for one in late))] if late else []


def test_what_was_ordered_before_the_log_is_matched_with_the_cost_that_was_announced() -> None:
    """No `po.created`: what one is to cost is known from the announcement."""
    lines = [{"sku": "a", "qty": 10, "unit_cost": "5.00"}]
    bad = []
    for n in range(3):
        po, at = {"po_id": f"po{n}", "supplier": "s1"}, START_US + n * HOUR_US
        bad += [
            event(n * 10, "asn.received", at, **po, lines=lines),
            event(n * 10 + 1, "goods.received", at + HOUR_US, **po, lines=[{"sku": "a", "qty": 10}]),
            event(n * 10 + 2, "supplier_invoice.received", at + 2 * HOUR_US, **po, amount="57.50", currency="EUR"),
        ]
    found, signals = run(bad)
    assert kinds(found) == {("supply_mismatch", "s1")}
    assert "worth 50.00 as announced and received, invoiced 57.50" in signals[0].explanation
    assert [impact.value for impact in found[0].impacts] == [50.0, 50.0, 50.0]


def test_what_is_ordered_counts_once_however_often_it_is_told_of() -> None:
    late = [one for n in range(6) for one in purchase(100 + n, "s2", START_US + (30 + n) * HOUR_US, after_h=None)]
    fields = ("po_id", "supplier", "expected_at", "lines")
    again = [
        event(9_000 + n, "po.created", one.arrival_us + 1, **{key: getattr(one.event, key) for key in fields})
        for n, one in enumerate(late)
        if isinstance(one.event, PoCreated)
    ]
    found, _ = run([*usual(), *late, *again])
    assert kinds(found) == {("supplier_delay", "s2")}
    impacts = [impact for finding in found for impact in finding.impacts]
    assert {(impact.units, impact.value, impact.currency) for impact in impacts} == {(10.0, 50.0, "EUR")}


def test_deliveries_without_announcement() -> None:
    bare = [one for n in range(6) for one in purchase(100 + n, "s2", START_US + (30 + n) * HOUR_US, announced=False)]
    found, _ = run([*usual(), *bare])
    assert kinds(found) == {("supplier_delay", "s2")}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"invoiced": 12, "amount": None}, "a: 10 received, 12 invoiced"),
        ({"amount": "57.50"}, "worth 50.00 as ordered and received, invoiced 57.50"),
        ({"received": 12, "invoiced": 12, "amount": "60.00"}, "a: 10 ordered, 12 received"),
        ({"received": 8, "invoiced": 10}, "a: 8 received, 10 invoiced"),
    ],
)
def test_documents_that_do_not_agree(wrong: dict[str, float], words: str) -> None:
    bad = [one for n in range(3) for one in purchase(100 + n, "s3", START_US + (30 + n) * HOUR_US, **wrong)]
    found, signals = run([*usual(), *bad])
    assert kinds(found) == {("supply_mismatch", "s3")}
    assert {signal.case_id for signal in signals} == {"po100", "po101", "po102"}
    assert words in signals[0].explanation


@pytest.mark.parametrize(
    "fine",
    [
        {"received": 6, "invoiced": 6, "amount": "30.00"},  # a delivery in parts, invoiced as such
        {"amount": "50.90"},  # within the tolerance
        {"invoiced": 10, "amount": None},
        {"invoiced": None},  # no invoice yet
    ],
)
def test_documents_that_agree(fine: dict[str, float]) -> None:
    good = [one for n in range(6) for one in purchase(100 + n, "s3", START_US + (30 + n) * HOUR_US, **fine)]
    found, signals = run([*usual(), *good])
    assert (found, signals) == ([], [])


RECEIVED, INVOICED = "goods.received", "supplier_invoice.received"


@pytest.mark.parametrize(
    ("documents", "differs"),
    [
        ([(RECEIVED, "d1", 1, 10), (INVOICED, "i1", 2, 10), (INVOICED, "i1", 2, 10)], ""),  # sent twice
        ([(RECEIVED, "d1", 1, 10), (INVOICED, "i1", 2, 10), (INVOICED, "i1", 9, 10)], ""),  # and once more a day later
        ([(RECEIVED, "d1", 1, 10), (RECEIVED, "d1", 1, 10), (INVOICED, "i1", 2, 10)], ""),
        (
            [(RECEIVED, "d1", 1, 5), (RECEIVED, "d1", 2, 5), (INVOICED, "i1", 3, 10)],
            "",
        ),  # one delivery note, two lorries
        ([(RECEIVED, "d1", 1, 10), (INVOICED, "i1", 2, 5), (INVOICED, "i2", 2, 5)], ""),
        ([(RECEIVED, "d1", 1, 10), (INVOICED, "i1", 2, 4), (INVOICED, "i1", 2, 6)], ""),  # in two messages
        ([(RECEIVED, "d1", 1, 10), (INVOICED, "i1", 2, 10), (INVOICED, "i2", 2, 10)], "a: 10 received, 20 invoiced"),
        ([(RECEIVED, "d1", 1, 10), (INVOICED, None, 2, 10), (INVOICED, None, 2, 10)], "a: 10 received, 20 invoiced"),
    ],
)
def test_a_document_that_is_told_of_again_is_one(
    documents: list[tuple[str, str | None, int, float]], differs: str
) -> None:
    po = {"po_id": "po1", "supplier": "s1"}
    log = [event(0, "po.created", int(START_US), **po, lines=[{"sku": "a", "qty": 10, "unit_cost": "5.00"}])]
    for number, (kind, document, hour, qty) in enumerate(documents, 1):
        more = {"amount": f"{5 * qty:.2f}", "currency": "EUR"} if kind == INVOICED else {}
        lines = [{"sku": "a", "qty": qty}]
        log.append(event(number, kind, START_US + hour * HOUR_US, **po, document_id=document, lines=lines, **more))
    for step_us in (HOUR_US, 5 * HOUR_US):
        _, signals = run(log, keep=step_us == HOUR_US, step_us=step_us)
        assert [signal.kind for signal in signals] == ["three_way_mismatch"] * bool(differs)
        assert all(differs in signal.explanation for signal in signals)


def test_an_order_is_forgotten_in_the_end() -> None:
    detector = Supply(SETTINGS.supply)
    host = EventDetectors([detector])
    host.update(purchase(1, "s1", START_US), [], START_US + 2 * DAY_US)
    assert detector.sizes() == {"purchase_orders": 1}
    host.update([], [], START_US + 70 * DAY_US)
    assert detector.sizes() == {"purchase_orders": 0}
