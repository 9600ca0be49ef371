"""Supply: purchase orders to the centres, and the night's transfers from the centres to the stores."""

from collections.abc import Callable, Iterable

from scenarios.catalogue import money
from scenarios.ledger import Ledger
from scenarios.network import Node
from scenarios.stock import Stock
from scenarios.world import World
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, SECOND_US

_LEAST_SUPPLIERS, _SKUS_PER_SUPPLIER = 6, 400
#: So many items make one purchase order a day at each centre; at least there are five.
_SKUS_PER_ORDER = 20
_TRANSFER_US = 5 * HOUR_US
#: Items whose shelves are filled up each night, however little is missing; others when half is gone.
_FAST_SKUS = 25


class PurchaseOrder:
    """What was ordered from a supplier: items with quantities.

    `expected` is when the supplier said it comes (0: ordered before the log, nobody in it knows). What is
    delivered (`received`) and what is billed (`invoiced`, with `markup` on the price) is what was ordered,
    unless the supplier gets it wrong.
    """

    __slots__ = ("announced", "expected", "invoiced", "lines", "markup", "node", "po_id", "received", "supplier")

    def __init__(self, po_id: str, supplier: str, node: Node, lines: list[tuple[int, int]]) -> None:
        self.po_id = po_id
        self.supplier = supplier
        self.node = node
        self.lines = self.received = self.invoiced = lines
        self.markup = 1.0
        self.expected = 0
        self.announced = False


class Supply:
    """Each day some purchase orders begin, some earlier ones arrive; local suppliers deliver the same day.

    On the first day what is ordered is drawn; from the second on it is what has run lowest, so that a retailer
    of any size lives on for weeks.

    `late` may each keep a delivery back by microseconds; `silent` are asked whether an announcement is not sent;
    `wrong` may change what a purchase order brings, when it arrives; `watchers` are told of each document.
    """

    def __init__(self, world: World, stock: Stock, ledger: Ledger) -> None:
        self._world = world
        self._stock = stock
        self._ledger = ledger
        self._random = world.random("supply")
        self._count = 0
        self._transfers = 0
        self._usual = stock.physical[:]
        self._on_order: dict[int, int] = {}
        self.suppliers = max(_LEAST_SUPPLIERS, len(world.catalogue) // _SKUS_PER_SUPPLIER)
        #: Purchase orders that are under way, with the instant at which they arrive.
        self.under_way: dict[str, tuple[int, PurchaseOrder]] = {}
        self._forgotten: list[tuple[int, int, frozenset[int]]] = []
        #: Suppliers that a breakdown is about.
        self.troubled: set[str] = set()
        self.late: list[Callable[[PurchaseOrder], int]] = []
        self.silent: list[Callable[[PurchaseOrder], bool]] = []
        self.wrong: list[Callable[[PurchaseOrder], None]] = []
        self.watchers: list[Callable[[str, PurchaseOrder], None]] = []

    def open(self) -> None:
        """Book the days of the log."""
        number, local = max(5, len(self._world.catalogue) // _SKUS_PER_ORDER), self._world.local
        for day in range(int(self._world.settings.start), self._world.settings.end, DAY_US):
            begin, _ = local.day(day + DAY_US // 2)
            for centre in self._world.network.centres:
                if day == self._world.settings.start:
                    for _ in range(number):
                        self._plan(begin, self._draw(centre), self._draw(centre))
                else:
                    self._world.agenda.at(begin, self._plan_by_need, centre, begin, number)
                self._world.agenda.at(begin + _TRANSFER_US, self._replenish, centre)

    def forget(self, skus: list[int], begin_us: int, end_us: int) -> None:
        """Neither buy nor transfer these items meanwhile."""
        self._forgotten.append((begin_us, end_us, frozenset(skus)))

    def buy(self, wanted: dict[int, int], arrives: int) -> None:
        """Buy so many units of some items for all nodes, each its part: in the centres then, in stores soon after.

        What stores get is sent on by transfer; a centre keeps as much as the stores near it get together.
        """
        world, network = self._world, self._world.network
        arrives = max(arrives, world.agenda.now + HOUR_US)
        for number, centre in enumerate(network.centres):
            stores = network.stores[number :: len(network.centres)]
            parts = {
                store.index: [
                    (sku, 1 + round(units * store.weight / 2)) for sku, units in wanted.items() if sku < store.carried
                ]
                for store in stores
            }
            lines = [
                (sku, 1 + units // (2 * len(network.centres)) + sum(dict(part).get(sku, 0) for part in parts.values()))
                for sku, units in wanted.items()
            ]
            po = self._make(centre, lines)
            po.expected = arrives + HOUR_US
            world.agenda.at(arrives - 6 * HOUR_US, self._order, po)
            world.agenda.at(arrives - 4 * HOUR_US, self._announce, po)
            self._deliver(po, arrives)
            for store in stores:
                world.agenda.at(arrives + HOUR_US, self._transfer, centre, store, parts[store.index])

    def _plan(self, day: int, today: PurchaseOrder, earlier: PurchaseOrder) -> None:
        """A purchase order of today, for today or for later; and one of an earlier day that arrives today."""
        random, agenda = self._random, self._world.agenda
        created = day + int(random.uniform(5.5, 9) * HOUR_US)
        local = random.random() < 0.5
        lead = int(random.uniform(5, 8) * HOUR_US) if local else int(random.uniform(2, 5) * DAY_US)
        today.expected = created + lead + (2 * HOUR_US if local else DAY_US)
        agenda.at(created, self._order, today)
        agenda.at(created + lead // 3, self._announce, today)
        self._deliver(today, created + lead)
        arrives = day + int(random.uniform(7, 15) * HOUR_US)
        agenda.at(arrives - int(random.uniform(1, 4) * HOUR_US), self._announce, earlier)
        self._deliver(earlier, arrives)

    def _plan_by_need(self, centre: Node, day: int, number: int) -> None:
        """Order what has run lowest against what the centre needs for a week, the most urgent first."""
        settings, catalogue, random = self._world.settings, self._world.catalogue, self._random
        centres = len(self._world.network.centres)
        week = 5 * (settings.orders_per_day * 1.8 + settings.counter_sales_per_day) / centres
        needs: list[tuple[float, int, int]] = []
        skipped = self._skipped(self._world.agenda.now)
        for sku in range(centre.carried):
            if sku in skipped:
                continue
            item = centre.first_item + sku
            target = self._usual[item] + int(week * catalogue.share(sku))
            there = self._stock.unreserved(centre, sku) + self._on_order.get(item, 0)
            needs.append((there / target, sku, target - there))
        needs.sort()
        lines = [(sku, units) for _, sku, units in needs if units > 0][: number * 12]
        parts: list[list[tuple[int, int]]] = []
        while lines:
            size = random.randint(3, 9)
            parts.append(lines[:size])
            lines = lines[size:]
        half = (len(parts) + 1) // 2
        for urgent, other in zip(parts[:half], parts[half:], strict=False):
            self._plan(day, self._make(centre, other), self._make(centre, urgent))

    def _draw(self, centre: Node) -> PurchaseOrder:
        random, catalogue, settings = self._random, self._world.catalogue, self._world.settings
        daily = settings.orders_per_day * 1.3 / len(self._world.network.centres)
        skus = random.sample(range(centre.carried), min(centre.carried, random.randint(3, 9)))
        skipped = self._skipped(settings.start)
        lines = [(sku, 6 + int(2 * daily * catalogue.share(sku))) for sku in skus if sku not in skipped]
        return self._make(centre, lines or [(0, 6)])

    def _skipped(self, at_us: int) -> set[int]:
        return {sku for begin, end, skus in self._forgotten if begin <= at_us < end for sku in skus}

    def _make(self, centre: Node, lines: list[tuple[int, int]]) -> PurchaseOrder:
        self._count += 1
        supplier = f"supplier-{self._random.randint(1, self.suppliers)}"
        return PurchaseOrder(f"PO-{70_000 + self._count}", supplier, centre, lines)

    def _lines(self, lines: Iterable[tuple[int, int]], markup: float = 1.0) -> list[dict[str, object]]:
        costs = self._world.catalogue.costs
        return [
            {"sku": self._world.sku(sku), "qty": qty, "unit_cost": money(round(costs[sku] * markup))}
            for sku, qty in lines
        ]

    def _order(self, po: PurchaseOrder) -> None:
        fields = {
            "po_id": po.po_id,
            "supplier": po.supplier,
            "node": po.node.name,
            "expected_at": self._world.stamp(po.expected),
            "lines": self._lines(po.lines),
        }
        self._world.send(self._world.erp, "po.created", fields)

    def _announce(self, po: PurchaseOrder) -> None:
        if not any(silent(po) for silent in self.silent):
            po.announced = True
            self._document(po, "asn.received", f"ASN-{po.po_id}")

    def _deliver(self, po: PurchaseOrder, arrives: int) -> None:
        self.under_way[po.po_id] = (arrives, po)
        for sku, qty in po.lines:
            item = po.node.first_item + sku
            self._on_order[item] = self._on_order.get(item, 0) + qty
        self._world.agenda.at(arrives, self._arrive, po)

    def _arrive(self, po: PurchaseOrder) -> None:
        """The goods would be there now, unless the supplier is late."""
        delay = max((late(po) for late in self.late), default=0)
        self._world.agenda.at(self._world.agenda.now + delay, self._receive, po)

    def _receive(self, po: PurchaseOrder) -> None:
        agenda, random = self._world.agenda, self._random
        del self.under_way[po.po_id]
        for wrong in self.wrong:
            wrong(po)
        self._document(po, "goods.received", f"GR-{po.po_id}")
        for sku, qty in po.lines:
            self._on_order[po.node.first_item + sku] -= qty
        for sku, qty in po.received:
            if not qty:
                continue
            self._stock.move(po.node, sku, qty, "receipt", po.po_id)
        posted = agenda.now + int(random.uniform(2, 25) * MINUTE_US)
        agenda.at(posted, self._ledger.post, "goods_receipt", po.po_id, self.value(po.received), "", po.node)
        invoice = agenda.now + int(random.uniform(0.5, 5) * HOUR_US)
        agenda.at(invoice, self._document, po, "supplier_invoice.received", f"INV-{po.po_id}")
        cleared = invoice + int(random.uniform(2, 40) * HOUR_US)
        agenda.at(cleared, self._document, po, "supplier_invoice.cleared", f"INV-{po.po_id}")

    def value(self, lines: Iterable[tuple[int, int]], markup: float = 1.0) -> int:
        """What lines cost, in cents."""
        return sum(qty * round(self._world.catalogue.costs[sku] * markup) for sku, qty in lines)

    def _document(self, po: PurchaseOrder, kind: str, document: str) -> None:
        world = self._world
        fields: dict[str, object] = {"po_id": po.po_id, "supplier": po.supplier, "document_id": document}
        if kind.startswith("supplier_invoice"):
            fields |= {"amount": money(self.value(po.invoiced, po.markup)), "currency": world.settings.currency}
            lines, markup, source = po.invoiced, po.markup, world.erp
        elif kind == "asn.received":
            lines, markup, source = po.lines, 1.0, world.suppliers
        else:
            lines, markup, source = po.received, 1.0, world.wms(po.node)
        fields |= {"qty": sum(qty for _, qty in lines), "lines": self._lines(lines, markup)}
        world.send(source, kind, fields)
        for watcher in self.watchers:
            watcher(kind, po)

    def _replenish(self, centre: Node) -> None:
        """Fill the stores up, as far as the centre has more than it needs itself."""
        world, number, stock = self._world, len(self._world.network.centres), self._stock
        first_day = world.agenda.now < world.settings.start + DAY_US
        skipped = self._skipped(world.agenda.now)
        for store in world.network.stores[centre.index % number :: number]:
            moved: list[tuple[int, int]] = []
            for sku in range(min(_FAST_SKUS, store.carried) if first_day else store.carried):
                there = stock.unreserved(store, sku)
                if sku in skipped:
                    continue
                if sku < _FAST_SKUS:
                    share = world.catalogue.share(sku, store.carried)
                    missing = 3 + int(1.5 * world.settings.counter_sales_per_day * share * store.weight) - there
                else:
                    usual = self._usual[store.first_item + sku]
                    missing = usual - there if there <= usual // 2 else 0
                spare = stock.at_hand(centre, sku) // 3 if missing > 0 else 0
                if spare > 0 and (missing <= spare or not first_day):
                    moved.append((sku, min(missing, spare)))
            self._transfer(centre, store, moved)

    def _transfer(self, centre: Node, store: Node, moved: list[tuple[int, int]]) -> None:
        if not moved:
            return
        self._transfers += 1
        transfer = f"TR-{self._transfers}"
        for sku, qty in moved:
            self._stock.move(centre, sku, -qty, "transfer_out", transfer)
        arrives = self._world.agenda.now + int(self._random.uniform(1.2, 2.6) * HOUR_US)
        value = self.value(moved)
        self._world.agenda.at(arrives, self._unload, store, transfer, moved)
        self._world.agenda.at(arrives + 90 * SECOND_US, self._ledger.post, "transfer", transfer, value, "", store)

    def _unload(self, store: Node, transfer: str, moved: list[tuple[int, int]]) -> None:
        for sku, qty in moved:
            self._stock.move(store, sku, qty, "transfer_in", transfer)
