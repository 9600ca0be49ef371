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
from schemas.events import Arrived, Event
from schemas.rows import Signal
from tests.harness import START_US

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
    first, second = EventDetectors([Supply(SETTINGS.supply)]), ScopeDetectors(_judges())
    out: list[ScopeFinding] = []
    signals: list[Signal] = []
    log = sorted(log)
    for now in range(START_US, log[-1].arrival_us + 2 * DAY_US, step_us):
        found = first.update([one for one in log if now - step_us <= one.arrival_us < now], [], now)
        signals += found.signals
        second.update(found.all_tallies())
        out += second.advance(now)
        if keep:
            kept, judged = first.snapshot(), msgspec.msgpack.encode(second.snapshot())
            first, second = EventDetectors([Supply(SETTINGS.supply)]), ScopeDetectors(_judges())
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


def test_an_order_is_forgotten_in_the_end() -> None:
    detector = Supply(SETTINGS.supply)
    host = EventDetectors([detector])
    host.update(purchase(1, "s1", START_US), [], START_US + 2 * DAY_US)
    assert detector.sizes() == {"purchase_orders": 1}
    host.update([], [], START_US + 70 * DAY_US)
    assert detector.sizes() == {"purchase_orders": 0}
