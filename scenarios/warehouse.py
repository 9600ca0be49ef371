"""The warehouse systems: they take work, reserve, pick and pack it with the people there are."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from scenarios.network import Node
from scenarios.orders import Line, Order
from scenarios.stock import Stock
from scenarios.world import World
from schemas.durations import MINUTE_US, SECOND_US

if TYPE_CHECKING:
    from scenarios.breakdowns.breakdown import Breakdown

_DAMAGED = 0.0015
#: What came in overnight is given to the floor over this time once the shift begins.
_FIRST_WAVE_US = 8 * MINUTE_US


class Job:
    """What a node has to do for an order: lines to pick, then one parcel to pack."""

    __slots__ = ("consumed_at", "node", "order", "picked", "to_pick")

    def __init__(self, order: Order, node: Node) -> None:
        self.order = order
        self.node = node
        self.to_pick = 0
        self.picked: list[Line] = []
        #: When the last consumed reservation is known to the ERP, which books no goods issue before it.
        self.consumed_at = 0


class Task:
    """One piece of work on the floor: pick a line of a job, or pack it."""

    __slots__ = ("fields", "job", "line", "queued_at", "reservation", "seconds")

    def __init__(
        self,
        job: Job,
        line: Line | None,
        reservation: str,
        seconds: float,
        fields: dict[str, object],
        queued_at: int,
    ) -> None:
        self.job = job
        self.line = line
        self.reservation = reservation
        self.seconds = seconds
        self.fields = fields
        self.queued_at = queued_at


class WorkCentre:
    """Some people who do tasks one after the other, first come first served."""

    __slots__ = ("_begin", "free", "waiting")

    def __init__(self, people: int, begin: Callable[["WorkCentre", Task], None]) -> None:
        self.free = people
        self.waiting: deque[Task] = deque()
        self._begin = begin

    def submit(self, task: Task) -> None:
        """Begin the task if somebody is free, else let it wait."""
        if self.free > 0:
            self.free -= 1
            self._begin(self, task)
        else:
            self.waiting.append(task)

    def release(self) -> None:
        """Somebody is done, and takes the next; or goes home, if people are missing (`free` below zero)."""
        self.free += 1
        self._take_up()

    def staff(self, change: int) -> None:
        """So many people come, or (below zero) leave as soon as they are done with what they do."""
        self.free += change
        self._take_up()

    def _take_up(self) -> None:
        while self.free > 0 and self.waiting:
            self.free -= 1
            self._begin(self, self.waiting.popleft())


class Warehouse:
    """All nodes' floors.

    A centre's system checks a reservation against its stock and may refuse it; a store's writes it down
    unchecked, since there the shelf is the truth: what isn't there is found out at the pick, and rejected as
    short.

    `ship` takes over packed jobs; `report_short` tells the OMS of a line that can't be done, `report_refused` of lines
    that the node gives back because of one of its `refusals`; `breakdowns` are asked who is to blame for work that
    comes for goods that aren't there. `started` are told of each task that somebody begins.
    """

    def __init__(self, world: World, stock: Stock, breakdowns: Sequence["Breakdown"]) -> None:
        self._world = world
        self._stock = stock
        self._breakdowns = breakdowns
        self._random = world.random("warehouse")
        self._tasks = 0
        self._reservations = 0
        nodes = world.network.nodes
        self.pickers = [WorkCentre(node.pickers, self._start) for node in nodes]
        self.packers = [WorkCentre(node.packers, self._start) for node in nodes]
        self.ship: Callable[[Job], None]
        self.report_short: Callable[[Order, Line, Node], None]
        self.report_refused: Callable[[Order, list[Line]], None]
        self.refusals: list[Callable[[Order, Node], str]] = []
        self.started: list[Callable[[Task], None]] = []

    def accept(self, order: Order, lines: list[Line], node: Node) -> None:
        """The node's system gets work: it reserves at once, and gives it to the floor when that is open."""
        world, job, taken = self._world, Job(order, node), []
        for refusal in self.refusals:
            reason = refusal(order, node)
            if reason:
                self._refuse(job, lines, reason)
                return
        for line in lines:
            self._reservations += 1
            reservation = f"R-{self._reservations}"
            item = node.first_item + line.sku
            missing = self._stock.unreserved(node, line.sku) < line.qty
            guilty = self._guilty(order, line, node) if missing else None
            if guilty is not None and node.is_store:
                self._stock.blamed[item] = guilty
            if missing and not node.is_store:
                if guilty is not None:
                    guilty.touch(order, [line], "reservations_rejected", world.agenda.now)
                leaves = self._tell("rejected", reservation, job, line, "insufficient_stock")
                world.agenda.at(leaves, self.report_short, order, line, node)
                continue
            self._stock.reserved["wms"][item] += line.qty
            world.agenda.at(self._tell("created", reservation, job, line), self._follow, item, line.qty)
            taken.append((line, reservation))
        job.to_pick = len(taken)
        if taken:
            release = node.release_at(world.agenda.now)
            if release > world.agenda.now:
                release += int(self._random.random() * _FIRST_WAVE_US)
            world.agenda.at(release, self._release, job, taken)

    def _refuse(self, job: Job, lines: list[Line], reason: str) -> None:
        """The node does not take the work at all."""
        leaves = self._world.agenda.now
        for line in lines:
            self._reservations += 1
            leaves = self._tell("rejected", f"R-{self._reservations}", job, line, reason)
        self._world.agenda.at(leaves, self.report_refused, job.order, lines)

    def _guilty(self, order: Order, line: Line, node: Node) -> "Breakdown | None":
        """Which breakdown kept the OMS from knowing, or from minding, that the node hasn't what was promised."""
        now = self._world.agenda.now
        return next(
            (
                breakdown
                for breakdown in self._breakdowns
                if breakdown.explains(node, now) or breakdown.promised(order, line)
            ),
            None,
        )

    def _tell(self, what: str, reservation: str, job: Job, line: Line, reason: str = "") -> int:
        """Send a reservation event by the queue of the node's kind; returns when its receivers have it."""
        fields: dict[str, object] = {
            "reservation_id": reservation,
            "order_id": job.order.order_id,
            "sku": self._world.sku(line.sku),
            "node": job.node.name,
            "region": job.node.region,
            "qty": line.qty,
        }
        if reason:
            fields["reason"] = reason
        queue = "store-reservations" if job.node.is_store else "dc-reservations"
        return self._world.send(self._world.wms(job.node), f"reservation.{what}", fields, queue, (job.order, line))

    def _follow(self, item: int, qty: int) -> None:
        """The OMS has learnt of a reservation."""
        self._stock.reserved["oms"][item] += qty

    def _release(self, job: Job, taken: list[tuple[Line, str]]) -> None:
        random, store = self._random, job.node.is_store
        for line, reservation in taken:
            seconds = random.lognormvariate(5.0, 0.4) if store else random.lognormvariate(4.2, 0.35)
            self._queue(job, "pick", seconds, line, reservation)

    def _queue(self, job: Job, kind: str, seconds: float, line: Line | None = None, reservation: str = "") -> None:
        self._tasks += 1
        fields: dict[str, object] = {
            "task_id": f"T-{self._tasks}",
            "task_type": kind,
            "order_id": job.order.order_id,
            "node": job.node.name,
            "region": job.node.region,
        }
        if line is not None:
            fields["sku"] = self._world.sku(line.sku)
            fields["qty"] = line.qty
        task = Task(job, line, reservation, seconds, fields, self._world.agenda.now)
        self._report("queued", task)
        (self.packers if line is None else self.pickers)[job.node.index].submit(task)

    def _report(self, what: str, task: Task) -> int:
        return self._world.send(
            self._world.wms(task.job.node), f"task.{what}", task.fields, "fulfillment-status", task.job.order
        )

    def _start(self, centre: WorkCentre, task: Task) -> None:
        agenda = self._world.agenda
        for watcher in self.started:
            watcher(task)
        agenda.at(agenda.now + int(self._random.uniform(1, 10) * SECOND_US), self._report, "started", task)
        agenda.at(agenda.now + int((10 + task.seconds) * SECOND_US), self._finish, centre, task)

    def _finish(self, centre: WorkCentre, task: Task) -> None:
        job = task.job
        if task.line is None:
            self._report("completed", task)
            self.ship(job)
        else:
            self._finish_pick(task, task.line)
            job.to_pick -= 1
            if job.to_pick == 0 and job.picked:
                seconds = self._random.lognormvariate(4.6, 0.35)
                self._queue(job, "pack", seconds)
        centre.release()

    def _finish_pick(self, task: Task, line: Line) -> None:
        stock, node = self._stock, task.job.node
        stock.reserved["wms"][node.first_item + line.sku] -= line.qty
        damaged = self._random.random() < _DAMAGED
        if stock.physical[node.first_item + line.sku] < line.qty:
            self._reject(task, line, "short")
        elif damaged:
            stock.move(node, line.sku, -line.qty, "damage", task.job.order.order_id)
            self._reject(task, line, "damaged")
        else:
            self._picked(task, line)
        if stock.unreserved(node, line.sku) >= 0:
            stock.blamed.pop(node.first_item + line.sku, None)

    def _picked(self, task: Task, line: Line) -> None:
        job, stock, world = task.job, self._stock, self._world
        self._report("completed", task)
        stock.move(job.node, line.sku, -line.qty, "pick", job.order.order_id)
        leaves = self._tell("consumed", task.reservation, job, line)
        world.agenda.at(leaves, stock.consume, job.node, line.sku, line.qty, job.order.order_id)
        job.consumed_at = max(job.consumed_at, leaves)
        job.picked.append(line)

    def _reject(self, task: Task, line: Line, reason: str) -> None:
        job, world = task.job, self._world
        item = job.node.first_item + line.sku
        guilty = self._stock.to_blame(item) if reason == "short" else None
        if guilty is not None:
            guilty.touch(job.order, [line], "picks_rejected", world.agenda.now)
        task.fields["reason"] = reason
        told = self._report("rejected", task)
        leaves = self._tell("released", task.reservation, job, line, reason)
        world.agenda.at(leaves, self._follow, item, -line.qty)
        world.agenda.at(told, self.report_short, job.order, line, job.node)
