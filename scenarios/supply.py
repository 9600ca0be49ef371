"""Supply: purchase orders to the centres, and the night's transfers from the centres to the stores."""

from scenarios.catalogue import money
from scenarios.ledger import Ledger
from scenarios.network import Node
from scenarios.stock import Stock
from scenarios.world import World
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US

_SUPPLIERS = 6
_TRANSFER_US = 5 * HOUR_US
_TRANSFER_SKUS = 25


class PurchaseOrder:
    """What was ordered from a supplier: items with quantities."""

    __slots__ = ("lines", "node", "po_id", "supplier")

    def __init__(self, po_id: str, supplier: str, node: Node, lines: list[tuple[int, int]]) -> None:
        self.po_id = po_id
        self.supplier = supplier
        self.node = node
        self.lines = lines


class Supply:
    """Each day some purchase orders begin, some earlier ones arrive; local suppliers deliver the same day."""

    def __init__(self, world: World, stock: Stock, ledger: Ledger) -> None:
        self._world = world
        self._stock = stock
        self._ledger = ledger
        self._random = world.random("supply")
        self._count = 0
        self._transfers = 0

    def open(self) -> None:
        """Book the days of the log."""
        begin = int(self._world.settings.start)
        while begin < self._world.settings.end:
            for centre in self._world.network.centres:
                for _ in range(max(5, len(self._world.catalogue) // 40)):
                    self._plan(centre, begin)
                self._world.agenda.at(begin + _TRANSFER_US, self._replenish, centre)
            begin += DAY_US

    def _plan(self, centre: Node, day: int) -> None:
        """A purchase order of today, for today or for later; and one of an earlier day that arrives today."""
        random, agenda = self._random, self._world.agenda
        today, earlier = self._draw(centre), self._draw(centre)
        created = day + int(random.uniform(5.5, 9) * HOUR_US)
        local = random.random() < 0.5
        lead = int(random.uniform(5, 8) * HOUR_US) if local else int(random.uniform(2, 5) * DAY_US)
        agenda.at(created, self._order, today, created + lead + (2 * HOUR_US if local else DAY_US))
        agenda.at(created + lead // 3, self._announce, today)
        agenda.at(created + lead, self._receive, today)
        arrives = day + int(random.uniform(7, 15) * HOUR_US)
        agenda.at(arrives - int(random.uniform(1, 4) * HOUR_US), self._announce, earlier)
        agenda.at(arrives, self._receive, earlier)

    def _draw(self, centre: Node) -> PurchaseOrder:
        random, catalogue, settings = self._random, self._world.catalogue, self._world.settings
        self._count += 1
        daily = settings.orders_per_day * 1.3 / len(self._world.network.centres)
        skus = random.sample(range(centre.carried), min(centre.carried, random.randint(3, 9)))
        lines = [(sku, 6 + int(2 * daily * catalogue.share(sku))) for sku in skus]
        return PurchaseOrder(f"PO-{70_000 + self._count}", f"supplier-{random.randint(1, _SUPPLIERS)}", centre, lines)

    def _lines(self, po: PurchaseOrder) -> list[dict[str, object]]:
        costs = self._world.catalogue.costs
        return [{"sku": self._world.sku(sku), "qty": qty, "unit_cost": money(costs[sku])} for sku, qty in po.lines]

    def _order(self, po: PurchaseOrder, expected: int) -> None:
        fields = {
            "po_id": po.po_id,
            "supplier": po.supplier,
            "node": po.node.name,
            "expected_at": self._world.stamp(expected),
            "lines": self._lines(po),
        }
        self._world.send(self._world.erp, "po.created", fields)

    def _announce(self, po: PurchaseOrder) -> None:
        self._document(po, "asn.received", f"ASN-{po.po_id}")

    def _receive(self, po: PurchaseOrder) -> None:
        agenda, random = self._world.agenda, self._random
        self._document(po, "goods.received", f"GR-{po.po_id}")
        for sku, qty in po.lines:
            self._stock.move(po.node, sku, qty, "receipt", po.po_id)
        value = self._value(po)
        agenda.at(
            agenda.now + int(random.uniform(2, 25) * MINUTE_US),
            self._ledger.post,
            "goods_receipt",
            po.po_id,
            value,
            "",
            po.node,
        )
        invoice = agenda.now + int(random.uniform(0.5, 5) * HOUR_US)
        agenda.at(invoice, self._document, po, "supplier_invoice.received", f"INV-{po.po_id}")
        agenda.at(
            invoice + int(random.uniform(2, 40) * HOUR_US),
            self._document,
            po,
            "supplier_invoice.cleared",
            f"INV-{po.po_id}",
        )

    def _value(self, po: PurchaseOrder) -> int:
        return sum(qty * self._world.catalogue.costs[sku] for sku, qty in po.lines)

    def _document(self, po: PurchaseOrder, kind: str, document: str) -> None:
        world = self._world
        fields: dict[str, object] = {"po_id": po.po_id, "supplier": po.supplier, "document_id": document}
        if kind.startswith("supplier_invoice"):
            fields |= {"amount": money(self._value(po)), "currency": world.settings.currency}
            source = world.erp
        else:
            fields |= {"qty": sum(qty for _, qty in po.lines), "lines": self._lines(po)}
            source = world.suppliers if kind == "asn.received" else world.wms(po.node)
        world.send(source, kind, fields)

    def _replenish(self, centre: Node) -> None:
        """Fill the stores up on what sells most, as far as the centre has more than it needs itself."""
        world, random, number = self._world, self._random, len(self._world.network.centres)
        costs = world.catalogue.costs
        for store in world.network.stores[centre.index % number :: number]:
            self._transfers += 1
            transfer = f"TR-{self._transfers}"
            moved: list[tuple[int, int]] = []
            for sku in range(min(_TRANSFER_SKUS, store.carried)):
                daily = world.settings.counter_sales_per_day * world.catalogue.share(sku, store.carried) * store.weight
                missing = 3 + int(1.5 * daily) - self._stock.unreserved(store, sku)
                spare = self._stock.unreserved(centre, sku) // 3
                if 0 < missing <= spare:
                    self._stock.move(centre, sku, -missing, "transfer_out", transfer)
                    moved.append((sku, missing))
            if moved:
                arrives = world.agenda.now + int(random.uniform(1.2, 2.6) * HOUR_US)
                value = sum(qty * costs[sku] for sku, qty in moved)
                world.agenda.at(arrives, self._unload, store, transfer, moved)
                world.agenda.at(arrives + 90 * SECOND_US, self._ledger.post, "transfer", transfer, value, "", store)

    def _unload(self, store: Node, transfer: str, moved: list[tuple[int, int]]) -> None:
        for sku, qty in moved:
            self._stock.move(store, sku, qty, "transfer_in", transfer)
