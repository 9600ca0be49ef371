"""How long the handoffs on the way to a promise take at present, from the windows as they are written."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from operators.incidents.stretches import Stretch
from operators.incidents.survival import Seen, Survival, survival
from operators.quantiles import bucket, merge, middle
from schemas.durations import HOUR_US, SECOND_US
from schemas.errors import StateError
from schemas.rows import HandoffWindow

#: Passes are watched for so long to tell what a handoff takes at present.
CURRENT_US = 2 * HOUR_US
#: A place in which fewer passes than these have ended is told of by all places.
ENOUGH = 10
#: Fewer passes than these that took longer than one under way don't tell how long it takes.
TOO_FEW = 3
#: Beyond so many passes those that are known of what is usual count by half.
_USUAL = 2_000
_ANYWHERE = ""


class Pace(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One window of a handoff in a scope: when passes that ended in it began, and how many began in it.

    `buckets` is the sketch of the latencies (operators/quantiles.py, seconds). `length_us` is the window's; `backlog`
    passes were open at its end, the oldest since `oldest_us` (event time; None where none were).
    """

    arrival_us: int
    end_us: int
    handoff: str
    scope: str
    buckets: dict[int, int]
    started: int = 0
    length_us: int = 0
    backlog: int = 0
    oldest_us: int | None = None


class Window(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of a window of late."""

    end_us: int
    buckets: dict[int, int]
    started: int = 0
    length_us: int = 0


class Place(msgspec.Struct, array_like=True):
    """One handoff in one scope.

    `windows` are those of `CURRENT_US`, in the order in which they were first heard of; `usual` the latencies of those
    before. `under_way` counts, by the end of the window in which they began, passes that are not over; below 0 where
    more ended than were said to begin. At the end of the last window there were `backlog` of them.
    """

    windows: list[Window] = []
    usual: dict[int, int] = {}
    under_way: dict[int, int] = {}
    backlog: int = 0
    end_us: int = 0


class PacesState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `Paces`: handoff → scope → what is known."""

    version: int
    places: dict[str, dict[str, Place]]


class Paces:
    """What is known of each handoff × scope.

    A pass that is over was under way from `latency` before the window's end to that end; one that is not, since the
    window in which it began. How many passes of a window are still under way is what began in it less what ended
    since and began in it by its latency: exact to a window's length (and 1 % of the latency) for nearly all of them,
    which is little against handoffs that last long enough to break a promise.

    Memory: for each handoff on the way and scope, a sketch of at most some hundred buckets, the sketches of
    `CURRENT_US` (no more entries than passes that ended then), and a number for each window since the oldest pass
    under way began. Cost: O(buckets) a window; a first question after a window was heard
    O((passes under way + buckets) log), one of all scopes that of each; further ones a look-up.
    """

    VERSION = 2
    #: Before passes under way were counted; what was known then of all scopes together is made of the scopes now.
    _READS = (1, 2)

    def __init__(self) -> None:
        self._places: dict[str, dict[str, Place]] = {}
        self._now_us = 0
        self._curves: dict[tuple[str, str], Survival] = {}
        self._known: dict[tuple[str, str, int, int | None], Stretch | None] = {}

    def hear(self, paces: Iterable[Pace]) -> None:
        """Take windows that arrived later than those before them, in any order; a later one of a window counts."""
        for pace in sorted(paces, key=_order):
            scopes = self._places.setdefault(pace.handoff, {})
            place = scopes.get(pace.scope)
            if place is None:
                place = scopes[pace.scope] = Place([], {}, {})
            _take(place, pace)
        self._curves.clear()
        self._known.clear()

    def at(self, now_us: int) -> None:
        """It is now so late: what is older than `CURRENT_US` is not current any more."""
        if now_us == self._now_us:
            return
        self._now_us = now_us
        for scopes in self._places.values():
            for place in scopes.values():
                _age(place, now_us - CURRENT_US)
        self._curves.clear()
        self._known.clear()

    def stretch(self, handoff: str, scope: str, age_s: float = 0.0, most_s: float | None = None) -> Stretch | None:
        """How long a pass takes that takes longer than `age_s`, and no longer than `most_s` (where that is given).

        `survival` tells, of the passes of the scope, or where fewer than `ENOUGH` have ended there, of all scopes.
        None where too few have anywhere, or fewer than `TOO_FEW` took longer than `age_s`: of such a pass the others
        tell nothing; or none took no longer than `most_s`.
        """
        age = bucket(max(0.0, age_s))
        most = None if most_s is None else bucket(max(0.0, most_s))
        key = handoff, scope, age, most
        if key not in self._known:
            curve = self._curve(handoff, scope)
            self._known[key] = curve.beyond(age, most) if curve.ended_beyond(age) >= TOO_FEW else None
        return self._known[key]

    def knows(self, handoff: str) -> bool:
        """Whether enough passes of a handoff have ended anywhere."""
        return bool(self._curve(handoff, _ANYWHERE).ages)

    def _curve(self, handoff: str, scope: str) -> Survival:
        """The curve that tells most of a pass there; empty where none does."""
        key = handoff, scope
        found = self._curves.get(key)
        if found is None:
            found = self._curves[key] = self._estimated(handoff, scope)
        return found

    def _estimated(self, handoff: str, scope: str) -> Survival:
        scopes = self._places.get(handoff, {})
        if scope != _ANYWHERE:
            place = scopes.get(scope)
            if place is None or _ended(place) < ENOUGH:
                return self._curve(handoff, _ANYWHERE)
            return survival(_seen(place, self._now_us), place.usual)
        if sum(map(_ended, scopes.values())) < ENOUGH:
            return Survival((), ())
        seen = (one for place in scopes.values() for one in _seen(place, self._now_us))
        return survival(seen, merge(place.usual for place in scopes.values()))

    def __len__(self) -> int:
        """How many handoffs × scopes are known."""
        return sum(map(len, self._places.values()))

    def snapshot(self) -> PacesState:
        """What is known. To be encoded before the next call of anything here: it is no copy."""
        return PacesState(self.VERSION, self._places)

    def restore(self, state: PacesState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version not in self._READS:
            raise StateError(f"paces of version {state.version}; this code reads {self.VERSION}")
        self._places = {
            handoff: {scope: place for scope, place in scopes.items() if state.version > 1 or scope != _ANYWHERE}
            for handoff, scopes in state.places.items()
        }
        self._curves.clear()
        self._known.clear()


def pace_of(row: HandoffWindow) -> list[Pace]:
    """What a window tells, and each correction of it; nothing of one that overlaps the one before it."""
    length_us = row.window_end_us - row.window_start_us
    if row.window_end_us % length_us:
        return []
    oldest_us = None if row.oldest_age_s is None else row.window_end_us - round(row.oldest_age_s * SECOND_US)
    return [
        Pace(
            row.arrival_us,
            row.window_end_us,
            row.handoff,
            row.scope,
            row.latency_buckets,
            row.started,
            length_us,
            row.backlog,
            oldest_us,
        )
    ]


def _order(pace: Pace) -> tuple[int, str, str, int]:
    return pace.arrival_us, pace.handoff, pace.scope, pace.end_us


def _take(place: Place, pace: Pace) -> None:
    _age(place, pace.arrival_us - CURRENT_US)
    if pace.end_us <= pace.arrival_us - CURRENT_US:
        return
    window = Window(pace.end_us, pace.buckets, pace.started, pace.length_us)
    number = next((at for at, one in enumerate(place.windows) if one.end_us == pace.end_us), None)
    if number is None:
        place.windows.append(window)
        _count(place, window, Window(pace.end_us, {}))
    else:
        _count(place, window, place.windows[number])
        place.windows[number] = window
    if pace.end_us < place.end_us:
        return
    place.end_us, place.backlog = pace.end_us, pace.backlog
    oldest_us = pace.end_us if pace.oldest_us is None else pace.oldest_us
    kept = {end_us: count for end_us, count in place.under_way.items() if count and end_us > oldest_us}
    gone = [count for end_us, count in place.under_way.items() if end_us <= oldest_us]
    missing = pace.backlog - sum(count for count in kept.values() if count > 0)
    if missing > 0 and pace.oldest_us is not None and pace.length_us:
        # What is counted in windows before the oldest of all began in a later one: put down to the oldest's.
        first_us = (oldest_us // pace.length_us + 1) * pace.length_us
        late = min(missing, sum(count for count in gone if count > 0))
        if late:
            kept[first_us] = kept.get(first_us, 0) + late
    if missing < 0:
        _settle(kept, {end_us: -count for end_us, count in place.under_way.items() if count < 0}, -missing)
    place.under_way = kept


def _count(place: Place, window: Window, before: Window) -> None:
    """Count in what a window has more than before: what began among those under way, what ended out of them."""
    under_way, length_us = place.under_way, window.length_us
    if not length_us:  # kept by a version that did not say when passes began
        return
    if window.started != before.started:
        under_way[window.end_us] = under_way.get(window.end_us, 0) + window.started - before.started
    for index in {**window.buckets, **before.buckets}:
        more = window.buckets.get(index, 0) - before.buckets.get(index, 0)
        if not more:
            continue
        latency_us = round(middle(index) * SECOND_US)
        began_us = window.end_us - length_us // 2 - latency_us
        end_us = -(-began_us // length_us) * length_us
        if 0 < more <= under_way.get(end_us, 0) and end_us <= window.end_us:  # the nearest, and there are as many
            under_way[end_us] -= more
            continue
        # The window in which it began is known to half a window and 1 % of the latency: the nearest that has any left.
        reach = 1 + latency_us // (100 * length_us)
        near = [end_us + step * length_us for step in range(-reach, reach + 1)]
        near = sorted((one for one in near if one <= window.end_us), key=_distance_from(began_us + length_us // 2))
        for one in near if more > 0 else ():
            taken = min(more, max(0, under_way.get(one, 0)))
            under_way[one] = under_way.get(one, 0) - taken
            more -= taken
        under_way[end_us] = under_way.get(end_us, 0) - more


def _settle(under_way: dict[int, int], owed: dict[int, int], over: int) -> None:
    """Take at most `over` passes, what ended out of windows in which none was left, out of those next to them."""
    for end_us, count in sorted(owed.items()):
        left = min(over, count)
        over -= left
        for near in sorted((one for one, some in under_way.items() if some > 0), key=_distance_from(end_us)):
            taken = min(left, under_way[near])
            under_way[near] -= taken
            left -= taken
            if end_us in under_way:
                under_way[end_us] += taken
            if not left:
                break


def _distance_from(time_us: int) -> Callable[[int], int]:
    return lambda other_us: abs(other_us - time_us)


def _age(place: Place, before_us: int) -> None:
    """Put down to what is usual what is not current any more."""
    gone = [window for window in place.windows if window.end_us <= before_us]
    if not gone:
        return
    place.windows = [window for window in place.windows if window.end_us > before_us]
    if any(window.buckets for window in gone):
        place.usual = merge([place.usual, *(window.buckets for window in gone)])
    if sum(place.usual.values()) > _USUAL:
        place.usual = {index: count // 2 for index, count in place.usual.items() if count > 1}


def _ended(place: Place) -> int:
    """How many passes are known that are over."""
    return sum(place.usual.values()) + sum(sum(window.buckets.values()) for window in place.windows)


def _seen(place: Place, now_us: int) -> Iterator[Seen]:
    """The passes of late, from the age at which they were first watched.

    Where more are counted as under way than the last window said there are (cancelled orders end no pass), it can't be
    told which they are: each counts for as much less.
    """
    since_us = now_us - CURRENT_US
    for window in place.windows:
        watched_s = max(0, window.end_us - since_us) / SECOND_US
        for index, count in window.buckets.items():
            latency_s = middle(index)
            yield Seen(max(0.0, latency_s - watched_s), latency_s, count, ended=True)
    under_way = {end_us: count for end_us, count in place.under_way.items() if count > 0}
    total = sum(under_way.values())
    part = min(1.0, place.backlog / total) if total else 0.0
    for end_us, count in under_way.items():
        age_s = max(0, now_us - end_us) / SECOND_US
        yield Seen(max(0.0, age_s - CURRENT_US / SECOND_US), age_s, count * part, ended=False)
