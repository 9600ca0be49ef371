"""Everything beside orders: the till, levels of stock, queue depths, returns, purchases, prices, promotions."""

from typing import Any

from second_retailer.course import Order, Purchase
from second_retailer.dispatch import Dispatch
from second_retailer.journal import iso, money
from second_retailer.retailer import CURRENCY, DAY, HOUR, Node, Source, local, local_hour
from second_retailer.world import WARM_UP, World

_ERP_EVERY = HOUR


class Trade:
    """Keeps the shop running in the background."""

    def __init__(self, world: World, dispatch: Dispatch) -> None:
        self.world, self.dispatch = world, dispatch
        self.retailer, self.journal, self.rng = world.retailer, world.journal, world.rng
        self._rotation: dict[tuple[str, str], int] = {}

    def open(self) -> None:
        """Put the first of everything on the agenda."""
        world, rng = self.world, self.rng
        start = world.begin - WARM_UP / 2
        for node in self.retailer.nodes:
            world.at(
                start + rng.uniform(0, node.level_every_s), self._level, node, "wms", node.source, node.level_every_s
            )
            world.at(start + rng.uniform(0, _ERP_EVERY), self._level, node, "erp", self.retailer.erp, _ERP_EVERY)
            if node.depot:
                world.at(start + rng.uniform(0, 2700), self._level, node, "ecom", self.retailer.ecom, 2700.0)
            else:
                world.at(start + rng.uniform(0, HOUR), self._till, node)
                world.at(start + rng.uniform(0, HOUR), self._refill, node)
        for queue in ("q.rez.sklepy", "q.rez.magazyny", "q.fala"):
            world.at(world.begin + rng.uniform(0, 60), self._depth, queue)
        world.at(start, self._return_comes)
        world.at(start - 10 * HOUR, self._buy)
        world.at(world.begin + rng.uniform(0, HOUR), self._reprice)
        for day in range(round((world.end - world.begin) / DAY)):
            world.at(world.begin + (day + rng.uniform(0.35, 0.6)) * DAY, self._promote)

    # --- the till and the shelf --------------------------------------------------------------------------

    def _till(self, t: float, node: Node) -> None:
        hour = local_hour(t)
        rate = 110 * node.weight / (12 * HOUR)
        if 9 <= hour < 21:
            item = self.rng.choice(self.retailer.shelves[node.name])
            if self.world.stock.free(node.name, item) >= 2:
                sale = {
                    "sku": self.retailer.items[item].sku,
                    "node": node.name,
                    "qty": 1,
                    "unit_price": money(self.world.price(item)),
                    "currency": CURRENCY,
                }
                self.journal.emit("sale.recorded", self.retailer.pos[node.region], t, sale, region=node.region)
                self.world.move(t + self.rng.uniform(5, 90), node, item, -1, "sale")
            self.world.at(t + self.rng.expovariate(rate), self._till, node)
        else:
            self.world.at(t + (9 - hour) % 24 * HOUR + self.rng.expovariate(rate), self._till, node)

    def _refill(self, t: float, node: Node) -> None:
        """Once a day, before opening, shelves below half are filled from a depot."""
        wait = (6.5 - local_hour(t)) % 24 * HOUR
        if 0.1 * HOUR < wait < 23.9 * HOUR:
            self.world.at(t + wait, self._refill, node)
            return
        stock, depot = self.world.stock, self.rng.choice(self.retailer.depots)
        for item in self.retailer.shelves[node.name]:
            missing = stock.target[node.name, item] - stock.book[node.name, item]
            if missing > stock.target[node.name, item] / 2 and stock.free(depot.name, item) > 3 * missing:
                reference = f"PRZ-{self.world.number()}"
                self.world.move(t - 1800, depot, item, -missing, "transfer_out", reference)
                self.world.move(t + self.rng.uniform(0, 1800), node, item, missing, "transfer_in", reference)
        self.world.at(t + 0.9 * DAY, self._refill, node)

    def _level(self, t: float, node: Node, view: str, source: Source, every: float) -> None:
        """The items that moved since the last time, and a part of the others in turn."""
        kept = self.retailer.shelves[node.name]
        turn = self._rotation[node.name, view] = self._rotation.get((node.name, view), 0) + 1
        told = self.world.stock.changed.pop((node.name, view), set()) | {at for at in kept if at % 8 == turn % 8}
        if t > self.world.begin - 600:
            for item in sorted(told):
                self.journal.emit(
                    "inventory.level", source, t, self._figures(node.name, item, view), region=node.region
                )
        self.world.at(t + every * self.rng.uniform(0.97, 1.03), self._level, node, view, source, every)

    def _figures(self, node: str, item: int, view: str) -> dict[str, Any]:
        stock, article = self.world.stock, self.retailer.items[item]
        fields: dict[str, Any] = {"sku": article.sku, "node": node}
        if view == "erp":
            return fields | {"on_hand": stock.erp.get((node, item), 0.0), "unit_cost": money(article.cost)}
        fields["on_hand"] = stock.book.get((node, item), 0.0)
        if view == "ecom":
            return fields | {"available": stock.free(node, item) - stock.owed.get((node, item), 0.0)}
        return fields | {"reserved": max(0.0, stock.reserved.get((node, item), 0.0))}

    def _depth(self, t: float, queue: str) -> None:
        fields: dict[str, Any] = {"queue": queue}
        if queue in self.world.queues:
            depth, age = self.world.queues[queue].depth(t)
            fields |= {"depth": depth, "oldest_age_s": round(age, 1)}
        else:
            fields["depth"] = self.world.unposted
        self.journal.emit("queue.depth", self.retailer.bus, t, fields)
        self.world.at(t + 60, self._depth, queue)

    # --- returns -----------------------------------------------------------------------------------------

    def _return_comes(self, t: float) -> None:
        rate = self.retailer.orders_per_day * 0.06 / DAY * self.world.season(t)
        self.world.at(t + self.rng.expovariate(max(rate, 1e-5)), self._return_comes)
        self.give_back(t)

    def give_back(
        self, t: float, item: int | None = None, *, received: bool = True, reason: str = ""
    ) -> tuple[str, str, float]:
        """A customer gives something back: over the counter (soon) or by post (days later).

        Returns the ids of the return and the order, and the amount.
        """
        world, rng = self.world, self.rng
        recent: Order | None = None
        if item is None and world.delivered and rng.random() < 0.5:
            recent = rng.choice(world.delivered[-400:])
        article = self.retailer.items[self.retailer.draw_item(rng) if item is None else item]
        order_id, sku, amount = f"WZ/26/{rng.randrange(50_000, 99_000)}", article.sku, article.price
        if recent is not None:
            order_id, sku, amount = recent.order_id, recent.lines[0].sku, recent.lines[0].price
        counter = item is not None or rng.random() < 0.5
        node = rng.choice(self.retailer.stores or self.retailer.depots) if counter else rng.choice(self.retailer.depots)
        why = reason or rng.choice(("nie_pasuje", "rozmyslil_sie", "wada"))
        fields: dict[str, Any] = {
            "return_id": f"ZW{world.number()}",
            "order_id": order_id,
            "sku": sku,
            "qty": 1,
            "node": node.name,
            "reason": why,
            "amount": money(amount),
            "currency": CURRENCY,
        }
        self.journal.emit("return.authorized", self.retailer.crm, t, fields, region=node.region)
        if received:
            back = t + (world.about(1200) if counter else rng.uniform(1.2, 3) * DAY)
            world.at(back, self._received, node, fields, amount)
        else:
            world.at(t + rng.uniform(300, 2400), self._refund, fields, amount)
        return str(fields["return_id"]), order_id, amount

    def _received(self, t: float, node: Node, fields: dict[str, Any], amount: float) -> None:
        world = self.world
        self.journal.emit("return.received", node.source, t, fields, region=node.region)
        world.at(t + world.about(2700), self._restocked, node, fields)
        extra = world.course.refund_s(fields["return_id"], fields["order_id"], amount, t)
        world.at(t + world.about(2400) + extra, self._refund, fields, amount)

    def _restocked(self, t: float, node: Node, fields: dict[str, Any]) -> None:
        self.journal.emit("return.restocked", node.source, t, fields, region=node.region)
        item = next(
            (at for at in self.retailer.shelves[node.name] if self.retailer.items[at].sku == fields["sku"]), None
        )
        if item is not None:
            self.world.move(t, node, item, 1, "return", fields["return_id"])

    def _refund(self, t: float, fields: dict[str, Any], amount: float) -> None:
        self.dispatch.post(t, "refund", fields["return_id"], amount, order_id=fields["order_id"])

    # --- purchases ---------------------------------------------------------------------------------------

    def _buy(self, t: float) -> None:
        rng, retailer = self.rng, self.retailer
        busy = 1 <= local_hour(t) < 18
        self.world.at(t + rng.expovariate((300 if busy else 60) / DAY * max(0.5, len(retailer.nodes) / 40)), self._buy)
        item = retailer.draw_item(rng)
        supplier = retailer.items[item].supplier
        low, high = retailer.suppliers[supplier]
        qty = rng.randrange(12, 72, 6)
        purchase = Purchase(
            f"ZZ-{self.world.number()}", supplier, rng.choice(retailer.depots), item, qty, t + high * HOUR
        )
        article = retailer.items[item]
        self.journal.emit(
            "po.created",
            retailer.erp,
            t,
            {
                "po_id": purchase.po_id,
                "supplier": supplier,
                "node": purchase.node.name,
                "expected_at": iso(purchase.expected),
                "lines": [{"sku": article.sku, "qty": qty, "unit_cost": money(article.cost)}],
            },
        )
        comes = t + rng.uniform(low, high * 0.92) * HOUR
        asn = comes - rng.uniform(0.25, 0.5) * low * HOUR
        self.world.at(asn, self._announced, purchase)
        self.world.at(comes, self._due, purchase)

    def _document(self, purchase: Purchase, qty: float, cost: float) -> dict[str, Any]:
        sku = self.retailer.items[purchase.item].sku
        return {
            "po_id": purchase.po_id,
            "supplier": purchase.supplier,
            "document_id": f"DOK{self.world.number()}",
            "qty": qty,
            "amount": money(qty * cost),
            "currency": CURRENCY,
            "lines": [{"sku": sku, "qty": qty, "unit_cost": money(cost)}],
        }

    def _announced(self, t: float, purchase: Purchase) -> None:
        if self.world.course.asn_comes(purchase):
            cost = self.retailer.items[purchase.item].cost
            document = self._document(purchase, purchase.qty, cost)
            source = Source(f"edi-{purchase.supplier}", "supplier", local=False, median_s=1.5)
            self.journal.emit("asn.received", source, t, document)

    def _due(self, t: float, purchase: Purchase) -> None:
        self.world.at(t + self.world.course.supply_s(purchase), self._goods, purchase)

    def _goods(self, t: float, purchase: Purchase) -> None:
        world, node, cost = self.world, purchase.node, self.retailer.items[purchase.item].cost
        purchase.received_qty = purchase.invoice_qty = purchase.qty
        purchase.invoice_cost = cost
        if self.rng.random() < 0.01:  # a damaged box, on the invoice too
            purchase.received_qty = purchase.invoice_qty = purchase.qty - 1
        world.course.matched(purchase)
        received = purchase.received_qty
        self.journal.emit(
            "goods.received", node.source, t, self._document(purchase, received, cost), region=node.region
        )
        world.move(t + 60, node, purchase.item, received, "receipt", purchase.po_id)
        self.dispatch.post(t + world.about(600), "goods_receipt", purchase.po_id, received * cost, node=node.name)
        world.at(t + world.about(2 * HOUR, 0.4), self._invoiced, purchase)

    def _invoiced(self, t: float, purchase: Purchase) -> None:
        document = self._document(purchase, purchase.invoice_qty, purchase.invoice_cost)
        self.journal.emit("supplier_invoice.received", self.retailer.erp, t, document)
        cleared = t + self.rng.uniform(2, 30) * HOUR
        self.world.at(
            cleared, lambda at: self.journal.emit("supplier_invoice.cleared", self.retailer.erp, at, document)
        )

    # --- prices and promotions ---------------------------------------------------------------------------

    def _reprice(self, t: float) -> None:
        self.world.at(t + self.rng.expovariate(35 / DAY), self._reprice)
        item = self.retailer.draw_item(self.rng)
        self.set_price(t, item, self.retailer.items[item].price * self.rng.uniform(0.93, 1.08))

    def set_price(self, t: float, item: int, price: float) -> None:
        """The shop sells at this price from now on."""
        self.world.prices[item] = round(price, 2)
        article = self.retailer.items[item]
        fields = {"sku": article.sku, "price": money(price), "currency": CURRENCY}
        self.journal.emit("price.changed", self.retailer.channels[0].source, t, fields)

    def _promote(self, t: float) -> None:
        """An ordinary small promotion on slow items, which have stock."""
        items = self.rng.sample(range(200, len(self.retailer.items)), 4)
        self.announce(t, f"PROMO-{local(t):%m%d}-{self.world.number()}", items, 8 * HOUR)

    def announce(self, t: float, promotion: str, items: list[int], lasts: float) -> None:
        """A promotion starts, and ends."""
        fields = {"promotion_id": promotion, "skus": [self.retailer.items[at].sku for at in items]}
        source = self.retailer.channels[0].source
        self.journal.emit("promotion.started", source, t, fields)
        self.world.at(t + lasts, lambda at: self.journal.emit("promotion.ended", source, at, fields))
