"""Breakdowns around goods and prices: stock feeds, lost moves, phantom stock, overselling, promotions, margin."""

from second_retailer.course import Breakdown, Line, Order
from second_retailer.journal import Message
from second_retailer.retailer import HOUR, Channel, Node
from second_retailer.run import Run

ALL_CHANNELS = ["web-pl", "apka", "bazario", "infokiosk"]


def feed_stopped(run: Run, b: Breakdown) -> None:
    """A node's stock messages stop; what was sold from shelves meanwhile is promised again. The moves are lost."""
    node, stale = run.busy_depot(b.rng), b.draw("stale", 0.03, 0.15)
    costs = {item.sku: item.cost for item in run.retailer.items}
    b.scope = {"node": node.name, "source": node.source.name}
    b.stock_value = 0.0

    def rewrite(message: Message, t: float) -> Message | None:
        kind = message["type"]
        if not kind.startswith("inventory.") or message["source"] != node.source.name or not b.on(t):
            return message
        if kind == "inventory.adjusted":
            b.add_stock(message["delta"], costs[message["sku"]])
        return None

    def refuses(order: Order, line: Line, at: Node, t: float, _wait: float) -> str:
        if at is not node or not b.on(t):
            return ""
        b.exposed.add(order.order_id)
        if t < b.begin + 1200 or line.tries or b.rng.random() > stale:
            return ""
        b.touch(order, until=t)
        return "brak_stanu"

    run.world.journal.rewrite, run.world.course.refuses = rewrite, refuses


def adjustments_lost(run: Run, b: Breakdown) -> None:
    """Moves of a node don't reach the ERP: its book stays wrong by what was lost."""
    node, share = run.busy_depot(b.rng), b.draw("share", 0.4, 1.0)
    b.scope = {"node": node.name}
    b.stock_value, b.effects_until = 0.0, run.world.end
    for item in b.rng.sample(run.retailer.shelves[node.name], 12):
        delivery = float(b.rng.randrange(12, 60, 6))
        run.world.at(b.rng.uniform(b.begin, b.end), run.world.move, node, item, delivery, "transfer_in", "PRZ-NOC")

    def erp_hears(at: Node, item: int, delta: float, t: float) -> bool:
        if at is not node or not b.on(t) or b.rng.random() > share:
            return True
        b.add_stock(delta, run.retailer.items[item].cost)
        return False

    run.world.course.erp_hears = erp_hears


def phantom_stock(run: Run, b: Breakdown) -> None:
    """The book has goods that are not on the shelf; pickers don't find them until somebody counts."""
    node, items = run.busy_depot(b.rng), run.popular(b.rng, b.rng.choice((1, 2, 3)))
    b.scope = {"node": node.name, "sku": [run.retailer.items[at].sku for at in items]}
    share, b.stock_value = b.draw("missing", 0.3, 0.8), 0.0
    run.crowd(b, items, 24 * len(items), ALL_CHANNELS)

    def short(order: Order, line: Line, at: Node, t: float) -> str:
        if at is not node or line.item not in items or not b.on(t):
            return ""
        b.touch(order, [line], until=t)
        return "nie_ma_na_polce"

    def count(t: float) -> None:
        for item in items:
            missing = float(round(max(3.0, share * run.world.stock.book[node.name, item])))
            b.add_stock(missing, run.retailer.items[item].cost)
            run.world.move(t, node, item, -missing, "count")

    run.world.course.short = short
    run.world.at(b.end, count)


def _unsold(run: Run, b: Breakdown, items: list[int], channels: list[str]) -> None:
    """Orders of these channels for these items are taken although there is nothing; nodes refuse them."""

    def sells_blind(channel: Channel, item: int, t: float) -> bool:
        return item in items and channel.name in channels and b.on(t)

    def refuses(order: Order, line: Line, node: Node, t: float, _wait: float) -> str:
        if line.item not in items or order.channel.name not in channels or not b.on(order.created):
            return ""
        if run.world.stock.free(node.name, line.item) < 0:
            b.touch(order, [line], until=t + HOUR)
            return "brak_stanu"
        return ""

    run.world.course.sells_blind, run.world.course.refuses = sells_blind, refuses


def oversell(run: Run, b: Breakdown) -> None:
    """The marketplace goes on to sell what others have bought."""
    items = run.popular(b.rng, b.rng.choice((1, 2)))
    b.scope = {"channel": "bazario", "sku": [run.retailer.items[at].sku for at in items]}
    run.world.at(b.begin - 60, run.empty, items, 1.0)
    hours = (b.end - b.begin) / HOUR
    run.crowd(b, items, round(hours * b.draw("orders_per_hour", 4, 14)), ["bazario"])
    _unsold(run, b, items, ["bazario"])


def promotion_without_stock(run: Run, b: Breakdown) -> None:
    """A promotion starts for items of which there is next to nothing."""
    items = b.rng.sample(range(10, 80), b.rng.choice((2, 3, 4)))
    name = f"AKCJA-{b.rng.randrange(100, 999)}"
    b.scope = {"promotion": name, "sku": [run.retailer.items[at].sku for at in items]}
    run.world.at(b.begin - 2 * HOUR, run.empty, items, b.rng.choice((1.0, 3.0)))
    run.world.at(b.begin, run.trade.announce, name, items, b.end - b.begin)
    hours = (b.end - b.begin) / HOUR
    run.crowd(b, items, round(hours * b.draw("orders_per_hour", 12, 40)), ["web-pl", "apka", "infokiosk"])
    _unsold(run, b, items, ["web-pl", "apka", "infokiosk", "bazario"])


def stockout_risk(run: Run, b: Breakdown) -> None:
    """Something goes viral: an item's stock will not last the day. No promotion, no delivery in sight."""
    item = b.rng.choice(range(25, 90))
    article, stock = run.retailer.items[item], run.world.stock
    b.scope = {"sku": article.sku}
    share = b.draw("drained", 0.75, 1.1)

    def viral(_t: float) -> None:
        held = max(10.0, sum(stock.free(one.name, item) for one in run.retailer.depots))
        orders = round(held * share / 1.17)
        b.add_stock(orders * 1.17, article.cost)
        run.crowd(b, [item], orders, ALL_CHANNELS)

    def refuses(order: Order, line: Line, node: Node, t: float, _wait: float) -> str:
        if line.item == item and t > b.begin and stock.free(node.name, item) < 0:
            b.touch(order, [line], until=t)
        elif line.item == item and b.on(t):
            b.exposed.add(order.order_id)
        return ""

    run.world.at(b.begin - 1, viral)
    run.world.course.refuses = refuses


def price_error(run: Run, b: Breakdown) -> None:
    """A decimal point slips: items are sold far too cheap until somebody puts it right, and word gets round."""
    items, factor = run.popular(b.rng, b.rng.choice((1, 2, 3)), top=40), b.rng.choice((0.01, 0.1, 0.1, 0.35))
    b.scope, b.strength["factor"] = {"sku": [run.retailer.items[at].sku for at in items]}, factor
    for item in items:
        article = run.retailer.items[item]
        run.world.at(b.begin, run.trade.set_price, item, max(0.01, article.price * factor))
        run.world.at(b.end, run.trade.set_price, item, article.price)
    run.crowd(b, items, round((b.end - b.begin) / HOUR * b.draw("orders_per_hour", 3, 12)), ALL_CHANNELS)

    def placed(order: Order, t: float) -> None:
        wrong = [line for line in order.lines if line.item in items]
        if b.on(t) and wrong:
            b.touch(order, wrong)

    run.world.course.placed = placed


def margin_leak(run: Run, b: Breakdown) -> None:
    """Coupons add up on one channel: orders are sold below cost, without any change of price."""
    channel, share = b.rng.choice(run.retailer.channels[:3]), b.draw("share", 0.3, 0.9)
    under = b.draw("of_cost", 0.55, 0.93)
    b.scope = {"channel": channel.name}

    def payload(order: Order, fields: Message) -> bool:
        if order.channel is channel and b.on(order.created) and b.rng.random() < share:
            for line in order.lines:
                line.price = round(line.cost * under * b.rng.uniform(0.95, 1.05), 2)
            b.touch(order)
            fields |= run.desk.fields(order)
        return True

    run.world.course.payload = payload
