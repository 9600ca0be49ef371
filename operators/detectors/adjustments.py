"""Stock adjustments that one system does not hear of: a node's books drift apart."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.inventory import BOOK
from operators.detectors.policy import ByScope, Policy
from operators.detectors.rates import surprise_of_share
from operators.detectors.records import Scoped, ScopeFinding
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import confidence_of, next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration
from schemas.rows import Signal

_EVIDENCE = 20
#: Over how many cells back missing changes are looked for, and over how many levels.
_SPANS, _LEVELS = (3, 5, 10, 20, 40, 60), (2, 10, 40, 120)
#: A change that was not told after so many minutes is missing; how many are then all the same is learnt for each, over
#: so many minutes.
_SETTLED, _LEARN_OVER = (1, 2, 4), 20
#: Before `settle` only a system that tells of nothing at all is said to miss changes: it may be behind in some.
_ALL = 0.9
#: So many changes must have been seen to know whether a system tells of them; so many levels are taken as seen.
_KNOWN, _PRIOR = 30.0, 50.0
#: Messages of a node that come late, against its changes, from which on nothing is said to be lost.
_MANY_LATE = 0.1
_NO_LEVELS = (0.0, 0.0)
#: What is counted at a node: its changes, what of them each system echoes, and whether each system's levels are apart.
_METRICS = (
    "stock_moves",
    "stock_moved",
    "stock_late",
    *(f"stock_echo:{system}" for system in BOOK),
    *(f"stock_apart:{system}" for system in BOOK),
)
_SAYS = {metric: (metric.partition(":")[0], metric.partition(":")[2]) for metric in _METRICS}
#: While nothing is open a node is looked at once in so many minutes.
_LOOKS = 3


class LostRule(ByScope, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a system is held not to hear of a node's changes.

    Either of the changes that are older than `settle` at least `least`, and the share `share` of those it usually tells
    of (or nearly all of those that are older than a few minutes, as far as it has been seen to tell of changes sooner),
    it did not tell, though it goes on to say something; or of its levels, of two minutes up to two hours, of items that
    have moved `behind` of them and `behind_share` have newly stayed behind. `score` is how surprising that must be,
    where the share `usual` is held to be lost anyway before anything was seen. It closes after `quiet`.
    """

    settle: Duration = Duration(10 * MINUTE_US)
    least: float = 5.0
    share: float = 0.4
    behind: float = 4.0
    behind_share: float = 0.1
    score: float = 6.0
    usual: float = 0.02
    quiet: Duration = Duration(2 * HOUR_US)


class Minute(msgspec.Struct, array_like=True):
    """A node's minute: changes, what they are worth, and by system those it told, its levels, and those behind."""

    number: int
    moves: float = 0.0
    value: float = 0.0
    late: float = 0.0
    echoes: dict[str, float] = {}
    levels: dict[str, tuple[float, float]] = {}


class Open(msgspec.Struct, array_like=True):
    """An open finding of one system at the node; what stayed behind is by item."""

    opened_us: int
    found_us: int
    last_us: int
    score: float
    missing: float = 0.0
    moved: float = 0.0
    behind: dict[str, float] = {}
    evidence: list[str] = []


class NodeState(msgspec.Struct, array_like=True):
    """The last two hours by minute, what is usual, and what is open by system.

    `usual` says by system: (changes, of them told, levels, of them newly behind), counting by half after a day, and
    `misses` for each of the times after which a change is missing: (expected, of them missing), in the same way.
    `recent` are levels that were behind: (arrival, event time, event id, system, sku, value).
    """

    minutes: list[Minute] = []
    usual: dict[str, tuple[float, float, float, float]] = {}
    misses: dict[str, list[tuple[float, float]]] = {}
    learnt: int = 0
    recent: list[tuple[int, int, str, str, str, float]] = []
    open: dict[str, Open] = {}
    looked: int = 0


class AdjustmentsLost(ScopeDetector):
    """Finds, by node, that a system misses changes of stock which the leading system tells of.

    Memory: two hours of minutes for each node. Cost: O(120) per minute and node with changes.
    """

    NAME = "adjustments_lost"
    METRICS = _METRICS
    State = NodeState

    def __init__(self, policy: Policy[LostRule], currency: str = "") -> None:
        self._policy, self._currency = policy, currency

    def judge(self, scope: Scoped, state: NodeState, cells: Mapping[str, Cell], end_us: int) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        rule = self._policy.of(scope)
        number = end_us // CELL_US - 1
        self._take(state, cells, number)
        self._learn(state, number)
        if not state.open and number // _LOOKS == state.looked:
            return
        state.looked = number // _LOOKS
        moves = _Moves(state.minutes, number - max(rule.settle // CELL_US, *_SETTLED) - max(_SPANS))
        for system in sorted(state.usual.keys() | state.open.keys()):
            missing, score = self._missing(state, system, rule, number, moves)
            behind, surprise = self._behind(state, system, rule, number)
            found = state.open.get(system)
            if found is None:
                if (missing or behind) and not self._delayed(state, number):
                    found = state.open[system] = self._opened(state, system, end_us, max(score, surprise))
                    self._grow(state, found, system, missing)
                    yield self._finding(scope, system, found, end_us)
                continue
            if missing:
                found.last_us = end_us
            found.score = max(found.score, score, surprise)
            if self._grow(state, found, system, missing):
                found.last_us = end_us
                yield self._finding(scope, system, found, end_us)
            elif end_us - found.last_us >= rule.quiet:
                del state.open[system]
                state.minutes = []
                yield self._finding(scope, system, found, end_us, closed=True)
        state.recent = [one for one in state.recent if one[0] > end_us - _LEVELS[-1] * CELL_US] if state.recent else []

    def idle(self, state: NodeState) -> bool:
        """Nothing is open: what did not come is looked for when something comes."""
        return not state.open

    def _take(self, state: NodeState, cells: Mapping[str, Cell], number: int) -> None:
        if not cells:
            return
        minute = Minute(number, echoes={}, levels={})
        for metric, cell in cells.items():
            kind, system = _SAYS[metric]
            if metric == "stock_moves":
                minute.moves = cell.total
            elif metric == "stock_moved":
                minute.value = cell.total
            elif metric == "stock_late":
                minute.late = cell.total
            elif kind == "stock_echo":
                minute.echoes[system] = cell.total
            else:
                minute.levels[system] = cell.total, cell.bad
                state.recent += [
                    (arrival_us, at_us, event_id, system, impact.tag, impact.value)
                    for arrival_us, at_us, event_id, impact in cell.members
                    if impact is not None
                ]
        state.minutes.append(minute)

    def _learn(self, state: NodeState, number: int) -> None:
        """What leaves the two hours is usual, unless something is open."""
        minutes, oldest = state.minutes, number - _LEVELS[-1]
        if not minutes or minutes[0].number > oldest:
            return
        upto = next((place for place, one in enumerate(minutes) if one.number > oldest), len(minutes))
        gone = minutes[:upto]
        del minutes[:upto]
        systems = set(state.usual)
        for minute in gone:
            systems.update(minute.echoes, minute.levels)
        fade = 0.5 ** ((number - (state.learnt or number)) * CELL_US / DAY_US)
        state.learnt = number
        for system in sorted(systems):
            if system in state.open:
                continue
            moves = told = levels = behind = 0.0
            for minute in gone:
                seen, newly = minute.levels.get(system, _NO_LEVELS)
                moves, told = moves + minute.moves, told + minute.echoes.get(system, 0.0)
                levels, behind = levels + seen, behind + newly
            state.misses[system] = [
                (expected * fade, missing * fade) for expected, missing in state.misses.get(system, [])
            ]
            usual = state.usual.get(system, (0.0, 0.0, 0.0, 0.0))
            state.usual[system] = (
                usual[0] * fade + moves,
                usual[1] * fade + told,
                usual[2] * fade + levels,
                usual[3] * fade + behind,
            )

    def _delayed(self, state: NodeState, number: int) -> bool:
        """Whether what is told of the node comes late of late: then what did not come is under way."""
        recent = [minute for minute in state.minutes if minute.number > number - _SPANS[-1]]
        late = sum(minute.late for minute in recent)
        return late >= max(3.0, _MANY_LATE * sum(minute.moves for minute in recent))

    def _missing(
        self, state: NodeState, system: str, rule: LostRule, number: int, changes: "_Moves"
    ) -> tuple[float, float]:
        """How many changes the system did not tell of, and how surprising that is; 0 where that is no finding."""
        moves, told, _, _ = state.usual.get(system, (0.0, 0.0, 0.0, 0.0))
        if moves < _KNOWN or told < 0.5 * moves:
            return 0.0, 0.0
        ratio = min(1.0, told / moves)
        best = (0.0, 0.0)
        settle = rule.settle // CELL_US
        said = next((one.number for one in reversed(state.minutes) if system in one.levels or system in one.echoes), -1)
        sums = _Sums(changes, system)
        known = state.misses.get(system) or [(0.0, 0.0)] * len(_SETTLED)
        for place, after in enumerate((*_SETTLED, settle)):
            usual = max(rule.usual, 0.05)
            if after < settle:
                expected, missing = known[place]
                usual = (missing + usual * _PRIOR) / (expected + _PRIOR)
                if system not in state.open:
                    seen = sums.told(ratio, number - after, _LEARN_OVER)
                    known[place] = expected + seen[0], missing + max(0.0, seen[1])
            if said <= number - after:
                continue  # it has said nothing at all since: that is another finding
            share = rule.share if after == settle else max(rule.share, _ALL)
            for expected, missing in sums.all_told(ratio, number - after):
                if missing < rule.least or missing < share * expected:
                    continue
                score = surprise_of_share(missing, expected, usual)
                if score >= rule.score and score > best[1]:
                    best = missing, score
        state.misses[system] = known
        return best

    def _behind(self, state: NodeState, system: str, rule: LostRule, number: int) -> tuple[float, float]:
        """How many levels have newly stayed behind, and how surprising that is; 0 where that is no finding."""
        if not any(one[3] == system for one in state.recent):  # each that was behind is among them
            return 0.0, 0.0
        _, _, levels, behind = state.usual.get(system, (0.0, 0.0, 0.0, 0.0))
        usual = (behind + rule.usual * _PRIOR) / (levels + _PRIOR)
        best = (0.0, 0.0)
        for span in _LEVELS:
            total = bad = 0.0
            for minute in reversed(state.minutes):
                if minute.number <= number - span:
                    break
                seen, newly = minute.levels.get(system, (0.0, 0.0))
                total, bad = total + seen, bad + newly
            if bad < rule.behind or bad < max(rule.behind_share, 3 * usual) * total:
                continue
            score = surprise_of_share(bad, total, usual)
            if score >= rule.score and score > best[1]:
                best = bad, score
        return best

    def _opened(self, state: NodeState, system: str, end_us: int, score: float) -> Open:
        """Since when: from the first level behind, or the first minute after the system's last word of a change."""
        first = [at_us for _, at_us, _, name, _, _ in state.recent if name == system]
        heard = [minute.number for minute in state.minutes if minute.echoes.get(system)]
        if heard and system in state.usual and state.usual[system][1] > _KNOWN:
            first.append((heard[-1] + 1) * CELL_US)
        return Open(min([end_us, *first]), end_us, end_us, score, behind={}, evidence=[])

    def _grow(self, state: NodeState, found: Open, system: str, missing: float) -> bool:
        """Add what is new; whether there was any."""
        new = False
        for _, _, event_id, name, sku, value in state.recent:
            if name == system and sku not in found.behind:
                found.behind[sku] = value
                found.evidence = [*found.evidence, event_id][:_EVIDENCE]
                new = True
        if missing > found.missing:
            new = new or missing >= 1.25 * found.missing
            moves = sum(minute.moves for minute in state.minutes)
            found.moved = missing * sum(minute.value for minute in state.minutes) / max(moves, 1.0)
            found.missing = missing
        return new

    def _finding(self, scope: Scoped, system: str, found: Open, end_us: int, *, closed: bool = False) -> ScopeFinding:
        node = dict(scope).get("node", "")
        parts = []
        if found.missing:
            parts.append(f"some {found.missing:.0f} changes of stock were not told by {system}")
        if found.behind:
            parts.append(f"{len(found.behind)} items have not moved in {system} as they did at the node")
        said = f"{node}: {'; '.join(parts)}"
        signal = Signal(
            signal_id=signal_id(self.NAME, "adjustments_lost", repr(scope), system, str(found.found_us)),
            detector=self.NAME,
            kind="adjustments_lost",
            handoff="",
            scope=dict(scope),
            case_id="",
            opened_at_us=found.opened_us,
            found_at_us=found.found_us,
            closed_at_us=end_us if closed else None,
            severity="medium",
            score=round(found.score, 3),
            confidence=confidence_of(found.score),
            expected=f"{system} follows within minutes",
            observed="; ".join(parts),
            method="rule",
            explanation=f"{said}{'; nothing new for a while' if closed else ''}.",
            evidence=found.evidence,
            arrival_us=end_us,
            version=next_version(0, end_us),
        )
        return ScopeFinding(signal, [], round(max(sum(found.behind.values()), found.moved), 2), self._currency)


class _Moves:
    """A node's changes after a minute, added up: of any stretch of these without a walk over it."""

    def __init__(self, minutes: list[Minute], after: int) -> None:
        self.minutes = minutes[bisect_right(minutes, after, key=_number) :]
        self.numbers = [minute.number for minute in self.minutes]
        self.sums = [0.0, *accumulate([minute.moves for minute in self.minutes])]
        self._spans: dict[int, list[tuple[int, float]]] = {}

    def spans(self, settled: int) -> list[tuple[int, float]]:
        """Of all spans up to a minute: where they begin, and their changes."""
        found = self._spans.get(settled)
        if found is None:
            upto = self.sums[bisect_right(self.numbers, settled)]
            begins = [bisect_right(self.numbers, settled - span) for span in _SPANS]
            found = self._spans[settled] = [(begin, upto - self.sums[begin]) for begin in begins]
        return found


class _Sums:
    """Beside a node's changes those that one system told of.

    Both are whole numbers, so differences of sums are exact.
    """

    def __init__(self, moves: _Moves, system: str) -> None:
        self._moves = moves
        self._echoes = [0.0, *accumulate([minute.echoes.get(system, 0.0) for minute in moves.minutes])]

    def told(self, ratio: float, settled: int, span: int) -> tuple[float, float]:
        """How many changes it was to tell of in so many minutes up to that one, and how many it had not by now."""
        numbers, sums = self._moves.numbers, self._moves.sums
        begin = bisect_right(numbers, settled - span)
        wanted = sums[bisect_right(numbers, settled)] - sums[begin]
        return wanted * ratio, wanted * ratio - (self._echoes[-1] - self._echoes[begin])

    def all_told(self, ratio: float, settled: int) -> list[tuple[float, float]]:
        """The same of all spans that are looked at."""
        echoes, told = self._echoes, self._echoes[-1]
        wanted = [(moves * ratio, told - echoes[begin]) for begin, moves in self._moves.spans(settled)]
        return [(expected, expected - seen) for expected, seen in wanted]


def _number(minute: Minute) -> int:
    return minute.number
