"""Breakdowns of the back office and of interfaces: postings, refunds, returns, suppliers, calls."""

from second_retailer.course import Breakdown, Fault, Order, Purchase
from second_retailer.dispatch import POSTING_INTERFACE
from second_retailer.retailer import HOUR, Node
from second_retailer.run import Run


def posting_interface_down(run: Run, b: Breakdown) -> None:
    """The ERP's interface refuses postings; they come in a burst when it is back."""
    code = b.rng.choice(("F-503", "F-LOCK", "F-899"))
    fault = Fault(b.draw("share", 0.6, 1.0), "downstream_error", 503, retry_s=(120, 300), code=code)
    b.scope = {"interface": POSTING_INTERFACE, "error_code": code}
    run.break_interface(b, POSTING_INTERFACE, fault)


def posting_missing(run: Run, b: Breakdown) -> None:
    """Postings of one type silently never come."""
    wanted, share = b.rng.choice(("goods_issue", "invoice", "payment")), b.draw("share", 0.3, 1.0)
    node = run.busy_depot(b.rng) if wanted == "goods_issue" else None
    b.scope = {"posting_type": wanted} | ({"node": node.name} if node else {})
    b.effects_until = run.world.end

    def posts(posting_type: str, order: Order, at: Node, t: float) -> bool:
        hit = posting_type == wanted and b.on(t) and node in {None, at} and b.rng.random() < share
        if hit:
            b.touch(order)
        return not hit

    run.world.course.posts = posts


def _touch_return(b: Breakdown, return_id: str, order_id: str, amount: float) -> None:
    b.cases[return_id] = amount
    b.orders[order_id] = max(amount, b.orders.get(order_id, 0.0))


def refund_lag(run: Run, b: Breakdown) -> None:
    """Goods came back, the money doesn't go out: refunds of what was received meanwhile wait for days."""
    share = b.draw("share", 0.5, 1.0)
    b.scope = {"posting_type": "refund"}

    def refund_s(return_id: str, order_id: str, amount: float, t: float) -> float:
        if not b.on(t) or b.rng.random() > share:
            return 0.0
        extra = b.rng.uniform(30, 70) * HOUR
        _touch_return(b, return_id, order_id, amount)
        b.effects_until = max(b.effects_until, t + extra)
        return extra

    run.world.course.refund_s = refund_s


def refund_without_receipt(run: Run, b: Breakdown) -> None:
    """Refunds go out on the authorisation alone; the goods never come."""
    count = round((b.end - b.begin) / HOUR * b.draw("per_hour", 5, 20))
    b.scope = {"posting_type": "refund"}
    for _ in range(count):
        run.world.at(b.rng.uniform(b.begin, b.end), _refund_blind, run, b)


def _refund_blind(t: float, run: Run, b: Breakdown) -> None:
    _touch_return(b, *run.trade.give_back(t, received=False))


def return_surge(run: Run, b: Breakdown) -> None:
    """One article has a fault: it comes back in numbers, over the counters."""
    item = run.popular(b.rng, 1, top=60)[0]
    count = round((b.end - b.begin) / HOUR * b.draw("per_hour", 6, 25))
    b.scope = {"sku": run.retailer.items[item].sku}
    for _ in range(count):
        run.world.at(b.rng.uniform(b.begin, b.end), _give_back, run, b, item)


def _give_back(t: float, run: Run, b: Breakdown, item: int) -> None:
    _touch_return(b, *run.trade.give_back(t, item, reason="wada"))


def supplier_delay(run: Run, b: Breakdown) -> None:
    """A supplier delivers a day late what it promised for these hours, and seldom announces it."""
    supplier = b.rng.choice([name for name, (_, high) in run.retailer.suppliers.items() if high < 24])
    low, silent = b.draw("hours", 6, 30), b.draw("no_asn", 0.3, 1.0)
    b.scope = {"supplier": supplier}

    def hit(purchase: Purchase) -> bool:
        return purchase.supplier == supplier and b.on(purchase.expected)

    def supply_s(purchase: Purchase) -> float:
        if not hit(purchase):
            return 0.0
        late = low * b.rng.uniform(1, 1.6) * HOUR
        b.cases[purchase.po_id] = _worth(run, purchase)
        b.effects_until = max(b.effects_until, purchase.expected + late)
        return late

    run.world.course.supply_s = supply_s
    run.world.course.asn_comes = lambda purchase: not (hit(purchase) and b.rng.random() < silent)


def _worth(run: Run, purchase: Purchase) -> float:
    return purchase.qty * run.retailer.items[purchase.item].cost


def supply_mismatch(run: Run, b: Breakdown) -> None:
    """A supplier's receipts and invoices don't agree with what was ordered."""
    supplier = b.rng.choice([name for name, (_, high) in run.retailer.suppliers.items() if high < 24])
    share, off = b.draw("share", 0.5, 1.0), b.draw("off", 0.08, 0.4)
    b.scope = {"supplier": supplier}

    def matched(purchase: Purchase) -> None:
        if purchase.supplier != supplier or b.rng.random() > share:
            return
        if not b.begin <= purchase.expected < b.end + HOUR:
            return
        b.cases[purchase.po_id] = _worth(run, purchase)
        b.effects_until = max(b.effects_until, purchase.expected + 5 * HOUR)
        if b.rng.random() < 0.5:
            purchase.received_qty = max(1, round(purchase.qty * (1 - off)))
        else:
            purchase.invoice_cost = round(purchase.invoice_cost * (1 + off), 2)

    run.world.course.matched = matched


_INTERFACES = ("bramka-platnicza", "oms-polka", "spedytor-api", "web-zam", "apka-zam")


def downstream_outage(run: Run, b: Breakdown) -> None:
    """What stands behind an interface is down."""
    interface = b.scope["interface"] = b.rng.choice(_INTERFACES)
    fault = Fault(b.draw("share", 0.4, 1.0), "downstream_error", b.rng.choice((502, 503, 500)), retry_s=(60, 240))
    run.break_interface(b, interface, fault)


def rule_failure(run: Run, b: Breakdown) -> None:
    """A business rule on an interface refuses what it should take; the cases are parked until it is corrected."""
    interface = b.scope["interface"] = b.rng.choice(_INTERFACES)
    fault = Fault(b.draw("share", 0.2, 0.8), "rule_error", 422, parked_until=b.end)
    run.break_interface(b, interface, fault)


def transport_fault(run: Run, b: Breakdown) -> None:
    """Calls of an interface time out on the way; most get through when tried again."""
    interface = b.scope["interface"] = b.rng.choice(_INTERFACES)
    run.break_interface(b, interface, Fault(b.draw("share", 0.25, 0.8), "transport_error", None, retry_s=(20, 60)))
