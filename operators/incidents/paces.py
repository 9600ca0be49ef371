"""How long the handoffs on the way to a promise take at present, from the windows as they are written."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from operators.quantiles import GAMMA, ZERO_BUCKET, bucket, estimate, merge
from schemas.durations import HOUR_US
from schemas.errors import StateError
from schemas.rows import HandoffWindow

#: Windows that ended this long ago, or later, tell what a handoff takes at present.
CURRENT_US = 2 * HOUR_US
#: Fewer passes than these tell nothing.
ENOUGH = 10
#: Beyond so many passes those that are known of what is usual count by half.
_USUAL = 2_000
#: What was held up longer than all but so many (and this share of them) can't be told of by them.
_TOO_FEW, _TAIL = 3, 0.02
#: Between the 10 % and the 90 % quantile lie 80 %.
_LOW, _HIGH = 0.1, 0.9
_ANYWHERE = ""


class Pace(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The latencies of the passes that ended in one window, as a sketch (operators/quantiles.py, seconds)."""

    arrival_us: int
    end_us: int
    handoff: str
    scope: str
    buckets: dict[int, int]


class Stretch(msgspec.Struct, frozen=True):
    """How long a pass takes from its start: the median, and half of the 80 % interval, in seconds."""

    middle_s: float
    error_s: float


class Place(msgspec.Struct, array_like=True):
    """One handoff in one scope: its windows of late (end, buckets), oldest first, and what was usual before."""

    windows: list[tuple[int, dict[int, int]]] = []
    usual: dict[int, int] = {}


class PacesState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `Paces`: handoff → scope → what is known."""

    version: int
    places: dict[str, dict[str, Place]]


class Paces:
    """What is known of each handoff × scope, and of each handoff over all its scopes (scope "").

    Memory: for each handoff on the way and scope, a sketch of at most some hundred buckets, and the sketches of
    `CURRENT_US`: no more entries than passes that ended then. Cost: O(buckets) a window; a question for another age
    O(buckets), until the next is heard.
    """

    VERSION = 1

    def __init__(self) -> None:
        self._places: dict[str, dict[str, Place]] = {}
        self._now_us = 0
        self._sketches: dict[tuple[str, str], Mapping[int, int]] = {}
        self._known: dict[tuple[str, str, int, int], Stretch | None] = {}

    def hear(self, paces: Iterable[Pace]) -> None:
        """Take windows that arrived later than those before them, in any order."""
        for pace in sorted(paces, key=_place):
            scopes = self._places.setdefault(pace.handoff, {})
            for scope in dict.fromkeys((pace.scope, _ANYWHERE)):
                place = scopes.setdefault(scope, Place([], {}))
                place.windows.append((pace.end_us, pace.buckets))
                place.usual = merge((place.usual, pace.buckets))
                if sum(place.usual.values()) > _USUAL:
                    place.usual = {index: count // 2 for index, count in place.usual.items() if count > 1}
        self._forget()

    def at(self, now_us: int) -> None:
        """It is now so late: what is older than `CURRENT_US` is not current any more."""
        if now_us != self._now_us:
            self._now_us = now_us
            self._forget()

    def stretch(self, handoff: str, scope: str, age_s: float = 0.0, most_s: float | None = None) -> Stretch | None:
        """How long a pass takes that takes longer than `age_s`, and no longer than `most_s` (where that is given).

        What the scope does at present tells, else what is usual there, else the same of all scopes. What has taken
        longer than nearly all before is taken to take as long again (the tail of a Pareto law with index 1, of which
        that is the median), give or take that. None where nothing is known.
        """
        age = bucket(max(0.0, age_s))
        most = 1 << 30 if most_s is None else bucket(max(0.0, most_s))
        key = handoff, scope, age, most
        if key not in self._known:
            self._known[key] = _stretch(self._sketch(handoff, scope), age, most)
        return self._known[key]

    def _sketch(self, handoff: str, scope: str) -> Mapping[int, int]:
        """The latencies that tell most of a pass there; empty where none do."""
        key = handoff, scope
        found = self._sketches.get(key)
        if found is None:
            scopes = self._places.get(handoff, {})
            found = self._sketches[key] = next(
                (some for one in dict.fromkeys((scope, _ANYWHERE)) for some in self._some(scopes.get(one))), {}
            )
        return found

    def _some(self, place: Place | None) -> Sequence[Mapping[int, int]]:
        if place is None:
            return []
        place.windows = [window for window in place.windows if window[0] > self._now_us - CURRENT_US]
        some = [merge(buckets for _, buckets in place.windows), place.usual]
        return [one for one in some if sum(one.values()) >= ENOUGH]

    def _forget(self) -> None:
        self._sketches.clear()
        self._known.clear()

    def __len__(self) -> int:
        """How many handoffs × scopes are known."""
        return sum(map(len, self._places.values()))

    def snapshot(self) -> PacesState:
        """What is known. To be encoded before the next call of anything here: it is no copy."""
        for scopes in self._places.values():
            for place in scopes.values():
                place.windows = [window for window in place.windows if window[0] > self._now_us - CURRENT_US]
        return PacesState(self.VERSION, self._places)

    def restore(self, state: PacesState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"paces of version {state.version}; this code reads {self.VERSION}")
        self._places = state.places
        self._forget()


def _place(pace: Pace) -> tuple[int, str, str, int]:
    return pace.arrival_us, pace.handoff, pace.scope, pace.end_us


def pace_of(row: HandoffWindow, grace_us: int) -> list[Pace]:
    """What a window tells when it is first written; nothing where nothing ended in it, or it is a correction."""
    if not row.latency_buckets or row.arrival_us > row.window_end_us + grace_us:
        return []
    return [Pace(row.arrival_us, row.window_end_us, row.handoff, row.scope, row.latency_buckets)]


def _stretch(counts: Mapping[int, int], age: int, most: int) -> Stretch | None:
    total = sum(counts.values())
    if not total:
        return None
    some = {index: count for index, count in counts.items() if index <= most}
    if age == ZERO_BUCKET:
        if not some:
            return None
        return _of(some)
    longer = {index: count for index, count in some.items() if index > age}
    if sum(longer.values()) < max(_TOO_FEW, _TAIL * total):
        so_far_s = GAMMA**age
        return Stretch(2 * so_far_s, so_far_s)
    return _of(longer)


def _of(counts: Mapping[int, int]) -> Stretch:
    lower, middle, upper = (estimate(q, counts) for q in (_LOW, 0.5, _HIGH))
    return Stretch(middle, (upper - lower) / 2)
