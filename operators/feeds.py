"""Which systems speak of a node's stock, and which of them has fallen silent while others go on.

Time is counted in cells, an eighth of `stale_after` long, and a feed counts as alive in a cell when anything of it
arrived there: so key groups need to say only once per cell that a feed is alive, and what follows does not depend
on how items are spread over them.
"""

from collections.abc import Sequence

from operators.feed_state import Beat, Feed, FeedState
from operators.findings import next_version, signal_id
from schemas.durations import people_duration, people_time
from schemas.errors import StateError
from schemas.events import Arrived, InventoryAdjusted, InventoryLevel
from schemas.rows import Signal

DETECTOR = "feed_watch"
CELLS = 8


class FeedBeats:
    """Thin a key group's inventory events to one beat per feed and cell.

    Memory: one number per (source, node). Cost: two dictionary look-ups per inventory event.
    """

    def __init__(self, stale_after_us: int) -> None:
        self._cell_us = max(1, stale_after_us // CELLS)
        self._cells: dict[str, dict[str, int]] = {}

    def update(self, events: Sequence[Arrived]) -> list[Beat]:
        """The beats in `events`."""
        out: list[Beat] = []
        cells, cell_us = self._cells, self._cell_us
        for arrived in events:
            event = arrived.event
            if isinstance(event, InventoryLevel) or isinstance(event, InventoryAdjusted):  # noqa: SIM101 - faster apart
                nodes = cells.get(event.source)
                if nodes is None:
                    nodes = cells[event.source] = {}
                cell = arrived.arrival_us // cell_us
                if nodes.get(event.node) != cell:
                    nodes[event.node] = cell
                    out.append(Beat(arrived.arrival_us, event.node, event.source, event.system))
        return out

    def sizes(self) -> dict[str, int]:
        """How many feeds are known."""
        return {"feeds": sum(map(len, self._cells.values()))}

    def snapshot(self) -> dict[str, dict[str, int]]:
        """Source → node → the feed's last cell."""
        return self._cells

    def restore(self, state: dict[str, dict[str, int]]) -> None:
        """Take over a snapshot."""
        self._cells = {source: dict(nodes) for source, nodes in state.items()}


class FeedWatch:
    """Find stock feeds that have stopped.

    A feed of a node has stopped when nothing of it arrived for `stale_after`, while another feed of the same node
    was alive throughout (no gap of more than half of `stale_after`): a quiet night, in which all are silent, is no
    finding. It closes when the feed is heard again. A node with one feed can't be judged.

    Memory: a record per (node, source). Cost: O(feeds of the node) per beat.
    """

    VERSION = 1

    def __init__(self, stale_after_us: int) -> None:
        self._stale_after_us = stale_after_us
        self._cell_us = max(1, stale_after_us // CELLS)
        self._nodes: dict[str, dict[str, Feed]] = {}
        self._held: list[Beat] = []

    def update(self, beats: Sequence[Beat]) -> None:
        """Take beats; they are applied when time passes them."""
        self._held.extend(beats)

    def advance(self, watermark: int) -> list[Signal]:
        """Apply what arrived before `watermark`."""
        ready = sorted(beat for beat in self._held if beat.arrival_us < watermark)
        if not ready:
            return []
        self._held = [beat for beat in self._held if beat.arrival_us >= watermark]
        out: list[Signal] = []
        for beat in ready:
            self._hear(beat, out)
        return out

    def _hear(self, beat: Beat, out: list[Signal]) -> None:
        cell = beat.arrival_us // self._cell_us
        feeds = self._nodes.setdefault(beat.node, {})
        feed = feeds.get(beat.source)
        if feed is None:
            feed = feeds[beat.source] = Feed(beat.system, cell, cell)
        elif cell == feed.last:
            return
        if cell - feed.last > CELLS // 2:
            feed.run = cell
        if feed.opened_us is not None:
            out.append(self._signal(beat.node, beat.source, feed, beat.arrival_us, beat.source, closed=True))
            feed.opened_us = None
        feed.last = cell
        for source, other in feeds.items():
            if other.opened_us is None and cell - other.last > CELLS and cell - max(feed.run, other.last) >= CELLS:
                other.opened_us, other.found_us = (other.last + 1) * self._cell_us, beat.arrival_us
                out.append(self._signal(beat.node, source, other, beat.arrival_us, beat.source, closed=False))

    def _signal(self, node: str, source: str, feed: Feed, now: int, witness: str, *, closed: bool) -> Signal:
        assert feed.opened_us is not None
        silent = people_duration(now - feed.opened_us)
        within = people_duration(self._stale_after_us)
        if closed:
            said = f"{source} is heard again about {node}'s stock, after {silent} of silence."
        else:
            said = f"{source} has said nothing about {node}'s stock for {silent}, while {witness} went on."
        return Signal(
            signal_id=signal_id(DETECTOR, "feed_stopped", node, source, str(feed.opened_us)),
            detector=DETECTOR,
            kind="feed_stopped",
            handoff="",
            scope={"node": node, "source": source},
            case_id="",
            opened_at_us=feed.opened_us,
            found_at_us=feed.found_us,
            closed_at_us=now if closed else None,
            severity="high",
            score=0.8,
            confidence=1.0,
            expected=f"something every {within}",
            observed=f"silent since {people_time(feed.opened_us)}",
            method="rule",
            explanation=said,
            evidence=[],
            arrival_us=now,
            version=next_version(0, now),
        )

    def sizes(self) -> dict[str, int]:
        """How many feeds of how many nodes are known, and beats held back."""
        return {"nodes": len(self._nodes), "feeds": sum(map(len, self._nodes.values())), "held": len(self._held)}

    def snapshot(self) -> FeedState:
        """Every feed, and the beats held back."""
        return FeedState(self.VERSION, self._held, self._nodes)

    def restore(self, state: FeedState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"feed state of version {state.version}; this code reads {self.VERSION}")
        self._held, self._nodes = list(state.held), state.nodes
