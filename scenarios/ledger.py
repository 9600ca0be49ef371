"""The ERP: goods issues over an interface that can fail, then invoices and payments; and other postings."""

from collections.abc import Callable

from scenarios.catalogue import money
from scenarios.network import Node
from scenarios.orders import Line, Order
from scenarios.warehouse import Job
from scenarios.world import World
from schemas.durations import HOUR_US, MINUTE_US, SECOND_US

GOODS_MOVEMENTS = "erp-goods-movements"
_BILLING_US = 15 * MINUTE_US
_FIRST_RETRY_US, _LONGEST_RETRY_US = 5 * MINUTE_US, 60 * MINUTE_US


class GoodsIssue:
    """A goods issue that is to be posted; `due` is when it would be, were nothing in the way."""

    __slots__ = ("attempts", "due", "job", "waits")

    def __init__(self, job: Job, due: int) -> None:
        self.job = job
        self.due = due
        self.attempts = 0
        self.waits = False


class Outage:
    """A span in which the ERP refuses goods issues with `error_code`; they wait, and are retried."""

    def __init__(self, begin_us: int, end_us: int, error_code: str, message: str) -> None:
        self.begin_us = begin_us
        self.end_us = end_us
        self.error_code = error_code
        self.message = message
        self.backlog: list[GoodsIssue] = []


class Ledger:
    """Postings, each recorded at the moment the ERP booked it.

    A goods issue is booked when the dispatch *and* the consumption of the reservation are known; the invoice
    follows in the next billing run, the payment hours later. `watchers` are told of each goods issue booked
    or refused. `losses` are asked, of each goods issue or invoice that is to be booked, whether it gets lost instead:
    then neither it nor what would follow it is booked.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random("ledger")
        self._postings = 0
        self._outages: list[Outage] = []
        self.watchers: list[Callable[[GoodsIssue, bool], None]] = []
        self.losses: list[Callable[[str, Order, list[Line]], bool]] = []

    def fail(self, outage: Outage) -> None:
        """Book an outage; at its end what has piled up is worked off in a burst, as fast as it can be."""
        self._outages.append(outage)
        self._world.agenda.at(outage.end_us, self._recover, outage)

    def goods_issue(self, job: Job, known_us: int) -> None:
        """Goods of an order have left a node; the ERP hears of it at `known_us`."""
        due = known_us + int(self._random.uniform(5, 60) * SECOND_US)
        ready = max(due, job.consumed_at + 5 * SECOND_US)
        self._world.agenda.at(ready, self._attempt, GoodsIssue(job, due))

    def post(self, kind: str, reference: str, cents: int, order_id: str = "", node: Node | None = None) -> None:
        """Record a posting now."""
        self._postings += 1
        fields: dict[str, object] = {
            "posting_id": f"P-{self._postings}",
            "posting_type": kind,
            "reference": reference,
            "amount": money(cents),
            "currency": self._world.settings.currency,
        }
        if order_id:
            fields["order_id"] = order_id
        if node is not None:
            fields["node"] = node.name
        self._world.send(self._world.erp, "posting.recorded", fields, "" if kind == "goods_issue" else "erp-finance")

    def _attempt(self, issue: GoodsIssue) -> None:
        leaves = self._world.queues[GOODS_MOVEMENTS].put(self._world.agenda.now, issue.job.order)
        self._world.agenda.at(leaves, self._book, issue)

    def _book(self, issue: GoodsIssue) -> None:
        now, order = self._world.agenda.now, issue.job.order
        for outage in self._outages:
            if outage.begin_us <= now < outage.end_us:
                self._refuse(issue, outage)
                return
        if any(lost("goods_issue", order, issue.job.picked) for lost in self.losses):
            return
        costs = self._world.catalogue.costs
        value = sum(line.qty * costs[line.sku] for line in issue.job.picked)
        self.post("goods_issue", order.order_id, value, order.order_id, issue.job.node)
        for watcher in self.watchers:
            watcher(issue, True)  # noqa: FBT003 - the protocol of watchers
        if not order.invoiced:
            order.invoiced = True
            run = -(-now // _BILLING_US) * _BILLING_US + int(self._random.uniform(10, 150) * SECOND_US)
            self._world.agenda.at(run, self._invoice, order)

    def _refuse(self, issue: GoodsIssue, outage: Outage) -> None:
        order = issue.job.order
        fields = {
            "posting_type": "goods_issue",
            "reference": order.order_id,
            "interface": GOODS_MOVEMENTS,
            "error_code": outage.error_code,
            "message": outage.message,
        }
        self._world.send(self._world.erp, "posting.failed", fields)
        if not issue.waits:
            issue.waits = True
            outage.backlog.append(issue)
        again = self._world.agenda.now + min(_FIRST_RETRY_US << issue.attempts, _LONGEST_RETRY_US)
        issue.attempts += 1
        if again < outage.end_us:
            self._world.agenda.at(again, self._retry, issue, outage)
        for watcher in self.watchers:
            watcher(issue, False)  # noqa: FBT003 - the protocol of watchers

    def _retry(self, issue: GoodsIssue, outage: Outage) -> None:
        self._refuse(issue, outage)

    def _recover(self, outage: Outage) -> None:
        for issue in outage.backlog:
            issue.waits = False
            self._attempt(issue)

    def _invoice(self, order: Order) -> None:
        if any(lost("invoice", order, order.lines) for lost in self.losses):
            return
        random, value = self._random, sum(line.qty * line.price for line in order.lines)
        self.post("invoice", order.order_id, value, order.order_id)
        hours = random.uniform(6, 20) if order.channel == "marketplace" else random.triangular(0.3, 6, 1)
        self._world.agenda.at(
            self._world.agenda.now + int(hours * HOUR_US),
            self.post,
            "payment",
            order.order_id,
            value,
            order.order_id,
        )
