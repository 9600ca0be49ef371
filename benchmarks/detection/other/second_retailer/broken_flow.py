"""Breakdowns of the work itself: queues, picking, routing, capture, carriers."""

from typing import Any

from second_retailer.course import Breakdown, Line, Order
from second_retailer.journal import Message
from second_retailer.retailer import DAY, HOUR, LINES_PER_ORDER, PICK_MEDIAN_S, REGIONS, STORE_SHARE, Node
from second_retailer.run import Run


def queue_saturation(run: Run, b: Breakdown) -> None:
    """The queue to the shops gets through less than is put in; what waits long meets shelves that are sold empty."""
    world, share = run.world, b.draw("capacity", 0.3, 0.7)
    stale = b.draw("stale", 0.1, 0.35)
    b.scope = {"queue": "q.rez.sklepy"}

    def service_s(queue: str, start: float) -> float:
        if queue != "q.rez.sklepy" or not b.begin <= start < b.end + 2 * (b.end - b.begin):
            return 0.3
        arriving = max(0.002, world.store_reservations(start))
        return 1 / (arriving * (share if start < b.end else 3.0))

    def refuses(order: Order, line: Line, node: Node, t: float, wait: float) -> str:
        if node.depot or wait < 120 or t < b.begin:
            return ""
        b.touch(order, until=t)
        return "stan_nieaktualny" if line.tries == 0 and b.rng.random() < min(stale, wait / 3600) else ""

    world.course.service_s, world.course.refuses = service_s, refuses


def picking_backlog(run: Run, b: Breakdown) -> None:
    """Most of the shift is missing at one node: a task takes as long as ever, but waits for somebody to do it."""
    node = run.busy_depot(b.rng)
    pickers_needed = _lines_per_s(run, b.begin) * PICK_MEDIAN_S * 1.13
    factor = max(1.5, b.draw("load", 1.6, 3.0) * node.pickers / max(0.5, pickers_needed))
    b.scope = {"node": node.name}

    def waited(order: Order, at: Node, queued: float, start: float) -> None:
        if at is node and start > b.begin and start - queued > 1800:
            b.touch(order, until=start)

    run.world.course.pause = lambda at, t: factor if at is node and b.on(t) else 1.0
    run.world.course.waited = waited


def _lines_per_s(run: Run, t: float) -> float:
    share = (1 - STORE_SHARE * 0.8) / len(run.retailer.depots)
    return run.retailer.orders_per_day * LINES_PER_ORDER / DAY * share * run.world.season(t)


def misrouting(run: Run, b: Breakdown) -> None:
    """A routing table sends a region's orders to one wrong node; some are sent on between nodes."""
    wrong = run.busy_depot(b.rng)
    region = b.rng.choice([name for name in REGIONS if name != wrong.region])
    share, ping_pong = b.draw("share", 0.3, 0.95), b.rng.random() < 0.5
    b.scope = {"node": wrong.name, "region": region}

    def route(order: Order, planned: Node, t: float) -> list[Node]:
        if not b.on(t) or order.region != region or planned is wrong or b.rng.random() > share:
            return [planned]
        b.touch(order, until=t)
        if ping_pong and b.rng.random() < 0.5:
            return [wrong, planned, wrong][: b.rng.choice((2, 3))]
        return [wrong]

    run.world.course.route = route


def duplicate_orders(run: Run, b: Breakdown) -> None:
    """A channel's client tries again though it was heard: the same order comes again, or is captured as a new one."""
    world, channel = run.world, b.rng.choice(run.retailer.channels[:3])
    share, same = b.draw("share", 0.15, 0.6), b.rng.random() < 0.5
    b.scope = {"channel": channel.name, "source": channel.source.name}
    b.strength["same_id"] = float(same)
    copies: set[str] = set()

    def again(t: float, order: Order) -> None:
        if same:
            fields = run.desk.fields(order)
            world.journal.emit("order.created", channel.source, t, fields, channel=channel.name, region=order.region)
            return
        number = world.number()
        lines = [Line(one.line_id, one.item, one.sku, one.qty, one.price, one.cost) for one in order.lines]
        twin = Order(
            f"{channel.prefix}{number:08x}" if channel.prefix == "bzr:" else f"{channel.prefix}{number}",
            channel,
            order.region,
            order.customer,
            t,
            order.fast,
            lines,
            order.key,
        )
        copies.add(twin.order_id)
        b.touch(twin, until=t)
        run.desk.take(t, twin)

    def placed(order: Order, t: float) -> None:
        if order.channel is channel and b.on(t) and order.order_id not in copies and b.rng.random() < share:
            b.touch(order)
            for _ in range(b.rng.choice((1, 1, 1, 2, 3))):
                world.at(t + b.rng.uniform(3, 90), again, order)

    world.course.placed = placed


def incomplete_orders(run: Run, b: Breakdown) -> None:
    """A release of a channel's client leaves something out of its orders."""
    channel, share = b.rng.choice(run.retailer.channels[:3]), b.draw("share", 0.3, 0.95)
    lost = b.rng.choice(("customer_id", "currency", "promised_at", "unit_price", "lines"))
    b.scope = {"channel": channel.name, "source": channel.source.name}

    def payload(order: Order, fields: Message) -> bool:
        if order.channel is not channel or not b.on(order.created) or b.rng.random() > share:
            return True
        b.touch(order)
        if lost == "unit_price":
            fields["lines"] = [{key: value for key, value in one.items() if key != lost} for one in fields["lines"]]
        elif lost == "lines":
            fields["lines"] = []
            return False
        else:
            del fields[lost]
        return True

    run.world.course.payload = payload


def carrier_delay(run: Run, b: Breakdown) -> None:
    """A carrier that delivers on the same day is hours late: a strike, snow, a closed bridge."""
    carrier = b.rng.choice([one for one in run.retailer.carriers if one.fast])
    low = b.draw("hours", 3, 8)
    b.scope = {"carrier": carrier.name}

    def delivery_s(order: Order, name: str, due: float) -> float:
        if name != carrier.name or not b.on(due):
            return 0.0
        late = low * b.rng.uniform(1, 1.8) * HOUR
        b.touch(order, until=due + late)
        return late

    run.world.course.delivery_s = delivery_s


def schema_change(run: Run, b: Breakdown) -> None:
    """A source begins to write messages that break the contract; its business goes on."""
    what = b.rng.choice(("orders", "shipments", "tasks"))
    share = b.draw("share", 0.5, 1.0)
    if what == "orders":
        channel = b.rng.choice(run.retailer.channels[1:3])
        source, kinds = channel.source.name, {"order.created"}
        b.scope = {"source": source, "channel": channel.name}
    elif what == "shipments":
        source, kinds = run.retailer.tms.name, {"shipment.dispatched", "shipment.delivered"}
        b.scope = {"source": source}
    else:
        source, kinds = run.busy_depot(b.rng).source.name, {"task.queued", "task.completed", "task.started"}
        b.scope = {"source": source}

    def rewrite(message: Message, t: float) -> Message | None:
        hit = message["source"] == source and message["type"] in kinds and b.on(t)
        if not hit or b.rng.random() > share:
            return message
        order = run.world.orders.get(message["order_id"])
        if order is not None:
            b.touch(order)
        return _broken(message, what)

    run.world.journal.rewrite = rewrite


def _broken(message: Message, what: str) -> Message:
    changed: dict[str, Any] = dict(message)
    if what == "orders":
        changed["lines"] = [one | {"qty": str(one["qty"])} for one in changed["lines"]]
    elif what == "shipments":
        changed["shipment_no"] = changed.pop("shipment_id")
    else:
        changed["task_type"] = changed["task_type"].upper()
    return changed


def clock_skew(run: Run, b: Breakdown) -> None:
    """A source's clock jumps; nothing is late, only dated wrongly."""
    source = b.rng.choice([run.busy_depot(b.rng).source, run.retailer.oms, run.retailer.tms, run.retailer.erp])
    by = b.draw("behind_s", 600, 3000) if b.rng.random() < 0.7 else -b.draw("ahead_s", 200, 280)
    b.scope = {"source": source.name}
    run.world.journal.clock = lambda name, t: -by if name == source.name and b.on(t) else 0.0
