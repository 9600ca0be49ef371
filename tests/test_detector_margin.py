"""Prices that can't be meant, and lines below cost."""

import msgspec
import pytest

from operators.detectors.events import EventDetectors
from operators.detectors.margin import margin_judges
from operators.detectors.order_book import OrderBook
from operators.detectors.prices import Prices, PublishedPrices
from operators.detectors.records import ScopeFinding
from operators.detectors.scopes import ScopeDetectors, ScopeDetectorsState
from operators.detectors.settings import DetectorSettings
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, rfc3339
from schemas.events import Arrived, Event
from tests.harness import START_US
from tests.tallies import all_tallies

SETTINGS = DetectorSettings()


def event(number: int, kind: str, at_us: int, **fields: object) -> Arrived:
    body = {"type": kind, "event_id": f"e{number}", "source": "x", "system": "ecom", "occurred_at": rfc3339(at_us)}
    return Arrived(at_us, "t", 0, number, at_us, msgspec.convert(body | fields, Event))  # type: ignore[arg-type] # a union


def order(
    number: int,
    at_us: int,
    price: float,
    sku: str = "a",
    channel: str = "web",
    cost: float | None = 12,
    currency: str | None = "EUR",
) -> Arrived:
    line = {"line_id": "1", "sku": sku, "qty": 2, "unit_price": f"{price:.2f}"}
    lines = [line | ({"unit_cost": f"{cost:.2f}"} if cost is not None else {})]
    fields = {"order_id": f"o{number}", "channel": channel, "currency": currency, "customer_id": "c", "lines": lines}
    return event(number, "order.created", at_us, **fields)


def parts() -> tuple[EventDetectors, ScopeDetectors]:
    book = OrderBook(7 * DAY_US)
    policy = SETTINGS.policy
    judges = margin_judges(
        policy("margin.price"), policy("margin.below_cost"), policy("margin.freight"), policy("margin.freight_over")
    )
    return EventDetectors([book, Prices(book), PublishedPrices()]), ScopeDetectors(judges)


def run(log: list[Arrived], *, keep: bool = False, step_us: int = 10 * MINUTE_US) -> list[ScopeFinding]:
    first, second = parts()
    out: list[ScopeFinding] = []
    log = sorted(log)
    for now in range(START_US, log[-1].arrival_us + DAY_US, step_us):
        events = [one for one in log if now - step_us <= one.arrival_us < now]
        second.update(all_tallies(first.update(events, [], now)))
        out += second.advance(now)
        if keep:
            kept, judged = first.snapshot(), msgspec.msgpack.encode(second.snapshot())
            first, second = parts()
            first.restore(kept)
            second.restore(msgspec.msgpack.decode(judged, type=ScopeDetectorsState))
    assert not any(impact.tag for one in out for impact in one.impacts), "tags are for second parts alone"
    return out


def usual(hours: int = 30, skus: str = "abcd") -> list[Arrived]:
    """Twelve orders an hour of some items, in two channels, at prices that move a little."""
    return [
        order(n, START_US + n * 5 * MINUTE_US, 20 + n % 5, skus[n % len(skus)], ("web", "market")[n // len(skus) % 2])
        for n in range(hours * 12)
    ]


MANY = "abcdefghij"


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


def in_sek(number: int, at_us: int, price: float) -> Arrived:
    return order(number, at_us, 11 * price, channel="market", cost=11 * 12, currency="SEK")


def test_a_channel_that_sells_in_two_currencies_has_a_usual_price_in_each() -> None:
    sek = [in_sek(6_000 + n, START_US + (n * 30 + 7) * MINUTE_US, 20) for n in range(60)]
    published = [
        event(5_000 + n, "price.changed", BEGIN + n, sku="a", channel="market", price=price, currency=currency)
        for n, (price, currency) in enumerate([("220.00", "SEK"), ("21.00", "EUR")])
    ]
    assert run([*usual(), *sek, *published]) == []
    wrong = [in_sek(7_000 + n, BEGIN + n * MINUTE_US, 2) for n in range(3)]
    both = [order(8_000 + n, BEGIN + n * MINUTE_US + 1, 2, channel="market") for n in range(3)]
    found = run([*usual(), *sek, *wrong, *both])
    assert {one.signal.kind for one in found} == {"price_error"}
    assert len({one.signal.signal_id for one in found}) == 2
    named = {impact.order_id: (impact.value, impact.currency) for one in found for impact in one.impacts}
    assert {named[f"o{number}"] for number in range(7_000, 7_003)} == {(440.0, "SEK")}
    assert {currency for _, currency in named.values()} == {"EUR", "SEK"}
    assert run([*usual(), *sek, *wrong, *both], keep=True) == found


def test_where_orders_say_no_currency_a_published_price_is_held_against_what_they_say() -> None:
    bare = [order(n, START_US + n * 10 * MINUTE_US, 20, currency=None) for n in range(30)]
    slip = event(5_000, "price.changed", BEGIN, sku="a", channel="web", price="2.20", currency="EUR")
    assert [one.signal.kind for one in run([*bare, slip])] == ["price_error", "price_error"]


def test_a_published_price_is_found_before_anybody_buys() -> None:
    slip = event(5_000, "price.changed", BEGIN, sku="b", channel="web", price="2.20", currency="EUR")
    found = run([*usual(), slip])
    assert [one.signal.kind for one in found] == ["price_error", "price_error"]
    assert found[0].signal.found_at_us <= BEGIN + MINUTE_US
    assert found[0].signal.evidence == ["e5000"]
    assert "published" in found[0].signal.explanation


def test_a_published_price_without_a_channel_is_held_against_what_each_channel_sold_at() -> None:
    slips = [event(5_000, "price.changed", BEGIN, sku="b", price="9.90", currency="EUR")]
    lines = [order(5_001 + n, BEGIN + (5 + n) * MINUTE_US, 9.9 * (0.95 + n / 40), "b", "market") for n in range(2)]
    mended = event(5_010, "price.changed", BEGIN + HOUR_US, sku="b", price="20.00", currency="EUR")
    found = run([*usual(), *slips, *lines, mended])
    assert [one.signal.scope for one in found[:2]] == [
        {"sku": "b", "channel": "market"},
        {"sku": "b", "channel": "web"},
    ]
    assert {one.signal.found_at_us for one in found} == {BEGIN + MINUTE_US}, "less than half the usual, and below cost"
    assert [impact.order_id for one in found for impact in one.impacts] == ["o5001", "o5002"]
    assert run([*usual(), *slips, *lines, mended], keep=True) == found
    above = event(5_000, "price.changed", BEGIN, sku="b", price="12.10", currency="EUR")
    assert run([*usual(), above]) == []


def test_a_price_list_that_slipped_is_found_however_many_items_it_has() -> None:
    slips = [
        event(5_000 + n, "price.changed", BEGIN, sku=sku, price="2.00", currency="EUR") for n, sku in enumerate(MANY)
    ]
    found = run([*usual(skus=MANY), *slips])
    assert {one.signal.scope["sku"] for one in found} == set(MANY)
    leak = [order(1_000 + n, BEGIN - (40 - n) * MINUTE_US, 10.5, MANY[n % 10], "market") for n in range(40)]
    found = run([*usual(skus=MANY), *leak, *slips[:1]])
    told = {(one.signal.scope["sku"], one.signal.scope["channel"]) for one in found if one.signal.kind == "price_error"}
    assert told == {("a", "market"), ("a", "web")}, "leak or no leak"


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


def test_lines_below_cost_of_a_few_items_are_no_leak_of_the_channel() -> None:
    leak = [order(1_000 + n, BEGIN + n * 2 * MINUTE_US, 10.5, "ab"[n % 2], "market") for n in range(40)]
    assert run([*usual(), *leak]) == []


def test_what_a_leak_explains_is_no_price_error_when_it_is_over() -> None:
    leak = [order(1_000 + n, BEGIN + n * MINUTE_US, 10.5, MANY[n % 10], "market") for n in range(40)]
    leak += [order(2_000 + n, BEGIN + (20 + n) * MINUTE_US, 6.0, "c", "market") for n in range(2)]
    found = run([*usual(skus=MANY), *leak, order(3_000, BEGIN + 3 * HOUR_US, 21, "c", "market")])
    assert {one.signal.kind for one in found} == {"margin_leak"}


@pytest.mark.parametrize("published", [False, True])
def test_what_was_given_away_and_is_sold_now_has_no_wrong_price(*, published: bool) -> None:
    free = [order(n, START_US + n * HOUR_US, 0.0, sku="gift", cost=None) for n in range(8)]
    sold = [order(20 + n, START_US + (20 + n) * HOUR_US, 4.0, sku="gift", cost=None) for n in range(4)]
    if published:
        price = {"sku": "gift", "channel": "web", "price": "4.00", "currency": "EUR"}
        sold.append(event(99, "price.changed", START_US + 19 * HOUR_US, **price))
    assert run([*free, *sold]) == []


def test_what_is_suddenly_given_away_is_a_wrong_price() -> None:
    usual = [order(n, START_US + n * HOUR_US, 20.0, cost=None) for n in range(8)]
    found = run([*usual, *(order(20 + n, START_US + (20 + n) * HOUR_US, 0.0, cost=None) for n in range(3))])
    assert {finding.signal.kind for finding in found} == {"price_error"}
    assert [impact.value for finding in found for impact in finding.impacts] == [40.0] * 3
