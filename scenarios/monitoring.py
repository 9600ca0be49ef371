"""The middleware's own monitoring: how much waits in each queue, measured at a steady pace."""

from scenarios.world import World


class Monitoring:
    """Samples each queue once in `queue_sample`, the queues spread over it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def open(self) -> None:
        """Book the first samples."""
        agenda, every = self._world.agenda, self._world.settings.queue_sample
        for number, name in enumerate(self._world.queues):
            agenda.at(agenda.now + number * every // len(self._world.queues), self._sample, name)

    def _sample(self, name: str) -> None:
        world = self._world
        depth, age = world.queues[name].depth(world.agenda.now)
        world.send(world.middleware, "queue.depth", {"queue": name, "depth": depth, "oldest_age_s": round(age, 3)})
        world.agenda.at(world.agenda.now + world.settings.queue_sample, self._sample, name)
