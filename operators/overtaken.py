"""Messages that came after time had gone on past them."""

from collections.abc import Iterable

from schemas.durations import BEGIN_OF_TIME_US


class Overtaken:
    """Counts the messages of a partition that were logged before the time to which it had been taken to be quiet.

    A partition at its end does not hold time back for longer than a grace. What it brings after all from before is
    taken to have arrived when time had come by: nothing is lost, but the log alone does not say so, and a replay of it
    puts these messages earlier. Counted since the start; after a resume, what was taken by then is believed to have
    been logged in order.

    Attributes:
        count: how many.
        most_us: by how much at most.
    """

    def __init__(self) -> None:
        self.count = 0
        self.most_us = 0
        self._own_us: int | None = None

    def passed(self, last_us: int) -> None:
        """Time goes on past a partition whose last message arrived at `last_us`."""
        if self._own_us is None:
            self._own_us = last_us

    @property
    def possible(self) -> bool:
        """Whether time was moved on past the partition since its last message."""
        return self._own_us is not None

    def look(self, claims_us: Iterable[int], passed_us: int) -> None:
        """Messages come, in order, that say when they were logged; time had gone on to `passed_us`.

        Cost: that of looking at each, up to the first that was logged later.
        """
        own = BEGIN_OF_TIME_US if self._own_us is None else self._own_us
        for claim in claims_us:
            own = max(own, claim)
            if own >= passed_us:
                self._own_us = None
                return
            self.count += 1
            self.most_us = max(self.most_us, passed_us - own)
        self._own_us = own
