"""What is kept of a key group: all of its state while that is small, else what has changed, in increments.

A group of a large retailer remembers millions of items and cases, of which few change between two snapshots. Those
lie in parts of its state (`Part`) that can be kept apart: each snapshot then has an increment, with what has changed
since the one before, and what is not in any part. So that not all increments there ever were are needed, each also
repeats a share of the records, and after a round of them those before the round are let go of.

An increment is put in a slot, which is used again when what was in it is over.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from schemas.errors import StateError


class Part(Protocol):
    """Records that can be kept apart from the rest of a group's state."""

    def __len__(self) -> int:
        """How many there are."""

    @property
    def is_apart(self) -> bool:
        """Whether they are kept in increments; not so when they were taken over otherwise than increments have them."""

    def join(self) -> None:
        """Keep them with the rest of the state again."""

    def changed(self) -> int:
        """How many no increment holds as they are now."""

    def whole(self) -> tuple[int, bytes]:
        """An increment that needs none before it, and how many records it has; they are kept apart from now on."""

    def begin_round(self) -> None:
        """Repeat all records, from the next increment on."""

    def increment(self, left: int) -> tuple[int, bytes]:
        """What was changed, one of `left` shares of what the round still has to repeat, and how many records it has."""

    def adopt(self, increments: Iterable[bytes]) -> None:
        """What the group's state is to be put together with when it is taken over: increments, the oldest first."""


class Held(msgspec.Struct, frozen=True, array_like=True):
    """An increment that is needed: its number, and its bytes before they are compressed."""

    number: int
    size: int


class IncrementsState(msgspec.Struct, frozen=True, array_like=True):
    """Which increments a group's state goes with.

    `number` is the last one's; `live` those that are needed, the oldest first; `over` those that are to be let go of;
    `means` how many bytes a record of each part had in the last one.
    """

    version: int
    number: int
    live: list[Held]
    over: list[int]
    means: dict[str, float]


class Increment(msgspec.Struct, frozen=True, array_like=True):
    """One increment: of each part what it gave."""

    number: int
    parts: dict[str, bytes]


class Due(msgspec.Struct, frozen=True, array_like=True):
    """At the next snapshot something is to be kept in a slot, or (`is_over`) what is there is let go of."""

    group: str
    slot: int
    is_over: bool


class Increments:
    """Decides what of a group's state is kept in increments.

    `due` is asked when something comes to the group, `keep` at a snapshot, just before the group's own; both depend
    on when that is, and nothing that is computed does.

    Memory: a number for each increment that is needed; what parts note. Bounds: at most two rounds and one increments,
    with some `MOST` times the bytes of all there is; if there would be more, all is kept anew.

    Args:
        group: whose state it is.
        parts: of the state, by name.
        least: of fewer records than this, all are kept with the group's state; 0: however many there are.
    """

    VERSION = 1
    #: In so many increments all records are repeated.
    ROUND = 32
    #: Where one of so many bytes has changed, or all increments together would have so many times the bytes of all
    #: records, all are kept anew.
    ANEW, MOST = 2, 3
    #: For those of two rounds, and what is made while they are let go of.
    SLOTS = 2 * ROUND + 4

    def __init__(self, group: str, parts: Mapping[str, Part], least: int) -> None:
        self._group, self._parts, self._least = group, parts, least
        self._number = -1
        self._live: list[Held] = []
        self._over: list[int] = []
        self._means: dict[str, float] = {}
        self._is_apart = self._is_told = self._is_fresh = False
        self._done = self._round_from = 0

    def due(self) -> list[Due]:
        """What happens to slots at the next snapshot, told once before each."""
        if self._is_told:
            return []
        self._is_told = True
        records = sum(map(len, self._parts.values()))
        if self._is_apart and (not self._least or records < self._least // 4):
            self._is_apart = False
            self._over += [held.number for held in self._live]
            self._live = []
            for part in self._parts.values():
                part.join()
        elif not self._is_apart and 0 < self._least <= records:
            self._is_apart = self._is_fresh = True
        due = [Due(self._group, number % self.SLOTS, is_over=True) for number in self._over]
        self._over = []
        if self._is_apart:
            self._number += 1
            due.append(Due(self._group, self._number % self.SLOTS, is_over=False))
        return due

    def pack(self) -> None:
        """Pack what is awake before the snapshot, at any time: it has to pack only what is asked for after that."""
        for part in self._parts.values():
            part.changed()

    def keep(self) -> Increment | None:
        """The increment of a snapshot, where one is due; from now on the group's own snapshot goes without it."""
        is_told, self._is_told = self._is_told, False
        if not (self._is_apart and is_told):
            return None
        parts, number = self._parts, self._number
        changed = sum(part.changed() * self._means.get(name, 0.0) for name, part in parts.items())
        whole = sum(len(part) * self._means.get(name, 0.0) for name, part in parts.items())
        stored = sum(held.size for held in self._live)
        much = self.ANEW * changed >= whole or stored + changed > self.MOST * whole
        if self._is_fresh or much or len(self._live) > 2 * self.ROUND:
            taken = {name: part.whole() for name, part in parts.items()}
            self._over += [held.number for held in self._live]
            self._live, self._is_fresh, self._done = [], False, 0
        else:
            if not self._done:
                self._round_from = number
                for part in parts.values():
                    part.begin_round()
            taken = {name: part.increment(self.ROUND - self._done) for name, part in parts.items()}
            self._done += 1
            if self._done == self.ROUND:
                self._over += [held.number for held in self._live if held.number < self._round_from]
                self._live = [held for held in self._live if held.number >= self._round_from]
                self._done = 0
        self._means |= {name: len(packed) / count for name, (count, packed) in taken.items() if count}
        self._live.append(Held(number, sum(len(packed) for _, packed in taken.values())))
        return Increment(number, {name: packed for name, (_, packed) in taken.items()})

    def snapshot(self) -> IncrementsState | None:
        """With which increments the group's own snapshot goes; None where all is in that."""
        if not self._is_apart:
            return None
        return IncrementsState(self.VERSION, self._number, list(self._live), list(self._over), dict(self._means))

    def adopt(self, state: IncrementsState, increments: Sequence[Increment]) -> None:
        """Give the parts what is in increments, before the group takes over its own snapshot.

        Raises:
            StateError: they are of another version, can't be read, or are not those that the state goes with.
        """
        if state.version != self.VERSION:
            raise StateError(f"increments of version {state.version}; this code reads {self.VERSION}")
        wanted, given = [held.number for held in state.live], [one.number for one in increments]
        if given != wanted:
            raise StateError(f"the state of {self._group} goes with increments {wanted}, and these are {given}")
        self._number, self._live, self._over = state.number, list(state.live), list(state.over)
        self._means = dict(state.means)
        self._is_apart = True
        for name, part in self._parts.items():
            try:
                part.adopt(one.parts[name] for one in increments if name in one.parts)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                raise StateError(
                    f"an increment of the {name} of {self._group} can't be read: {error}; it was kept by another "
                    "version of Andon: finish with that version, or start with a new recovery directory"
                ) from error
        # What nobody takes over must not come back after another change of settings.
        self._is_fresh = any(set(one.parts) - set(self._parts) for one in increments)

    def restored(self) -> None:
        """The group has taken over its own snapshot: what it took otherwise than it was given has to be kept anew."""
        if self._is_apart and not all(part.is_apart for part in self._parts.values()):
            self._is_fresh = True
