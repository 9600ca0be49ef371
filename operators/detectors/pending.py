"""Work that waits longer than is usual: what began, what of it has ended, and how long the ended took.

A scope's usual latency is kept as a sample of the latest latencies, from which its 95th percentile is taken. One that
has waited `times` as long and is not over is late. By chance as large a share of those that are old enough is, as took
so long in the sample; how surprising more are is Chernoff's bound (rates.py). So a stop is found as soon as several
have waited too long, hours before a deadline would pass, and a lone slow one is no finding.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.policy import ByScope
from operators.detectors.rates import surprise_of_share
from operators.detectors.records import Impact
from operators.detectors.scopes import Cell
from schemas.durations import END_OF_TIME_US, HOUR_US, MINUTE_US, SECOND_US, Duration

#: How many latencies are remembered, and how many pending ones.
_SAMPLE, _MOST_PENDING = 400, 20_000
#: A scope has been known for long enough when it is so many times the usual latency old.
_LEARNING = 6


class WaitRule(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When waiting is a finding.

    At least `least` must be late, the share `share` of those that are old enough, with a surprise of `score`. Late is
    who has waited `times` the usual 95th percentile, and `at_least`; in the first hours of a scope, six times that
    percentile, no less than `usual`, since of what began lately only what was quick is over. Before `young` latencies
    were seen nothing is late: an end that nobody sends is awaited in vain. It closes when nobody late has waited for
    `quiet`.
    """

    least: int = 4
    share: float = 0.1
    score: float = 4.0
    times: float = 1.5
    at_least: Duration = Duration(30 * MINUTE_US)
    usual: Duration = Duration(8 * HOUR_US)
    young: int = 20
    quiet: Duration = Duration(30 * MINUTE_US)


class Waits(msgspec.Struct, array_like=True):
    """What is kept of a scope: who waits since when, the latest latencies (s), and who of the recent ones was late.

    `judged` are those that are old enough: (the cell in which that was so, late or not).
    """

    pending: dict[str, tuple[int, Impact | None, str]] = {}
    ended_early: dict[str, int] = {}
    latencies: list[float] = []
    order: list[float] = []
    judged: list[tuple[int, bool]] = []
    late: dict[str, int] = {}
    first_us: int = 0

    def begin(self, key: str, since_us: int, impact: Impact | None, event_id: str) -> None:
        """One began to wait."""
        self.first_us = self.first_us or since_us
        if key in self.pending or len(self.pending) >= _MOST_PENDING:
            return
        if self.ended_early.pop(key, None) is None:
            self.pending[key] = (since_us, impact, event_id)

    def end(self, key: str, at_us: int) -> None:
        """One is over; its latency is learnt, unless it was late (what is broken must not become usual)."""
        begun = self.pending.pop(key, None)
        if begun is None:
            if len(self.ended_early) < _MOST_PENDING:
                self.ended_early[key] = at_us
            return
        if self.late.pop(key, None) is None:
            self._learn(max(0.0, (at_us - begun[0]) / SECOND_US))
            self.judged.append((at_us // CELL_US, False))

    def _learn(self, latency_s: float) -> None:
        self.latencies.append(latency_s)
        insort(self.order, latency_s)
        if len(self.latencies) > _SAMPLE:
            del self.order[bisect_left(self.order, self.latencies.pop(0))]

    def limit_us(self, rule: WaitRule, now_us: int) -> int:
        """After how long one is late."""
        if len(self.order) < rule.young:
            return END_OF_TIME_US
        usual = self.order[min(len(self.order) - 1, int(0.95 * len(self.order)))] * SECOND_US
        young = now_us - self.first_us < _LEARNING * usual
        return max(rule.at_least, rule.usual if young else 0, round(usual * rule.times))

    def newly_late(self, now_us: int, rule: WaitRule) -> list[tuple[str, Impact | None, str]]:
        """Who has become late, in the order in which they began."""
        limit = self.limit_us(rule, now_us)
        found = [
            (since_us, key, impact, event_id)
            for key, (since_us, impact, event_id) in self.pending.items()
            if key not in self.late and since_us + limit <= now_us
        ]
        found.sort(key=_since)
        for _, key, _, _ in found:
            self.late[key] = now_us
            self.judged.append((now_us // CELL_US, True))
        return [(key, impact, event_id) for _, key, impact, event_id in found]

    def surprise(self, now_us: int, rule: WaitRule) -> tuple[int, int, float]:
        """Late ones and all that are old enough, of the time in which one becomes late; and how surprising that is."""
        oldest = (now_us - max(self.limit_us(rule, now_us), 2 * HOUR_US)) // CELL_US
        self.judged = [one for one in self.judged if one[0] > oldest]
        late = sum(is_late for _, is_late in self.judged)
        longer = len(self.order) - bisect_left(self.order, self.limit_us(rule, now_us) / SECOND_US)
        usual = (longer + 1) / (len(self.order) + 2)
        return late, len(self.judged), surprise_of_share(late, len(self.judged), usual)

    def forget(self, before_us: int) -> None:
        """Give up on those that wait since before."""
        for key in [key for key, (since_us, _, _) in self.pending.items() if since_us < before_us]:
            del self.pending[key]
            self.late.pop(key, None)
        for key in [key for key, at_us in self.ended_early.items() if at_us < before_us]:
            del self.ended_early[key]


def _since(entry: tuple[int, str, Impact | None, str]) -> tuple[int, str]:
    return entry[0], entry[1]


def take(waits: Waits, cells: Mapping[str, Cell], begun: str, ended: str) -> None:
    """Count a cell's beginnings and ends, by the case they name, in the order of the log."""
    moves: list[tuple[int, bool, str, int, Impact | None, str]] = []
    for metric, is_end in ((begun, False), (ended, True)):
        cell = cells.get(metric)
        if cell is not None:
            moves.extend(
                (arrival_us, is_end, impact.case_id or impact.order_id, at_us, impact, event_id)
                for arrival_us, at_us, event_id, impact in cell.members
                if impact is not None
            )
    for _, is_end, key, at_us, impact, event_id in sorted(moves, key=_move_order):
        if is_end:
            waits.end(key, at_us)
        else:
            waits.begin(key, at_us, impact, event_id)


def _move_order(move: tuple[int, bool, str, int, Impact | None, str]) -> tuple[int, bool, str]:
    return move[:3]


def impacts_of(late: Iterable[tuple[str, Impact | None, str]]) -> list[Impact]:
    """What late ones touch."""
    return [impact for _, impact, _ in late if impact is not None]
