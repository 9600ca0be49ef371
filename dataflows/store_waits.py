"""A bounded job whose database does not take rows: its person is told why it waits, and can end that."""

from collections.abc import Callable, Sequence

from dataflows.flow import Stop
from schemas.durations import SECOND_US, people_duration
from schemas.errors import Stopped, StoreUnavailable
from schemas.rows import DeadLetter, Row

#: A server comes back. What an embedded database waits for is a person who makes room.
SERVER_PATIENCE_S, EMBEDDED_PATIENCE_S = 600.0, 60.0

Tell = Callable[[str], None]


class StoreWaits:
    """The writer's watch of a bounded job.

    Args:
        stop: once it is requested, waiting ends.
        tell: called when a wait begins and when it is over, with words for a person.

    Raises (from `waiting` and `tick`):
        Stopped: as asked for, with the rows that wait unwritten.
    """

    def __init__(self, stop: Stop, tell: Tell | None) -> None:
        self._stop, self._tell = stop, tell
        self._told = False

    def waiting(self, error: StoreUnavailable, pause_s: float, waited_s: float) -> None:
        """The store does not take rows."""
        del pause_s, waited_s
        if not self._told:
            self._say(f"waiting for the database, which does not take rows: {error}")
        self._told = True
        self.tick()

    def tick(self) -> None:
        """The wait goes on."""
        if self._stop.requested:
            raise Stopped("stopped while waiting for the database, so not at a snapshot")

    def recovered(self, waited_s: float) -> None:
        """The store answers again."""
        if self._told:
            self._say(f"the database takes rows again, after {people_duration(waited_s * SECOND_US)}")
        self._told = False

    def written(self, record: type[Row], rows: Sequence[Row], seconds: float) -> None:
        """Nothing is told of what went well."""

    def refused(self, letters: Sequence[DeadLetter]) -> None:
        """They are in the summary, with the other dead letters."""

    def _say(self, words: str) -> None:
        if self._tell is not None:
            self._tell(words)
