"""A key group with what is kept of it: its state as one, or what has changed of it, in increments beside.

The engine keeps one value a key, whole. So increments are kept by partitions (slots) of a step behind the groups: a
group names the slots of an epoch while that lasts (`Emitted.due`), makes the increment when its own snapshot is taken,
and puts it on a shelf, where the slot's snapshot, which the engine takes after that of the group, finds it. After a
start slots put there what was kept, and a group waits until all that it needs is there. For that both have to lie in
one process.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import TypeAlias
from zlib import crc32

import msgspec

from dataflows.flow import FlowWatch, Stop
from dataflows.kept import Compressor, Keeping, expanded
from operators.group_state import Emitted, Piece, decoded
from operators.groups import Group, make_group
from operators.increments import Increment, Increments, IncrementsState
from operators.pipeline import PipelineSettings
from schemas.errors import StateError

#: A group's name and state, and with which increments it goes where it goes with any; a slot's name and increment.
Kept: TypeAlias = tuple[str, bytes] | tuple[str, bytes, bytes]

#: Before a state that goes with increments: MessagePack has no such value, so a program that knows of no increments
#: refuses the state.
_GOES_WITH_INCREMENTS = b"\xc1"
#: In which shares of an epoch, taking it to last as long as the one before, groups pack what is awake.
_PACKED_FROM, _PACKED_WITHIN = 0.75, 0.2


def slot_name(group: str, slot: int) -> str:
    """The name of a group's slot."""
    return f"{group}#{slot}"


def slots_of(group: str) -> list[str]:
    """The names of all of a group's slots. Their number is part of what is kept: no state is found under another."""
    return [slot_name(group, slot) for slot in range(Increments.SLOTS)]


class Keeper:
    """What all groups of a process are kept with.

    Args:
        watch: is told what is kept.
        increments_from: groups with so many records are kept in increments; 0: none is.
    """

    def __init__(self, watch: FlowWatch, increments_from: int) -> None:
        self._watch, self.increments_from = watch, increments_from
        self._compressor = Compressor()
        self.shelf: dict[str, bytes | Keeping] = {}

    def keep(self, group: Group, name: str, take: Callable[[], bytes], *also: bytes) -> Keeping:
        """Something of a group, compressed beside; it pickles as its name, its bytes, and `also`."""
        return self._compressor.keep(name, take, partial(self._watch.group_kept, group), *also)

    def put(self, slot: Kept) -> None:
        """What was kept in a slot."""
        if slot[1]:
            self.shelf[slot[0]] = slot[1]

    def of_slot(self, name: str, *, is_over: bool) -> Keeping | Kept:
        """What is to be kept in a slot.

        Raises:
            StateError: its group has put nothing there.
        """
        if is_over:
            return name, b""
        keeping = self.shelf.pop(name, None)
        if not isinstance(keeping, Keeping):
            raise StateError(f"{name} has no increment to keep: its group lies in another process of the job")
        return keeping


class KeptGroup:
    """A group, made anew or as it was kept.

    Args:
        name: of the group.
        settings: of the pipeline.
        keeper: keeps it; None where nothing is kept.
        stop: remembers an error of ours.
        kept: what was kept of it.
    """

    def __init__(
        self, name: str, settings: PipelineSettings, keeper: Keeper | None, stop: Stop, kept: Kept | None = None
    ) -> None:
        self.group = make_group(name, settings)
        self._keeper, self._stop = keeper, stop
        self._kept_s, self._packs_s = time.monotonic(), inf
        self._increments = Increments(name, self.group.parts(), keeper.increments_from if keeper is not None else 0)
        self._waiting: tuple[IncrementsState, bytes] | None = None
        if kept is None:
            return
        with stop.failing():
            state = expanded(kept[1])
            if len(kept) == 2:
                self.group.restore(state)
            else:
                self._waiting = decoded(kept[2], IncrementsState), state.removeprefix(_GOES_WITH_INCREMENTS)

    def is_there(self) -> bool:
        """Whether the group can go on: all increments that its state goes with have been put on the shelf."""
        if self._waiting is None:
            return True
        assert self._keeper is not None
        shelf, (state, rest) = self._keeper.shelf, self._waiting
        names = [self._slot(held.number) for held in state.live]
        if not all(name in shelf for name in names):
            return False
        with self._stop.failing():
            increments = [decoded(expanded(_bytes_of(shelf.pop(name))), Increment) for name in names]
            for number in state.over:
                shelf.pop(self._slot(number), None)
            self._increments.adopt(state, increments)
            self.group.restore(rest)
            self._increments.restored()
        self._waiting = None
        return True

    def on_batch(self, pieces: Sequence[Piece]) -> Emitted:
        """What comes of pieces that are for this group, and what is due at the next snapshot."""
        with self._stop.failing():
            emitted = self.group.on_batch(pieces)  # type: ignore[arg-type] # a group's pieces are its space's
        if self._keeper is None:
            return emitted
        if time.monotonic() >= self._packs_s:
            self._packs_s = inf
            self._increments.pack()
        due = self._increments.due()
        return msgspec.structs.replace(emitted, due=due) if due else emitted

    def snapshot(self) -> Keeping | Kept:
        """What is kept of the group itself; its increment, if one is due, is on the shelf.

        Raises:
            StateError: what was kept of it is not all there.
        """
        group, keeper = self.group, self._keeper
        if keeper is None:
            return group.name, b""
        with self._stop.failing():
            if not self.is_there():
                raise StateError(
                    f"what was kept of {group.name} is not all in this process: start the job with a number of "
                    "processes that divides 48, over all parts of its state, of one moment"
                )
            # All stand still for a snapshot. So much is packed before it, by one group after the other.
            now_s = time.monotonic()
            share = _PACKED_FROM + crc32(group.name.encode()) % 16 / 16 * _PACKED_WITHIN
            self._packs_s, self._kept_s = now_s + share * (now_s - self._kept_s), now_s
            increment = self._increments.keep()
            if increment is not None:
                name = self._slot(increment.number)
                keeper.shelf[name] = keeper.keep(group, name, partial(msgspec.msgpack.encode, increment))
            state = self._increments.snapshot()
            if state is None:
                return keeper.keep(group, group.name, group.snapshot)
            return keeper.keep(group, group.name, self._apart, msgspec.msgpack.encode(state))

    def _apart(self) -> bytes:
        return _GOES_WITH_INCREMENTS + self.group.snapshot()

    def _slot(self, number: int) -> str:
        return slot_name(self.group.name, number % self._increments.SLOTS)


def _bytes_of(kept: bytes | Keeping) -> bytes:
    assert isinstance(kept, bytes)
    return kept
