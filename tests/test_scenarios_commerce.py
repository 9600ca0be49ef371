"""Breakdowns of returns, supply, promotions, prices and postings: what the log shows, what the truth says."""

from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import pytest

from scenarios.settings import PRESETS
from scenarios.simulate import BreakdownSpec, SimulationSettings, simulate
from scenarios.truth import TruthRecord
from schemas import events as ev
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration, Instant
from schemas.errors import SettingsError
from tests.simulated_days import Day, occurred

#: A clock may be off by this much, and a message be dated so.
SKEW_US = 300_000


class Broken(Day):
    """A day with one breakdown, and its truth."""

    def __init__(self, out: Path, spec: BreakdownSpec, settings: SimulationSettings | None = None) -> None:
        base = settings or SimulationSettings()
        super().__init__(
            SimulationSettings(
                **{name: getattr(base, name) for name in base.__struct_fields__ if name != "breakdowns"},
                breakdowns=(spec,),
            ),
            out,
        )
        self.record: TruthRecord = next(record for record in self.result.truth if record.kind == spec.kind)
        self.begin, self.end = Instant.parse(self.record.begin), Instant.parse(self.record.end)

    def inside(self, event: ev.EventBase) -> bool:
        return self.begin - SKEW_US <= occurred(event) < self.end + SKEW_US

    def orders(self) -> dict[str, ev.OrderCreated]:
        return {order.order_id: order for order in self.of(ev.OrderCreated)}


def _same_but_for(named: set[str], expected: set[str], at_most: int = 2) -> None:
    """The two are the same, but for what happened within a clock's error of the edges."""
    assert expected
    assert len(named ^ expected) <= at_most, (named - expected, expected - named)


def test_refunds_go_out_before_the_receipt_and_only_once(tmp_path: Path) -> None:
    day = Broken(tmp_path, BreakdownSpec(kind="refund_without_receipt"))
    received = {back.return_id: occurred(back) for back in day.of(ev.ReturnReceived)}
    refunds = [p for p in day.of(ev.PostingRecorded) if p.posting_type == "refund"]
    early = {p.reference for p in refunds if occurred(p) < received.get(p.reference, Instant(day.settings.end))}
    assert early == set(day.record.cases)
    announced = [back for back in day.of(ev.ReturnAuthorized) if day.inside(back)]
    assert len(announced) / 2 < len(early) <= len(announced)
    assert max(Counter(p.reference for p in refunds).values()) == 1
    by_return = {back.return_id: back for back in announced}
    assert set(day.record.orders) == {by_return[case].order_id for case in early}
    assert float(day.record.value_at_risk) == pytest.approx(sum(float(by_return[case].amount) for case in early))
    assert day.record.scope == {"posting_type": "refund"}


def test_a_bad_batch_comes_back_many_times_as_often_and_is_refunded_as_ever(tmp_path: Path) -> None:
    day = Broken(tmp_path, BreakdownSpec(kind="return_surge"))
    announced = [back for back in day.of(ev.ReturnAuthorized) if back.sku == day.record.scope["sku"]]
    assert {back.return_id for back in announced if day.inside(back)} == set(day.record.cases)
    assert len(day.record.cases) > 20 * max(1, sum(not day.inside(back) for back in announced))
    assert {back.reason for back in announced} <= {"defective", "changed_mind"}
    refunded = {p.reference for p in day.of(ev.PostingRecorded) if p.posting_type == "refund"}
    assert set(day.record.cases) <= refunded


def test_a_late_supplier_misses_what_it_said_and_some_announcements(tmp_path: Path) -> None:
    two_days = SimulationSettings(duration=Duration(2 * DAY_US), skus=400)
    day = Broken(tmp_path, BreakdownSpec(kind="supplier_delay"), two_days)
    orders = {po.po_id: po for po in day.of(ev.PoCreated)}
    came = {event.po_id: occurred(event) for event in day.of(ev.GoodsReceived)}
    announced = {event.po_id for event in day.of(ev.AsnReceived)}
    late = {
        po_id
        for po_id, po in orders.items()
        if occurred_expected(po) < day.settings.end and came.get(po_id, day.settings.end) > occurred_expected(po)
    }
    assert late == set(day.record.cases)
    assert len(late) > 1
    assert {orders[po_id].supplier for po_id in late} == {day.record.scope["supplier"]}
    assert min(came[po_id] - occurred_expected(orders[po_id]) for po_id in late & set(came)) > 8 * HOUR_US
    assert {po_id for po_id in came if po_id in orders and po_id not in announced} <= late
    assert day.record.effects["asns_missing"] > 0


def occurred_expected(po: ev.PoCreated) -> int:
    assert po.expected_at is not None
    return Instant.parse(po.expected_at.isoformat())


@pytest.mark.parametrize("short", [0.0, 0.5, 1.0])
def test_order_receipt_and_invoice_of_a_supplier_do_not_agree(tmp_path: Path, short: float) -> None:
    spec = BreakdownSpec(kind="supply_mismatch", parameters={"short": short})
    day = Broken(tmp_path, spec, SimulationSettings(skus=400))
    received = {event.po_id: event for event in day.of(ev.GoodsReceived)}
    apart = set()
    for invoice in day.of(ev.SupplierInvoiceReceived):
        receipt = received.get(invoice.po_id)
        if receipt is not None:
            worth = sum(line.qty * float(line.unit_cost) for line in receipt.lines)
            if abs(float(invoice.amount) - worth) > 0.01:
                apart.add(invoice.po_id)
                assert (invoice.qty != receipt.qty) or short < 1
    assert apart == set(day.record.cases)
    assert len(apart) > 3
    assert {received[po_id].supplier for po_id in apart} == {day.record.scope["supplier"]}
    assert ("deliveries_short" in day.record.effects) == (short > 0)
    assert ("deliveries_overcharged" in day.record.effects) == (short < 1)
    posted = {p.reference: p.amount for p in day.of(ev.PostingRecorded) if p.posting_type == "goods_receipt"}
    for po_id in apart & set(posted):
        worth = sum(line.qty * float(line.unit_cost) for line in received[po_id].lines)
        assert float(posted[po_id]) == pytest.approx(worth)


@pytest.mark.parametrize("kind", ["promotion_without_stock", "stockout_risk"])
def test_what_is_wanted_more_than_there_is_runs_out_and_orders_are_cancelled(tmp_path: Path, kind: str) -> None:
    day = Broken(tmp_path, BreakdownSpec(kind=kind))
    named = day.record.scope["sku"]
    skus = {named} if isinstance(named, str) else set(named)
    orders = day.orders()
    cancelled = {e.order_id for e in day.of(ev.OrderCancelled) if e.reason == "out_of_stock"}
    assert len(cancelled) > 30
    assert cancelled <= set(day.record.orders)
    refused = {e.order_id for e in day.of(ev.ReservationRejected)}
    short = {e.order_id for e in day.of(ev.TaskRejected) if e.reason == "short"}
    assert set(day.record.orders) <= cancelled | refused | short
    assert all(skus & {line.sku for line in orders[order_id].lines} for order_id in day.record.orders)
    wanted = Counter(line.sku in skus for order in orders.values() for line in order.lines if day.inside(order))
    before = Counter(
        line.sku in skus for order in orders.values() for line in order.lines if occurred(order) < day.begin
    )
    assert wanted[True] / wanted[False] > 3 * before[True] / before[False]
    last = {(e.node, e.sku): e for e in day.of(ev.InventoryLevel) if e.system == "wms"}
    centre = [e for (node, sku), e in last.items() if sku in skus and node.startswith("dc")]
    assert centre
    assert all(e.on_hand <= 8 for e in centre)
    moved = [e for e in day.of(ev.InventoryAdjusted) if e.sku in skus and e.reason in ("transfer_in", "receipt")]
    assert not [e for e in moved if occurred(e) < day.end]


def test_a_promotion_without_stock_is_announced_like_any_other(tmp_path: Path) -> None:
    day = Broken(tmp_path, BreakdownSpec(kind="promotion_without_stock"))
    (started,) = [e for e in day.of(ev.PromotionStarted) if e.promotion_id == day.record.scope["promotion"]]
    assert sorted(started.skus) == day.record.scope["sku"]
    assert abs(occurred(started) - day.begin) <= SKEW_US
    assert [e.promotion_id for e in day.of(ev.PromotionEnded)].count(started.promotion_id) == 1


@pytest.mark.parametrize("channel", ["shop", "marketplace"])
def test_a_wrong_price_is_published_sold_at_and_set_right(tmp_path: Path, channel: str) -> None:
    day = Broken(tmp_path, BreakdownSpec(kind="price_error", parameters={"channel": channel}))
    sku = day.record.scope["sku"]
    slip, correction = [e for e in day.of(ev.PriceChanged) if e.sku == sku and e.channel == channel]
    assert float(slip.price) == pytest.approx(float(correction.price) / 10, abs=0.01)
    sold = {
        order.order_id: line.qty
        for order in day.of(ev.OrderCreated)
        for line in order.lines
        if line.sku == sku and line.unit_price == slip.price
    }
    assert set(sold) == set(day.record.orders)
    assert len(sold) > 3
    orders = day.orders()
    assert all(orders[order_id].channel == channel and day.inside(orders[order_id]) for order_id in sold)
    assert float(day.record.value_at_risk) == pytest.approx(sum(sold.values()) * float(correction.price))
    other = [
        order
        for order in orders.values()
        if day.inside(order) and order.channel == channel and order.order_id not in sold
    ]
    assert not [order for order in other if sku in {line.sku for line in order.lines}]


def test_margin_leaks_where_two_discounts_meet(tmp_path: Path) -> None:
    day = Broken(tmp_path, BreakdownSpec(kind="margin_leak"))
    below = defaultdict(list)
    for order in day.of(ev.OrderCreated):
        for line in order.lines:
            if float(line.unit_price) < float(line.unit_cost):
                below[order.order_id].append(line)
        assert float(order.total) == pytest.approx(sum(line.qty * float(line.unit_price) for line in order.lines))
    assert set(below) == set(day.record.orders)
    orders = day.orders()
    ours = [order for order in orders.values() if day.inside(order) and order.channel == "marketplace"]
    assert 0.3 < len(below) / len(ours) < 0.7
    assert {orders[order_id].channel for order_id in below} == {"marketplace"}
    paid = sum(line.qty * float(line.unit_price) for lines in below.values() for line in lines)
    assert float(day.record.value_at_risk) == pytest.approx(paid / 0.65**2, rel=0.01)


def test_margin_leaks_where_a_carrier_bills_by_a_wrong_tariff(tmp_path: Path) -> None:
    usual = Broken(tmp_path / "usual", BreakdownSpec(kind="margin_leak", parameters={"share": 1e-9}))
    spec = BreakdownSpec(kind="margin_leak", parameters={"carrier": "parcel-1", "tariff": 1.6})
    day = Broken(tmp_path / "leak", spec)
    agreed = {parcel.shipment_id: parcel for parcel in usual.of(ev.ShipmentDispatched)}
    billed = {parcel.shipment_id: parcel for parcel in day.of(ev.ShipmentDispatched)}
    assert billed.keys() == agreed.keys()
    wrong = {one: parcel for one, parcel in billed.items() if parcel.freight_cost != agreed[one].freight_cost}
    inside = {one for one, parcel in billed.items() if day.inside(parcel) and parcel.carrier == "parcel-1"}
    _same_but_for(set(wrong), inside)
    assert {parcel.order_id for parcel in wrong.values()} == set(day.record.orders)
    assert day.record.scope == day.record.cause.scope == {"carrier": "parcel-1"}
    too_much = sum(float(parcel.freight_cost) - float(agreed[one].freight_cost) for one, parcel in wrong.items())
    assert float(day.record.value_at_risk) == pytest.approx(too_much)
    assert too_much == pytest.approx(0.6 * sum(float(agreed[one].freight_cost) for one in wrong), rel=0.01)
    as_agreed = {one: msgspec.structs.replace(p, freight_cost=agreed[one].freight_cost) for one, p in billed.items()}
    assert as_agreed == agreed, "nothing else of them is another"
    assert day.orders() == usual.orders()


@pytest.mark.parametrize(("lost", "needed"), [("invoice", "goods_issue"), ("goods_issue", "")])
def test_postings_are_lost_without_a_word(tmp_path: Path, lost: str, needed: str) -> None:
    day = Broken(tmp_path, BreakdownSpec(kind="posting_missing", parameters={"posting_type": lost}))
    posted = defaultdict(set)
    for posting in day.of(ev.PostingRecorded):
        posted[posting.posting_type].add(posting.reference)
    parcels = Counter(s.order_id for s in day.of(ev.ShipmentDispatched))
    booked = Counter(p.reference for p in day.of(ev.PostingRecorded) if p.posting_type == lost)
    whole = {order_id for order_id in day.record.orders if parcels[order_id] == 1}
    assert len(whole) > 0.8 * len(day.record.orders)
    assert not posted[lost] & whole
    assert not posted["payment"] & whole
    assert all(booked[order_id] < parcels[order_id] for order_id in day.record.orders)
    assert not day.of(ev.PostingFailed)
    if needed:
        assert set(day.record.orders) <= posted[needed]
    shipped = {
        s.order_id
        for s in day.of(ev.ShipmentDispatched)
        if day.begin + 30 * MINUTE_US < occurred(s) < day.end - 40 * MINUTE_US
    }
    missing = shipped - posted[lost]
    assert missing <= set(day.record.orders)
    assert 0.35 < len(missing) / len(shipped) < 0.65
    assert day.record.scope == {"posting_type": lost}


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("refund_without_receipt", {"share": 0}, "share must be above 0"),
        ("return_surge", {"sku": "sku-9999"}, "sku-0001 to sku-0150"),
        ("return_surge", {"days": 0}, "days must be"),
        ("supplier_delay", {"supplier": "supplier-7"}, "supplier-1 to supplier-6"),
        ("supplier_delay", {"asn_missing": 2}, "asn_missing must be"),
        ("supply_mismatch", {"markup": 1}, "markup must be"),
        ("supply_mismatch", {"missing": 0}, "missing must be"),
        ("promotion_without_stock", {"skus": 99}, "between 1 and 47"),
        ("promotion_without_stock", {"lift": 1}, "lift must be"),
        ("stockout_risk", {"cover": 2}, "cover must be"),
        ("price_error", {"factor": 1}, "factor must be"),
        ("price_error", {"channel": "store"}, "shop, marketplace"),
        ("margin_leak", {"first": 1}, "first must be"),
        ("margin_leak", {"carrier": "counter"}, "carrier must be empty or one of courier-1"),
        ("margin_leak", {"carrier": "parcel-1", "tariff": 1}, "tariff must be above 1"),
        ("posting_missing", {"posting_type": "refund"}, "goods_issue, invoice"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, kind: str, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        simulate(SimulationSettings(breakdowns=(BreakdownSpec(kind=kind, parameters=parameters),)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_retailer_of_forty_nodes_is_one(tmp_path: Path) -> None:
    forty = PRESETS["forty"]
    day = Day(
        SimulationSettings(**{n: getattr(forty, n) for n in forty.__struct_fields__} | {"duration": Duration(HOUR_US)}),
        tmp_path,
    )
    assert len({event.node for event in day.of(ev.InventoryLevel)}) == 40
