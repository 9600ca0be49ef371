"""What the parts of the retailer share: agenda, stock, calls over interfaces, and the queues between systems."""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from second_retailer.course import Course, Fault, Order
from second_retailer.journal import Journal
from second_retailer.retailer import (
    DAY,
    HOUR,
    HOURLY,
    LINES_PER_ORDER,
    STORE_SHARE,
    WEEKLY,
    Node,
    Retailer,
    Source,
    local,
)

WARM_UP = 36 * HOUR
_FAULTS = (("transport_error", None), ("downstream_error", 503), ("rule_error", 422), ("schema_error", 400))


@dataclass(slots=True)
class Queue:
    """A first-in-first-out queue of the middleware; remembers who is inside to say its depth."""

    free_at: float = 0.0
    inside: deque[tuple[float, float]] = field(default_factory=deque)  # (put, out), by both

    def put(self, t: float, service_s: Callable[[float], float]) -> float:
        """When a message put at `t` comes out."""
        start = max(t, self.free_at)
        self.free_at = start + service_s(start)
        self.inside.append((t, self.free_at))
        return self.free_at

    def depth(self, t: float) -> tuple[int, float]:
        """How many wait at `t`, and the age of the oldest."""
        while self.inside and self.inside[0][1] <= t:
            self.inside.popleft()
        return len(self.inside), t - self.inside[0][0] if self.inside else 0.0


class Stock:
    """Books of stock by (node name, item): the warehouse's, the ERP's, what is reserved, and what is oversold."""

    def __init__(self, retailer: Retailer, rng: random.Random) -> None:
        self.book: dict[tuple[str, int], float] = {}
        self.erp: dict[tuple[str, int], float] = {}
        self.reserved: dict[tuple[str, int], float] = {}
        self.owed: dict[tuple[str, int], float] = {}
        self.target: dict[tuple[str, int], float] = {}
        self.total = [0.0] * len(retailer.items)
        self.changed: dict[tuple[str, str], set[int]] = {}
        depots = len(retailer.depots)
        whole = sum(item.weight for item in retailer.items)
        for node in retailer.nodes:
            for at in retailer.shelves[node.name]:
                daily = retailer.orders_per_day * LINES_PER_ORDER * retailer.items[at].weight / whole / depots
                cover = rng.uniform(6, 14)
                amount = float(max(25, round(cover * daily)) if node.depot else rng.randrange(14, 60))
                self.book[node.name, at] = self.erp[node.name, at] = self.target[node.name, at] = amount
                self.total[at] += amount

    def free(self, node: str, item: int) -> float:
        place = (node, item)
        return self.book.get(place, 0.0) - self.reserved.get(place, 0.0)

    def reserve(self, node: str, item: int, qty: float) -> None:
        self.reserved[node, item] = self.reserved.get((node, item), 0.0) + qty
        self.total[item] -= qty
        self._note(node, item, "wms", "ecom")

    def owe(self, node: str, item: int, qty: float) -> None:
        """Sold without stock; a negative `qty` takes it back."""
        self.owed[node, item] = self.owed.get((node, item), 0.0) + qty
        self._note(node, item, "ecom")

    def move(self, node: str, item: int, delta: float) -> None:
        self.book[node, item] = self.book.get((node, item), 0.0) + delta
        self.total[item] += delta
        self._note(node, item, "wms", "ecom")

    def book_erp(self, node: str, item: int, delta: float) -> None:
        self.erp[node, item] = self.erp.get((node, item), 0.0) + delta
        self._note(node, item, "erp")

    def _note(self, node: str, item: int, *views: str) -> None:
        for view in views:
            self.changed.setdefault((node, view), set()).add(item)


class World:
    """One run: time, randomness, the log, the course of things."""

    def __init__(self, retailer: Retailer, journal: Journal, seed: int) -> None:
        self.retailer, self.journal, self.seed = retailer, journal, seed
        self.rng = random.Random(f"{seed}:world")
        self.course = Course()
        self.stock = Stock(retailer, random.Random(f"{seed}:stock"))
        self.prices = [item.price for item in retailer.items]
        self.orders: dict[str, Order] = {}
        self.delivered: list[Order] = []
        self.begin, self.end = journal.begin, journal.end
        self.queues = {"q.rez.sklepy": Queue(), "q.rez.magazyny": Queue()}
        self.unposted = 0
        self._agenda: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._turn = itertools.count()
        self._numbers = itertools.count(100_000 + seed % 1000 * 1000)

    def number(self) -> int:
        return next(self._numbers)

    def at(self, t: float, do: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401 - what `do` takes
        if t < self.end:
            heapq.heappush(self._agenda, (t, next(self._turn), do, arguments))

    def run(self) -> None:
        while self._agenda:
            t, _, do, arguments = heapq.heappop(self._agenda)
            do(t, *arguments)

    def about(self, median: float, spread: float = 0.5) -> float:
        """A lognormal time with this median, seconds."""
        return self.rng.lognormvariate(math.log(median), spread)

    def season(self, t: float) -> float:
        """Demand at `t` against the mean."""
        at = local(t)
        return HOURLY[at.hour] * WEEKLY[at.weekday()] * self.course.demand(t)

    def store_reservations(self, t: float) -> float:
        """Reservations a second that shops get at `t`, about."""
        return self.retailer.orders_per_day / DAY * LINES_PER_ORDER * STORE_SHARE * 0.8 * self.season(t)

    def price(self, item: int) -> float:
        return self.prices[item]

    def move(self, t: float, node: Node, item: int, delta: float, reason: str, reference: str = "") -> None:
        """Goods move at a node: its own system says so, the ERP's book follows within minutes."""
        sku = self.retailer.items[item].sku
        self.stock.move(node.name, item, delta)
        fields: dict[str, Any] = {"sku": sku, "node": node.name, "delta": delta, "reason": reason}
        if reference:
            fields["reference"] = reference
        self.journal.emit("inventory.adjusted", node.source, t, fields, region=node.region)
        if self.course.erp_hears(node, item, delta, t):
            self.at(t + self.rng.uniform(60, 300), self._erp_books, node.name, item, delta)

    def _erp_books(self, _t: float, node: str, item: int, delta: float) -> None:
        self.stock.book_erp(node, item, delta)

    def call(
        self,
        t: float,
        interface: str,
        source: Source,
        case: str,
        then: Callable[[float], None],
        *,
        failed: Callable[[float, str], None] | None = None,
        fails: float = 0.01,
        tries: int = 0,
    ) -> None:
        """Call until it succeeds, then go on with `then`. Each attempt is an event."""
        fault = self.course.fault(interface, t)
        if fault is not None and self.rng.random() < fault.share:
            fault.hit(case)
        elif self.rng.random() < fails:
            status, http = self.rng.choices(_FAULTS, (5, 3, 1.5, 0.5))[0]
            fault = Fault(1.0, status, http)
        else:
            taken = self.about(0.12, 0.7)
            self._call_event(t + taken, interface, source, case, "ok", 200, taken)
            self.at(t + taken, then)
            return
        taken = 30.0 if fault.status == "transport_error" else self.about(0.4, 0.8)
        self._call_event(t + taken, interface, source, case, fault.status, fault.http, taken)
        if failed is not None:
            failed(t + taken, fault.code)
        pause = self.rng.uniform(*fault.retry_s) * 2 ** min(tries, 3)
        again = max(t + taken + pause, fault.parked_until + self.rng.uniform(0, 900) if fault.parked_until else 0.0)

        def retry(at: float) -> None:
            self.call(at, interface, source, case, then, failed=failed, fails=fails, tries=tries + 1)

        self.at(again, retry)

    def _call_event(
        self, t: float, interface: str, source: Source, case: str, status: str, http: int | None, taken: float
    ) -> None:
        fields: dict[str, Any] = {"interface": interface, "status": status, "latency_ms": round(taken * 1000, 1)}
        if http is not None:
            fields["http_status"] = http
        if case:
            fields["case_id"] = case
        self.journal.emit("call.completed", source, t, fields)
