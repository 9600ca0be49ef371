"""Prices that can't be meant, and lines below cost."""

import msgspec
import pytest

from operators.detectors.events import EventDetectors
from operators.detectors.margin import Prices, PublishedPrices, margin_judges
from operators.detectors.order_book import OrderBook
from operators.detectors.records import ScopeFinding
from operators.detectors.scopes import ScopeDetectors, ScopeDetectorsState
from operators.detectors.settings import DetectorSettings
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, rfc3339
from schemas.events import Arrived, Event
from tests.harness import START_US

SETTINGS = DetectorSettings()


def event(number: int, kind: str, at_us: int, **fields: object) -> Arrived:
    body = {"type": kind, "event_id": f"e{number}", "source": "x", "system": "ecom", "occurred_at": rfc3339(at_us)}
    return Arrived(at_us, "t", 0, number, at_us, msgspec.convert(body | fields, Event))  # type: ignore[arg-type] # a union


def order(
    number: int, at_us: int, price: float, sku: str = "a", channel: str = "web", cost: float | None = 12
) -> Arrived:
    line = {"line_id": "1", "sku": sku, "qty": 2, "unit_price": f"{price:.2f}"}
    lines = [line | ({"unit_cost": f"{cost:.2f}"} if cost is not None else {})]
    fields = {"order_id": f"o{number}", "channel": channel, "currency": "EUR", "customer_id": "c", "lines": lines}
    return event(number, "order.created", at_us, **fields)


def parts() -> tuple[EventDetectors, ScopeDetectors]:
    book = OrderBook(7 * DAY_US)
    policy = SETTINGS.policy
    judges = margin_judges(policy("margin.price"), policy("margin.below_cost"))
    return EventDetectors([book, Prices(book), PublishedPrices()]), ScopeDetectors(judges)


def run(log: list[Arrived], *, keep: bool = False, step_us: int = 10 * MINUTE_US) -> list[ScopeFinding]:
    first, second = parts()
    out: list[ScopeFinding] = []
    log = sorted(log)
    for now in range(START_US, log[-1].arrival_us + DAY_US, step_us):
        events = [one for one in log if now - step_us <= one.arrival_us < now]
        second.update(first.update(events, [], now).all_tallies())
        out += second.advance(now)
        if keep:
            kept, judged = first.snapshot(), msgspec.msgpack.encode(second.snapshot())
            first, second = parts()
            first.restore(kept)
            second.restore(msgspec.msgpack.decode(judged, type=ScopeDetectorsState))
    return out


def usual(hours: int = 30) -> list[Arrived]:
    """Twelve orders an hour of four items, in two channels, at prices that move a little."""
    return [
        order(n, START_US + n * 5 * MINUTE_US, 20 + n % 5, f"{'abcd'[n % 4]}", ("web", "market")[n // 4 % 2])
        for n in range(hours * 12)
    ]


BEGIN = START_US + 24 * HOUR_US


@pytest.mark.parametrize("price", [2.2, 6.9, 60])
def test_a_slip_of_the_decimal_point(price: float) -> None:
    wrong = [order(1_000 + n, BEGIN + n * 7 * MINUTE_US, price) for n in range(5)]
    found = [one for one in run([*usual(), *wrong]) if one.signal.kind == "price_error"]
    assert found[0].signal.scope == {"sku": "a", "channel": "web"}
    assert found[0].signal.found_at_us <= BEGIN + 8 * MINUTE_US, "with the second line"
    named = [impact for finding in found for impact in finding.impacts]
    assert [impact.order_id for impact in named] == [f"o{1_000 + n}" for n in range(5)]
    assert {impact.value for impact in named} <= {40.0, 42.0, 44.0, 46.0, 48.0}, "at the right price"
    assert found[-1].signal.closed_at_us is not None


def test_a_published_price_is_found_before_anybody_buys() -> None:
    slip = event(5_000, "price.changed", BEGIN, sku="b", channel="web", price="2.20", currency="EUR")
    found = run([*usual(), slip])
    assert [one.signal.kind for one in found] == ["price_error", "price_error"]
    assert found[0].signal.found_at_us <= BEGIN + MINUTE_US
    assert found[0].signal.evidence == ["e5000"]
    assert "published" in found[0].signal.explanation


@pytest.mark.parametrize("price", [12, 15, 40])
def test_markdowns_and_rises_within_reason_are_no_errors(price: float) -> None:
    sale = [order(1_000 + n, BEGIN + n * 7 * MINUTE_US, price) for n in range(20)]
    published = event(5_000, "price.changed", BEGIN, sku="a", channel="web", price=f"{price:.2f}", currency="EUR")
    assert run([*usual(), published, *sale]) == []


def test_before_prices_are_known_the_cost_tells() -> None:
    found = run([order(n, START_US + n * MINUTE_US, 1.5) for n in range(2)])
    assert found[0].signal.kind == "price_error"
    assert "cost" in found[0].signal.expected
    assert run([order(n, START_US + n * MINUTE_US, 1.5, cost=None) for n in range(2)]) == []


def test_lines_below_cost_all_over_a_channel() -> None:
    leak = [order(1_000 + n, BEGIN + n * 2 * MINUTE_US, 10.5, "abcd"[n % 4], "market") for n in range(40)]
    found = run([*usual(), *leak])
    assert {one.signal.kind for one in found} == {"margin_leak"}
    assert found[0].signal.scope == {"channel": "market"}
    assert found[0].signal.found_at_us <= BEGIN + 30 * MINUTE_US
    named = {impact.order_id for finding in found for impact in finding.impacts}
    assert named == {f"o{1_000 + n}" for n in range(40)}
    assert found[0].impacts[0].margin == -3.0
    assert run([*usual(), *leak], keep=True) == found
