"""Freight that costs more than customers are charged for it: of one order, and of a carrier and channel."""

from collections.abc import Sequence
from math import log
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from operators.detectors.case_memory import CaseMemoryState
from operators.detectors.events import Collected, EventDetectors
from operators.detectors.freight import Freight, freight_judges
from operators.detectors.freight_usual import Amounts, Part, moved, usual_of
from operators.detectors.order_book import OrderBook
from operators.detectors.order_facts import OrderFacts
from operators.detectors.policy import Override
from operators.detectors.records import Impact, ScopeFinding
from operators.detectors.scopes import ScopeDetectors, ScopeDetectorsState
from operators.detectors.settings import DetectorSettings
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US, rfc3339
from schemas.events import Arrived, Event
from tests.harness import START_US
from tests.tallies import all_tallies

SETTINGS = DetectorSettings()
KEPT_US = 2 * DAY_US
BEGIN = START_US + 24 * HOUR_US


def event(at_us: int, kind: str, event_id: str, **fields: object) -> Arrived:
    body = {"type": kind, "event_id": event_id, "source": "x", "system": "oms", "occurred_at": rfc3339(at_us)}
    said = {name: value for name, value in fields.items() if value is not None}
    at_us = int(at_us)
    return Arrived(at_us, "t", 0, crc32(event_id.encode()), at_us, msgspec.convert(body | said, Event))


def order(
    name: str, at_us: int, charged: str | None, channel: str = "web", currency: str = "EUR", price: str = "20.00"
) -> Arrived:
    lines = [{"line_id": "1", "sku": "a", "qty": 2, "unit_price": price}]
    fields = {"order_id": name, "channel": channel, "currency": currency, "lines": lines, "freight_charged": charged}
    return event(at_us, "order.created", f"{name}-created", **fields)


def shipment(
    name: str,
    order_id: str,
    at_us: int,
    cost: str | None,
    carrier: str = "fast",
    currency: str | None = "EUR",
    again: str = "",
) -> Arrived:
    fields = {"shipment_id": name, "order_id": order_id, "carrier": carrier, "freight_cost": cost}
    return event(at_us, "shipment.dispatched", f"{name}-dispatched{again}", **fields, currency=currency)


def parts(settings: DetectorSettings = SETTINGS) -> tuple[EventDetectors, ScopeDetectors]:
    book, policy = OrderBook(KEPT_US), settings.policy
    first = EventDetectors([Freight(book, policy("margin.freight")), book])
    return first, ScopeDetectors(freight_judges(policy("margin.freight"), policy("margin.freight_over")))


def run(
    log_: Sequence[Arrived],
    *,
    keep: bool = False,
    step_us: int = 10 * MINUTE_US,
    settings: DetectorSettings = SETTINGS,
) -> list[ScopeFinding]:
    first, second = parts(settings)
    out: list[ScopeFinding] = []
    in_order = sorted(log_)
    for now in range(START_US, in_order[-1].arrival_us + DAY_US, step_us):
        events = [one for one in in_order if now - step_us <= one.arrival_us < now]
        second.update(all_tallies(first.update(events, [], now)))
        out += second.advance(now)
        if keep:
            kept, judged = first.snapshot(), msgspec.msgpack.encode(second.snapshot())
            first, second = parts(settings)
            first.restore(kept)
            second.restore(msgspec.msgpack.decode(judged, type=ScopeDetectorsState))
    return out


def counted(log_: Sequence[Arrived]) -> Collected:
    """What the first part says of a log."""
    return parts()[0].update(list(log_), [], log_[-1].arrival_us + 1)


def leaks(out: Collected) -> list[tuple[str, float, float]]:
    """(Order, cost, cost less charge) each time that an order's freight became known."""
    told = [tally.impact for tally in out.tallies if tally.metric == "freight"]
    return [(one.order_id, one.value, round(-(one.margin or 0), 2)) for one in told if one is not None]


def day(
    begin_us: int,
    hours: int,
    name: str,
    *,
    times: float = 1.0,
    free: Sequence[str] = (),
    carriers: Sequence[str] = ("fast", "slow"),
    currency: str = "EUR",
    price: str = "20.00",
) -> list[Arrived]:
    """Twenty parcels an hour, dealt to carriers and two channels, at one of five prices; one in five ships free."""
    found = []
    for number in range(hours * 20):
        at, order_id = begin_us + number * 3 * MINUTE_US, f"{name}{number}"
        carrier, channel = carriers[number % len(carriers)], ("web", "market")[number // len(carriers) % 2]
        cost = (4.0 + number % 5 * 0.5) * (times if carrier == "fast" else 1.0)
        charged = "0.00" if channel in free or number // 4 % 5 == 0 else "4.90"
        found.append(order(order_id, at, charged, channel, currency, price))
        found.append(shipment(f"s-{order_id}", order_id, at + MINUTE_US, f"{cost:.2f}", carrier, currency))
    return found


def names(found: Sequence[ScopeFinding]) -> dict[str, float]:
    """What each named order is said to have lost at last."""
    return {impact.order_id: impact.value for one in found for impact in one.impacts}


# --- one order ---------------------------------------------------------------------------------------------


def test_all_shipments_of_an_order_are_held_against_what_was_charged_once() -> None:
    at = START_US
    log_ = [
        order("o", at, "4.90"),
        shipment("s1", "o", at + 1, "3.10"),
        shipment("s1", "o", at + 2, "3.10", again="-again"),
        shipment("s2", "o", at + 3, "4.05", "slow", None),
    ]
    out = counted(log_)
    assert leaks(out) == [("o", 3.1, -1.8), ("o", 7.15, 2.25)]
    scopes = [tally.scope for tally in out.tallies]
    assert scopes == [(("carrier", "fast"), ("channel", "web")), (("carrier", "slow"), ("channel", "web"))]


@pytest.mark.parametrize(
    "log_",
    [
        [order("o", START_US, None), shipment("s", "o", START_US + 1, "9.00")],
        [order("o", START_US, "4.90"), shipment("s", "o", START_US + 1, None)],
        [shipment("s", "o", START_US, "9.00")],
        [shipment("s1", "o", START_US, "9.00"), order("o", START_US + 1, "0"), shipment("s2", "o", START_US + 2, "9")],
        [order("o", START_US, "4.90"), shipment("s", "o", START_US + 1, "9.00", currency="SEK")],
    ],
    ids=["nothing charged is said", "no cost is said", "no order", "a shipment before its order", "another currency"],
)
def test_what_cannot_be_held_against_each_other_is_not_judged(log_: list[Arrived]) -> None:
    out = counted(log_)
    assert all_tallies(out) == []
    assert out.signals == []


def test_an_order_with_a_shipment_in_another_currency_is_judged_no_more() -> None:
    at = START_US
    costs = (("s1", "3.00", "EUR"), ("s2", "3.00", "SEK"), ("s3", "9.00", "EUR"))
    log_ = [order("o", at, "0"), *(shipment(s, "o", at + n, cost, currency=c) for n, (s, cost, c) in enumerate(costs))]
    assert leaks(counted(log_)) == [("o", 3.0, 3.0)]


def test_a_shipment_after_its_order_was_forgotten_is_not_judged() -> None:
    made, late = order("o", START_US, "4.90"), START_US + KEPT_US + 2 * HOUR_US
    assert leaks(counted([made, shipment("s", "o", START_US + KEPT_US - HOUR_US, "9.00")])) == [("o", 9.0, 4.1)]
    out = counted([made, shipment("s", "o", late, "9.00")])
    assert all_tallies(out) == []
    again = [made, shipment("s", "o", late, "90.00"), order("o", late + 1, "4.90"), shipment("t", "o", late + 2, "9")]
    assert all_tallies(counted(again)) == [], "the order came when a shipment of it was under way"


def test_freight_that_the_goods_cannot_bear_is_told_once() -> None:
    at = START_US
    costs = ["14.00", "10.90", "0.10", "5.00"]
    log_ = [order("o", at, "4.90"), *(shipment(f"s{n}", "o", at + 1 + n, cost) for n, cost in enumerate(costs))]
    out = counted(log_)
    assert [(one.kind, one.case_id, one.arrival_us) for one in out.signals] == [("freight_over_share", "o", at + 3)]
    assert out.signals[0].observed == "20.10 EUR lost on freight", "20.00 are half of what its goods sell for"
    assert "Order o" in out.signals[0].explanation
    gratis = [order("o", at, "0", price="0.00"), shipment("s", "o", at + 1, "9.00")]
    assert counted(gratis).signals == [], "what is given away bears no share"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["order", "shipment"]),
        st.integers(0, 3),
        st.integers(0, 4),
        st.sampled_from([None, "0", "4.90", "12.34", "-1.5"]),
        st.sampled_from(["EUR", "EUR", "EUR", None, "SEK"]),
    ),
    max_size=25,
)


def log_of(steps: list[tuple[str, int, int, str | None, str | None]]) -> list[Arrived]:
    found = []
    for number, (kind, which, parcel, money, currency) in enumerate(steps):
        at = START_US + number * SECOND_US
        if kind == "order":
            made = order(f"o{which}", at, money)
            found.append(msgspec.structs.replace(made, offset=number))
        else:
            sent = shipment(f"o{which}-s{parcel}", f"o{which}", at, money, currency=currency, again=str(number))
            found.append(msgspec.structs.replace(sent, offset=number))
    return found


def oracle(steps: list[tuple[str, int, int, str | None, str | None]]) -> list[tuple[str, float, float]]:
    """The same in plain words: charged at the first order, costs by shipment, nothing after what can't be summed."""
    charged: dict[int, float | None] = {}
    costs: dict[int, dict[int, float]] = {}
    said = []
    for kind, which, parcel, money, currency in steps:
        if kind == "order":
            charged.setdefault(which, None if money is None else float(money))
            continue
        usable = charged.setdefault(which, None)
        if usable is None or money is None:
            continue
        if currency == "SEK":
            charged[which] = None
        elif parcel not in costs.setdefault(which, {}):
            costs[which][parcel] = float(money)
            cost = sum(costs[which].values())
            said.append((f"o{which}", round(cost, 2), round(cost - usable, 2)))
    return said


@given(STEPS, st.sets(st.integers(1, 24)), st.booleans())
@hypothesis_settings(max_examples=150)
def test_orders_come_to_what_a_plain_sum_says_however_the_log_is_cut(
    steps: list[tuple[str, int, int, str | None, str | None]], cuts: set[int], resumes: bool
) -> None:
    log_, first, said = log_of(steps), parts()[0], []
    signals = []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 10**6], strict=True):
        batch = log_[begin:end]
        out = first.update(batch, [], batch[-1].arrival_us if batch else START_US)
        said += leaks(out)
        signals += out.signals
        if resumes:
            kept = msgspec.msgpack.encode(first.snapshot())
            first = parts()[0]
            first.restore(msgspec.msgpack.decode(kept, type=type(first.snapshot())))
    assert said == oracle(steps)
    assert signals == (counted(log_).signals if log_ else [])


# --- what is usual, and what moved -------------------------------------------------------------------------


AMOUNTS = st.tuples(st.integers(100, 2_000), st.integers(0, 1_000), st.integers(3, 5)).map(
    lambda one: (one[0] / 100, one[1] / 100, one[2])
)


@given(st.lists(AMOUNTS, min_size=1, max_size=60), st.lists(AMOUNTS, max_size=40))
@hypothesis_settings(max_examples=100)
def test_the_end_that_moved_is_the_most_surprising_of_all_ends(learnt: list[Amounts], window: list[Amounts]) -> None:
    usual, least, rise = usual_of(learnt), 3, 0.15
    parts_ = []
    for number, (cost, charged, band) in enumerate(window):
        parts_.append(Part(number))
        order_ = Impact(order_id=str(number), value=cost, margin=charged - cost, currency="EUR", tag=str(band))
        parts_[-1].add(order_, usual)
    charges = {band: [charged for _, charged, of in learnt if of == band] for band in {one[2] for one in learnt}}
    means = {band: sum(some) / len(some) for band, some in charges.items() if len(some) >= 5}
    mean = sum(charged for _, charged, _ in learnt) / len(learnt)
    expected = {
        band: means[min(means, key=lambda one: (abs(one - band), one))] if means else mean for band in (3, 4, 5)
    }
    best = 0.0
    for many in range(least, len(window) + 1):
        end = window[-many:]
        lacks = [expected[band] - charged for _, charged, band in end]
        more = sum(cost - usual.cost for cost, _, _ in end) + sum(lacks)
        if more < rise * many * usual.cost - 1e-9:
            continue
        has_fallen = sum(lacks) >= 0.5 * sum(expected[band] for _, _, band in end) - 1e-9
        sides = ((usual.costs, [cost for cost, _, _ in end]), (usual.lacks, lacks if has_fallen else []))
        for rulers, amounts_ in sides:
            for ruler in rulers if amounts_ else ():
                places = [(amount - ruler.zero) / (ruler.one - ruler.zero) for amount in amounts_]
                best = max(best, bound(sum(min(1.0, max(0.0, place)) for place in places) / many, ruler.mean, many))
    assert moved(parts_, least, rise).score == pytest.approx(best, abs=1e-6)


def bound(share: float, mean: float, many: int) -> float:
    """Hoeffding's bound, as -log10."""
    if share <= mean:
        return 0.0
    down = (1 - share) * log((1 - share) / (1 - mean)) if share < 1 else 0.0
    return many * (share * log(share / mean) + down) / log(10)


def test_a_tariff_that_is_wrongly_applied_is_found_with_its_carrier_and_its_orders() -> None:
    log_ = [*day(START_US, 24, "u"), *day(BEGIN, 6, "w", times=2), *day(BEGIN + 6 * HOUR_US, 6, "v")]
    found = run(log_)
    assert {one.signal.kind for one in found} == {"margin_leak"}
    leaking = [one for one in found if one.signal.detector == "freight_leak"]
    assert {tuple(one.signal.scope.items()) for one in leaking} == {
        (("carrier", "fast"), ("channel", channel)) for channel in ("web", "market")
    }
    assert min(one.signal.arrival_us for one in leaking) <= BEGIN + 3 * HOUR_US
    assert all(BEGIN <= one.signal.opened_at_us <= BEGIN + 10 * MINUTE_US for one in leaking)
    wrong = {f"w{number}" for number in range(120) if number % 2 == 0}
    named = names(leaking)
    assert wrong <= set(named)
    assert len(set(named) - wrong) <= 6, "those of the last hours before it that cost more than the mean"
    assert sum(named[one] for one in wrong) == pytest.approx(60 * 5.0, rel=0.02)
    assert [one.signal.closed_at_us is not None for one in leaking[-2:]] == [True, True]
    assert "the carrier charges" in leaking[0].signal.explanation
    assert leaking[0].signal.evidence


def test_however_it_is_cut_and_resumed_the_findings_are_the_same() -> None:
    log_ = [*day(START_US, 24, "u"), *day(BEGIN, 4, "w", times=2)]
    found = run(log_)
    assert found
    assert run(log_, keep=True) == found
    assert run(log_, step_us=3 * MINUTE_US) == found
    assert run(log_, step_us=47 * MINUTE_US, keep=True) == found


def test_where_customers_are_charged_less_it_is_the_channel() -> None:
    found = run([*day(START_US, 24, "u"), *day(BEGIN, 8, "w", free=["market"])])
    assert {tuple(one.signal.scope.items()) for one in found} == {(("channel", "market"),)}
    assert all("customers are charged" in one.signal.explanation for one in found)
    assert len({one.signal.signal_id for one in found}) == 2, "of two carriers"
    assert all(lost == pytest.approx(3.92, abs=0.1) for lost in names(found).values())


def bought(begin_us: int, orders: int, name: str, small: int) -> list[Arrived]:
    """A parcel a minute; of ten orders `small` are below the value above which shipping is free."""
    found = []
    for number in range(orders):
        at, is_small = begin_us + number * MINUTE_US, number % 10 < small
        found.append(
            order(f"{name}{number}", at, "4.90" if is_small else "0.00", price="20.00" if is_small else "80.00")
        )
        found.append(shipment(f"s-{name}{number}", f"{name}{number}", at + MINUTE_US, f"{4 + number % 3}.00"))
    return found


def test_that_more_is_bought_at_once_is_no_leak_and_that_all_ships_free_is_one() -> None:
    usual = bought(START_US, 24 * 60, "u", small=8)
    assert run([*usual, *bought(BEGIN, 6 * 60, "w", small=1)]) == [], "larger orders were free before"
    free = [order(f"f{n}", BEGIN + n * MINUTE_US, "0.00", price="20.00") for n in range(120)]
    free += [shipment(f"t{n}", f"f{n}", BEGIN + (n + 1) * MINUTE_US, "5.00") for n in range(120)]
    assert {one.signal.kind for one in run([*usual, *free])} == {"margin_leak"}


@pytest.mark.parametrize("times", [1.0, 1.1, 0.5])
def test_what_is_as_usual_or_cheaper_is_no_leak(times: float) -> None:
    assert run([*day(START_US, 24, "u"), *day(BEGIN, 12, "w", times=times)]) == []


def test_dearer_freight_that_customers_are_charged_for_is_no_leak() -> None:
    dear = [order(f"d{n}", BEGIN + n * MINUTE_US, "9.90") for n in range(60)]
    dear += [shipment(f"t{n}", f"d{n}", BEGIN + (n + 1) * MINUTE_US, "9.90") for n in range(60)]
    assert run([*day(START_US, 24, "u"), *dear]) == []


def test_nothing_is_said_before_what_is_usual_is_known() -> None:
    assert run(day(START_US, 10, "w", times=2)) == [], "it was always so"
    young = run([*day(START_US, 6, "u"), *day(START_US + 6 * HOUR_US, 1, "w", times=2)])
    assert young == [], "twenty of each carrier and channel have left the window"


def test_a_leak_that_began_before_it_was_known_what_is_usual_is_told_from_its_beginning() -> None:
    begin = START_US + 5 * HOUR_US
    log_ = [*day(START_US, 5, "u", carriers=("fast",)), *day(begin, 6, "w", times=2, carriers=("fast",))]
    rule = msgspec.structs.replace(SETTINGS.margin.freight, young=44)
    settings = DetectorSettings(margin=msgspec.structs.replace(SETTINGS.margin, freight=rule))
    found = [one for one in run(log_, settings=settings) if one.signal.detector == "freight_leak"]
    assert min(one.signal.found_at_us for one in found) >= begin + HOUR_US, "44 of a channel were two hours old"
    assert all(one.signal.opened_at_us < begin + 15 * MINUTE_US for one in found)


def test_currencies_are_not_held_against_each_other() -> None:
    crowns = day(START_US, 24, "k", times=11, carriers=("fast",), currency="SEK", price="200.00")
    both = sorted([*day(START_US, 24, "u"), *crowns])
    assert run(both) == []
    wrong = day(BEGIN, 4, "w", times=22, carriers=("fast",), currency="SEK", price="200.00")
    found = run([*both, *wrong])
    assert found
    assert {impact.currency for one in found for impact in one.impacts} == {"SEK"}
    assert "SEK" in found[0].signal.expected


def test_what_has_lasted_long_is_the_tariff() -> None:
    rule = msgspec.structs.replace(SETTINGS.margin.freight, accepted=6 * HOUR_US)
    settings = DetectorSettings(margin=msgspec.structs.replace(SETTINGS.margin, freight=rule))
    found = run([*day(START_US, 24, "u"), *day(BEGIN, 30, "w", times=2)], settings=settings)
    leaking = [one.signal for one in found if one.signal.detector == "freight_leak"]
    assert len({one.signal_id for one in leaking}) == 2, "one of each channel, and none after it was learnt"
    closed = [one.closed_at_us for one in leaking if one.closed_at_us is not None]
    assert len(closed) == 2
    assert max(closed) <= BEGIN + 9 * HOUR_US


def test_other_thresholds_hold_where_they_are_set() -> None:
    calm = Override(carrier="fast", channel="web", set={"margin.freight.rise": 5.0, "margin.freight.share": 0.01})
    settings = DetectorSettings(override=[calm])
    found = run([*day(START_US, 24, "u"), *day(BEGIN, 4, "w", times=2)], settings=settings)
    leaking = {one.signal.scope["channel"] for one in found if one.signal.detector == "freight_leak"}
    assert leaking == {"market"}
    first = parts(settings)[0]
    log_ = [order("o", START_US, "0"), shipment("s", "o", START_US + 1, "1.00")]
    assert [one.kind for one in first.update(log_, [], START_US + 2).signals] == ["freight_over_share"]


def test_many_orders_that_cannot_bear_their_freight_are_found_on_the_first_morning() -> None:
    wrong = [order(f"o{n}", START_US + n * MINUTE_US, "0") for n in range(30)]
    wrong += [shipment(f"s{n}", f"o{n}", START_US + (n + 1) * MINUTE_US, "25.00") for n in range(30)]
    found = run(wrong)
    assert {one.signal.detector for one in found} == {"freight_over_share"}
    assert found[0].signal.kind == "margin_leak"
    assert found[0].signal.scope == {"carrier": "fast", "channel": "web"}
    assert names(found) == {f"o{n}": 25.0 for n in range(30)}


def test_a_scope_keeps_no_more_than_it_says() -> None:
    second = parts()[1]
    for minute in range(30):
        out = Collected()
        for number in range(100):
            at = START_US + minute * MINUTE_US + number
            impact = Impact(order_id=f"{minute}-{number}", value=4.0 + number % 7, margin=0.0, currency="EUR")
            out.bad("freight", (("carrier", "fast"),), at, at, f"e{minute}-{number}", impact=impact)
        second.update(out.told())
        second.advance(START_US + (minute + 1) * MINUTE_US)
    kept = next(one for one in second.snapshot().kept if one.detector == "freight_leak")
    window, _, usual, *_ = msgspec.msgpack.decode(kept.state)
    assert len(window) == 1_000
    assert 200 <= len(usual["EUR"][0]) <= 220


# --- what was kept before ----------------------------------------------------------------------------------


def test_orders_kept_before_freight_was_known_are_read() -> None:
    book = OrderBook(KEPT_US)
    host = EventDetectors([book])
    host.update([order("o", START_US, "4.90")], [], START_US + 1)
    kept = msgspec.msgpack.decode(book.snapshot(), type=CaseMemoryState)
    fields = OrderFacts.__struct_fields__.index("freight_charged")
    older = {case: msgspec.msgpack.encode(msgspec.msgpack.decode(raw)[:fields]) for case, raw in kept.cases.items()}
    first = EventDetectors([Freight(book, SETTINGS.policy("margin.freight")), book])
    book.restore(msgspec.msgpack.encode(CaseMemoryState(kept.version, older, kept.looks)))
    facts = book.get("o")
    assert facts is not None
    assert (facts.goods, facts.freight_charged, facts.freight) == (40.0, None, {})
    sent = [shipment("s", "o", START_US + 2, "9.00")]
    assert all_tallies(first.update(sent, [], START_US + 3)) == []
