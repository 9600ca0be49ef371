"""Stock adjustments that one system does not hear of: a node's books drift apart."""

from collections.abc import Iterable, Mapping

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.inventory import BOOK
from operators.detectors.policy import Policy
from operators.detectors.rates import surprise_of_share
from operators.detectors.records import Scoped, ScopeFinding
from operators.detectors.scopes import Cell, ScopeDetector
from operators.findings import next_version, signal_id
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration
from schemas.rows import Signal

_EVIDENCE = 20
#: Over how many cells back missing changes are looked for, and over how many levels.
_SPANS, _LEVELS = (10, 20, 40, 60), (2, 10, 40, 120)
#: So many changes must have been seen to know whether a system tells of them; so many levels are taken as seen.
_KNOWN, _PRIOR = 30.0, 50.0
#: Messages of a node that come late, against its changes, from which on nothing is said to be lost.
_MANY_LATE = 0.1
#: While nothing is open a node is looked at once in so many minutes.
_LOOKS = 3


class LostRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a system is held not to hear of a node's changes.

    Either of the changes that are older than `settle` at least `least`, and the share `share` of those it usually
    tells of, it did not tell, though it goes on to say something; or of its levels, of two minutes up to two hours,
    `behind` of them and `behind_share` have newly stayed behind. `score` is how surprising that must be, where the
    share `usual` is held to be lost anyway before anything was seen. It closes after `quiet`.
    """

    settle: Duration = Duration(10 * MINUTE_US)
    least: float = 8.0
    share: float = 0.4
    behind: float = 8.0
    behind_share: float = 0.05
    score: float = 8.0
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

    `usual` says by system: (changes, of them told, levels, of them newly behind), counting by half after a day.
    `recent` are levels that were behind: (arrival, event time, event id, system, sku, value).
    """

    minutes: list[Minute] = []
    usual: dict[str, tuple[float, float, float, float]] = {}
    learnt: int = 0
    recent: list[tuple[int, int, str, str, str, float]] = []
    open: dict[str, Open] = {}
    looked: int = 0


class AdjustmentsLost(ScopeDetector):
    """Finds, by node, that a system misses changes of stock which the leading system tells of.

    Memory: two hours of minutes for each node. Cost: O(120) per minute and node with changes.
    """

    NAME = "adjustments_lost"
    METRICS = (
        "stock_moves",
        "stock_moved",
        "stock_late",
        *(f"stock_echo:{system}" for system in BOOK),
        *(f"stock_apart:{system}" for system in BOOK),
    )
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
        for system in sorted(state.usual.keys() | state.open.keys()):
            missing, score = self._missing(state, system, rule, number)
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
            kind, _, system = metric.partition(":")
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
                    (arrival_us, at_us, event_id, system, impact.case_id, impact.value)
                    for arrival_us, at_us, event_id, impact in cell.members
                    if impact is not None
                ]
        state.minutes.append(minute)

    def _learn(self, state: NodeState, number: int) -> None:
        """What leaves the two hours is usual, unless something is open."""
        gone = [one for one in state.minutes if one.number <= number - _LEVELS[-1]]
        if not gone:
            return
        state.minutes = state.minutes[len(gone) :]
        systems = {system for minute in gone for system in (*minute.echoes, *minute.levels)}
        fade = 0.5 ** ((number - (state.learnt or number)) * CELL_US / DAY_US)
        state.learnt = number
        for system in sorted(systems | state.usual.keys()):
            if system in state.open:
                continue
            seen = state.usual.get(system, (0.0, 0.0, 0.0, 0.0))
            moves = sum(minute.moves for minute in gone)
            told = sum(minute.echoes.get(system, 0.0) for minute in gone)
            levels = sum(minute.levels.get(system, (0.0, 0.0))[0] for minute in gone)
            behind = sum(minute.levels.get(system, (0.0, 0.0))[1] for minute in gone)
            more = (moves, told, levels, behind)
            state.usual[system] = tuple(one * fade + new for one, new in zip(seen, more, strict=True))

    def _delayed(self, state: NodeState, number: int) -> bool:
        """Whether what is told of the node comes late of late: then what did not come is under way."""
        recent = [minute for minute in state.minutes if minute.number > number - _SPANS[-1]]
        late = sum(minute.late for minute in recent)
        return late >= max(3.0, _MANY_LATE * sum(minute.moves for minute in recent))

    def _missing(self, state: NodeState, system: str, rule: LostRule, number: int) -> tuple[float, float]:
        """How many changes the system did not tell of, and how surprising that is; 0 where that is no finding."""
        moves, told, _, _ = state.usual.get(system, (0.0, 0.0, 0.0, 0.0))
        if moves < _KNOWN or told < 0.5 * moves:
            return 0.0, 0.0
        ratio = min(1.0, told / moves)
        settled = number - rule.settle // CELL_US
        best = (0.0, 0.0)
        late = [minute for minute in state.minutes if minute.number > settled]
        if not any(system in minute.levels or system in minute.echoes for minute in late):
            return best  # it says nothing at all: that is another finding
        for span in _SPANS:
            wanted = heard = 0.0
            for minute in reversed(state.minutes):
                if minute.number <= settled - span:
                    break
                if minute.number <= settled:
                    wanted += minute.moves
                heard += minute.echoes.get(system, 0.0)
            expected = wanted * ratio
            missing = expected - heard
            if missing < rule.least or missing < rule.share * expected:
                continue
            score = surprise_of_share(missing, expected, max(rule.usual, 0.05))
            if score >= rule.score and score > best[1]:
                best = missing, score
        return best

    def _behind(self, state: NodeState, system: str, rule: LostRule, number: int) -> tuple[float, float]:
        """How many levels have newly stayed behind, and how surprising that is; 0 where that is no finding."""
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
            confidence=round(1.0 - 10.0 ** -min(found.score, 9.0), 9),
            expected=f"{system} follows within minutes",
            observed="; ".join(parts),
            method="rule",
            explanation=f"{said}{'; nothing new for a while' if closed else ''}.",
            evidence=found.evidence,
            arrival_us=end_us,
            version=next_version(0, end_us),
        )
        return ScopeFinding(signal, [], round(max(sum(found.behind.values()), found.moved), 2), self._currency)
