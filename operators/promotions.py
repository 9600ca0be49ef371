"""How ready a promotion is, from 0 to 100: the answers of its items, from all site groups, put together."""

from collections.abc import Iterable
from itertools import takewhile

import msgspec

from operators.detectors.readiness import ItemReady, PromotionAsked
from operators.detectors.records import ScopeFinding
from schemas.durations import BEGIN_OF_TIME_US, DAY_US, people_time
from schemas.errors import StateError
from schemas.rows import PromotionReadiness

#: How many of its items a row names.
_WORST = 10
#: For how long after it was last asked about a promotion's score can be said.
_SAID_US = 2 * DAY_US


class Open(msgspec.Struct, array_like=True):
    """A promotion that was asked about: who asked (None: not heard of yet), and the answers so far by item."""

    asked: PromotionAsked | None = None
    items: dict[str, ItemReady] = {}


class PromotionsState(msgspec.Struct, frozen=True, array_like=True):
    """Snapshot of `Promotions`: what is open by (end of the cell, promotion), and each promotion's last row."""

    version: int
    open: list[tuple[int, str, Open]]
    last: dict[str, PromotionReadiness]


class Promotions:
    """Makes a row of each promotion that was asked about, once all of its items have answered.

    With `expected` units of an item over the horizon, and `there` of them on hand at all nodes or coming within it,

        score = 100 * sum(min(there, expected)) / sum(expected)

    over its items: the part of each item's demand that is covered, at most 1, weighted by that demand. None where
    nothing is known of the demand of any.

    Memory: one record for each item of what was asked in the last minute, and a row for each promotion of two days.
    Cost: a few microseconds an item, when it is asked about.
    """

    VERSION = 1

    def __init__(self) -> None:
        self._open: dict[tuple[int, str], Open] = {}
        self._last: dict[str, PromotionReadiness] = {}  # in the order in which they were asked about

    def push(self, asked: Iterable[PromotionAsked], items: Iterable[ItemReady]) -> None:
        """Take questions and answers, in whatever order they come."""
        for one in asked:
            self._of(one.at_us, one.promotion_id).asked = one
        for item in items:
            self._of(item.at_us, item.promotion_id).items[item.sku] = item

    def _of(self, at_us: int, promotion_id: str) -> Open:
        key = at_us, promotion_id
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = Open()
        return found

    @property
    def last_us(self) -> int:
        """The last time at which there is something to say."""
        return max((at_us for at_us, _ in self._open), default=BEGIN_OF_TIME_US)

    def advance(self, before_us: int) -> list[PromotionReadiness]:
        """The rows of all that was answered before that time, every answer being there."""
        out: list[PromotionReadiness] = []
        for key in sorted(key for key in self._open if key[0] < before_us):
            done = self._open.pop(key)
            if done.asked is None:
                continue
            row = readiness(done.asked, done.items.values())
            self._last.pop(row.promotion_id, None)
            self._last[row.promotion_id] = row
            out.append(row)
        if out:
            oldest_us = out[-1].arrival_us - _SAID_US
            for name in [
                one.promotion_id for one in takewhile(lambda one: one.arrival_us <= oldest_us, self._last.values())
            ]:
                del self._last[name]
        return out

    def told(self, finding: ScopeFinding) -> ScopeFinding:
        """The finding with the score of its promotion in its words, under the next version; itself without one."""
        signal = finding.signal
        row = self._last.get(signal.scope.get("promotion", ""))
        if row is None or row.score is None or row.arrival_us <= signal.arrival_us - _SAID_US:
            return finding
        said = f"{signal.explanation} {words(row)}"
        more = msgspec.structs.replace(signal, explanation=said, version=signal.version + 1)
        return msgspec.structs.replace(finding, signal=more)

    def sizes(self) -> dict[str, int]:
        """How many promotions are being asked about, and of how many the score can be said."""
        return {"open": len(self._open), "scored": len(self._last)}

    def snapshot(self) -> PromotionsState:
        """Everything that is kept."""
        open_ = [(at_us, name, one) for (at_us, name), one in sorted(self._open.items(), key=lambda entry: entry[0])]
        return PromotionsState(self.VERSION, open_, dict(self._last))

    def restore(self, state: PromotionsState) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is of another version.
        """
        if state.version != self.VERSION:
            raise StateError(f"promotions of version {state.version}; this code reads {self.VERSION}")
        self._open = {(at_us, name): one for at_us, name, one in state.open}
        self._last = dict(sorted(state.last.items(), key=lambda entry: entry[1].arrival_us))


def readiness(asked: PromotionAsked, answers: Iterable[ItemReady]) -> PromotionReadiness:
    """What its items say of a promotion; the formula is that of `Promotions`."""
    items = sorted(answers, key=_lacking)
    expected = sum(item.expected for item in items)
    served = sum(min(item.there, item.expected) for item in items)
    worst = [item for item in items if item.lacking > 0][:_WORST]
    return PromotionReadiness(
        promotion_id=asked.promotion_id,
        channel=asked.channel,
        started_at_us=asked.started_us,
        score=round(100 * served / expected, 1) if expected > 0 else None,
        skus=asked.skus,
        skus_short=sum(item.is_short for item in items),
        skus_unknown=sum(item.expected <= 0 for item in items),
        units_expected=round(expected, 3),
        units_there=round(sum(item.there for item in items), 3),
        units_coming=round(sum(item.coming for item in items), 3),
        worst_skus=[item.sku for item in worst],
        worst_hours=[round(item.hours or 0.0, 2) for item in worst],
        worst_expected=[round(item.expected, 3) for item in worst],
        worst_there=[round(item.there, 3) for item in worst],
        arrival_us=asked.at_us,
        version=asked.at_us,
    )


def words(row: PromotionReadiness) -> str:
    """The score as a sentence."""
    short = f"{row.skus_short} of its {row.skus} items {'was' if row.skus_short == 1 else 'were'} short"
    return f"At {people_time(row.arrival_us)} the promotion was {row.score:g} of 100 ready: {short}."


def _lacking(item: ItemReady) -> tuple[float, str]:
    return -item.lacking, item.sku
