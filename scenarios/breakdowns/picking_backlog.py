"""Pickers don't come to work at a node."""

from typing import ClassVar

import msgspec

from scenarios.breakdowns.breakdown import Breakdown, Scope, at
from scenarios.breakdowns.places import chosen_node, node_problem
from scenarios.retailer import Retailer
from scenarios.warehouse import Task
from schemas.durations import MINUTE_US, Duration


class PickingBacklogParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where (the first centre by default), which share is absent; from which wait on a pick counts as late."""

    node: str = ""
    absent: float = 0.9
    late_after: Duration = Duration(45 * MINUTE_US)


class PickingBacklog(Breakdown):
    """Tasks queue as ever, and start late; packing, dispatch and what follows are late after them."""

    kind: ClassVar[str] = "picking_backlog"
    begins: ClassVar[Duration] = at(9)
    ends: ClassVar[Duration] = at(14)
    Parameters = PickingBacklogParameters
    parameters: PickingBacklogParameters

    def problem(self, retailer: Retailer) -> str:
        """Refuse a node that there is not, or a share that is none."""
        if not 0 < self.parameters.absent <= 1:
            return "absent must be above 0 and at most 1"
        return node_problem(retailer, self.parameters.node)

    def claims(self, retailer: Retailer) -> str:
        """The node's part of it: several nodes can suffer at once."""
        usual = retailer.world.network.centres[0]
        return f"{self.kind} at {chosen_node(retailer, self.parameters.node, usual).name}"

    def install(self, retailer: Retailer) -> None:
        """Book who goes and who comes back, and watch how long picks wait."""
        self._node = chosen_node(retailer, self.parameters.node, retailer.world.network.centres[0])
        self._agenda = retailer.world.agenda
        self._pickers = retailer.warehouse.pickers[self._node.index]
        absent = max(1, round(self._node.pickers * self.parameters.absent))
        self._agenda.at(self.begin_us, self._pickers.staff, -absent)
        self._agenda.at(self.end_us, self._pickers.staff, absent)
        self._agenda.at(int(retailer.world.settings.end) - 1, self._still_waiting)
        retailer.warehouse.started.append(self._started)

    def scope(self) -> Scope:
        """The node."""
        return {"node": self._node.name}

    def _started(self, task: Task) -> None:
        now = self._agenda.now
        if task.line is not None and task.job.node is self._node and now >= self.begin_us and self._waits(task):
            self.touch(task.job.order, [task.line], "picks_late", now)

    def _still_waiting(self) -> None:
        for task in self._pickers.waiting:
            if task.line is not None and self._waits(task):
                self.touch(task.job.order, [task.line], "picks_late", self._agenda.now)

    def _waits(self, task: Task) -> bool:
        """Whether a task has waited too long, some of it while people were missing."""
        return task.queued_at < self.end_us and self._agenda.now - task.queued_at >= self.parameters.late_after
