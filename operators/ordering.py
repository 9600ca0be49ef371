"""The order of the log: merging lanes, and releasing what they sent in arrival order.

Every event has a place (arrival, topic, partition, offset). A lane sends slices in that order, each with its
watermark: nothing that arrived before it is still to come from that lane. `Reorder` holds events back until every
lane's watermark has passed them and releases them in the order of the log, so that what follows is a function of
the log alone: not of batches, polls, workers or restarts.
"""

from collections.abc import Iterable

import numpy as np

from operators.id_hashes import IdHasher
from operators.marks import NONE, Marks, joined, marks_of
from operators.slices import FrontierState, Released, ReorderState, Slice
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US
from schemas.errors import StateError
from schemas.events import Arrived


class Frontier:
    """How far all inputs of a key group have come: the least of their watermarks.

    Args:
        inputs: the names of all inputs; time stands still until each was heard of.
    """

    VERSION = 1

    def __init__(self, inputs: Iterable[str]) -> None:
        self._watermarks = dict.fromkeys(inputs, BEGIN_OF_TIME_US)
        self._last = dict.fromkeys(self._watermarks, BEGIN_OF_TIME_US)

    def push(self, name: str, watermark_us: int, last_us: int, *, final: bool) -> None:
        """An input has come to `watermark_us`, or has ended; `last_us` is its largest arrival time.

        Raises:
            StateError: the input is not one of this group's (their number was changed under kept state).
        """
        if name not in self._watermarks:
            raise StateError(f"input {name!r} came to a group that knows {', '.join(self._watermarks)}")
        self._watermarks[name] = END_OF_TIME_US if final else max(watermark_us, self._watermarks[name])
        self._last[name] = max(self._last[name], last_us)

    @property
    def watermark_us(self) -> int:
        """Nothing that arrived before this is still to come; the end of time once all inputs have ended."""
        return min(self._watermarks.values())

    @property
    def ended(self) -> bool:
        """Whether all inputs have ended."""
        return self.watermark_us == END_OF_TIME_US

    @property
    def clock_us(self) -> int:
        """How far time has come: the watermark, or just past the last arrival once all inputs have ended."""
        return max(self._last.values()) + 1 if self.ended else self.watermark_us

    def snapshot(self) -> FrontierState:
        """How far each input has come."""
        return FrontierState(self.VERSION, dict(self._watermarks), dict(self._last))

    def restore(self, state: FrontierState) -> None:
        """Take over a snapshot. An input that had ended may have grown since; where it has not, it ends again.

        Raises:
            StateError: it is of another version, or of another set of inputs.
        """
        if state.version != self.VERSION:
            raise StateError(f"order state of version {state.version}; this code reads {self.VERSION}")
        if set(state.watermarks) != set(self._watermarks):
            raise StateError(
                f"the state was kept with {len(state.watermarks)} inputs ({', '.join(sorted(state.watermarks))}) and "
                f"is resumed with {len(self._watermarks)} ({', '.join(sorted(self._watermarks))}): keep the numbers "
                "of lanes and key groups as they were, or start with a new recovery directory"
            )
        self._watermarks = dict(state.watermarks)
        self._last = dict(state.last)
        reached_us = self.clock_us
        for name, watermark_us in state.watermarks.items():
            if watermark_us == END_OF_TIME_US:
                self._watermarks[name] = max(reached_us, self._last[name] + 1)


class Reorder:
    """Hold back and release, for one key group.

    Args:
        lanes: the names of all lanes that feed the group; nothing is released before each was heard of.

    Memory: what arrived between the slowest and the fastest lane. Cost: O(n log lanes) per release; some 0.01 µs an
    event where there is one lane.
    """

    def __init__(self, lanes: Iterable[str]) -> None:
        names = list(lanes)
        self._frontier = Frontier(names)
        self._hasher = IdHasher()
        self._held: dict[str, list[Arrived]] = {lane: [] for lane in names}
        self._marks: dict[str, list[Marks]] = {lane: [] for lane in names}

    def push(self, piece: Slice) -> None:
        """Take a slice of a lane.

        Raises:
            StateError: the lane is not one of this group's.
        """
        self._frontier.push(piece.lane, piece.watermark_us, piece.last_us, final=piece.final)
        if not piece.events:
            return
        held = self._held[piece.lane]
        if held:
            held.extend(piece.events)
        else:
            self._held[piece.lane] = list(piece.events)
        marks = Marks.unpacked(piece.marks) if piece.marks else marks_of(piece.events, self._hasher)
        self._marks[piece.lane].append(marks)

    def release(self) -> Released:
        """Events that no lane can precede any more, in order, and the time reached."""
        watermark = self._frontier.watermark_us
        runs, marks = [], []
        for lane, held in self._held.items():
            if not held:
                continue
            theirs = joined(self._marks[lane])
            all_of = held[-1].arrival_us < watermark
            upto = len(held) if all_of else int(np.searchsorted(theirs.times_us, watermark))
            if upto:
                runs.append(held if all_of else held[:upto])
                marks.append(theirs.at(slice(upto)))
            self._held[lane] = [] if all_of else held[upto:]
            self._marks[lane] = [] if all_of else [theirs.at(slice(upto, None))]
        events, ordered = (runs[0], marks[0]) if len(runs) == 1 else _in_order(runs, marks)
        return Released(events, ordered, self._frontier.clock_us, self._frontier.ended)

    @property
    def clock_us(self) -> int:
        """How far time has come."""
        return self._frontier.clock_us

    def sizes(self) -> dict[str, int]:
        """How many events are held back."""
        return {"held": sum(map(len, self._held.values()))}

    def snapshot(self) -> ReorderState:
        """What is held and how far each lane has come."""
        return ReorderState(self._frontier.snapshot(), self._held)

    def restore(self, state: ReorderState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version, or of another set of lanes.
        """
        self._frontier.restore(state.frontier)
        self._held = {lane: list(state.held[lane]) for lane in self._held}
        self._marks = {lane: [marks_of(held, self._hasher)] if held else [] for lane, held in self._held.items()}


def _in_order(runs: list[list[Arrived]], marks: list[Marks]) -> tuple[list[Arrived], Marks]:
    """The events of several lanes in the order of the log, with their marks."""
    if not runs:
        return [], NONE
    events, all_marks = [event for run in runs for event in run], joined(marks)
    order = np.argsort(all_marks.times_us, kind="stable")
    times = all_marks.times_us[order]
    if (times[1:] == times[:-1]).any():  # what arrived at one time is in order of topic, partition and offset
        order = np.array(sorted(range(len(events)), key=events.__getitem__))
    return [events[place] for place in order.tolist()], all_marks.at(order)
