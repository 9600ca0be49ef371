"""The roster: on days that are planned to be busy, more people come to work."""

from scenarios.warehouse import Warehouse
from scenarios.world import World
from schemas.durations import DAY_US


class Roster:
    """Sets each floor's staff at midnight to what the day is planned to need; never below an ordinary day's."""

    def __init__(self, world: World, warehouse: Warehouse) -> None:
        self._world = world
        self._warehouse = warehouse
        self._extra = 0.0

    def open(self) -> None:
        """Book the days of the log, after everything that changes them is known."""
        world = self._world
        for day in range(int(world.settings.start), world.settings.end, DAY_US):
            begin, _ = world.local.day(day + DAY_US // 2)
            world.agenda.at(begin, self._begin_day, begin + DAY_US // 2)

    def _begin_day(self, noon: int) -> None:
        extra = max(0.0, self._world.season.busy(noon) - 1)
        for node in self._world.network.nodes:
            for floor, people in (
                (self._warehouse.pickers[node.index], node.pickers),
                (self._warehouse.packers[node.index], node.packers),
            ):
                change = round(people * extra) - round(people * self._extra)
                if change:
                    floor.staff(change)
        self._extra = extra
