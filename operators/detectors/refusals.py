"""Dead letters, counted by source and channel: `refused:schema` and so on."""

from collections.abc import Iterable

from operators.detectors.events import Collected
from operators.detectors.records import Impact, scoped
from operators.slices import Refused


class Refusals:
    """Holds dead letters until time has passed them. Memory: those of the time that lanes differ by."""

    def __init__(self) -> None:
        self._held: list[Refused] = []

    def push(self, refused: Iterable[Refused]) -> None:
        """Take a lane's."""
        self._held.extend(refused)

    def count(self, clock_us: int, out: Collected) -> None:
        """Count those that arrived before `clock_us`: by reason, `refused:schema` and so on."""
        if not self._held:
            return
        ready = sorted(one for one in self._held if one.arrival_us < clock_us)
        self._held = [one for one in self._held if one.arrival_us >= clock_us]
        for one in ready:
            scope = scoped(source=one.source, channel=one.channel)
            shown = f"{one.topic}/{one.partition}/{one.offset} {one.path}".strip()
            impact = Impact(order_id=one.order_id) if one.order_id else None
            out.bad(f"refused:{one.reason}", scope, one.arrival_us, one.arrival_us, shown, impact=impact)

    def sizes(self) -> dict[str, int]:
        """How many are held."""
        return {"held": len(self._held)}

    def snapshot(self) -> list[Refused]:
        """Those held."""
        return self._held

    def restore(self, held: list[Refused]) -> None:
        """Take over a snapshot."""
        self._held = list(held)
