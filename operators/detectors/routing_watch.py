"""Routing: what most of the wrong allocations have in common. The second part.

All allocations of the window are counted by region, by expected node and by channel; of those values whose share of
wrong ones is a finding, the most surprising one explains what it can, and what is left is judged again. Wherever an
item is sold out its orders go elsewhere rightly: a value whose wrong ones are of such items is none.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from operator import attrgetter

import msgspec

from operators.detectors.events import CELL_US
from operators.detectors.integration_findings import Said, Standing, standing_finding
from operators.detectors.policy import Policy
from operators.detectors.rates import RateRule, RateWatch, Seen, surprise_of_share
from operators.detectors.records import Impact, Scoped, ScopeFinding, scoped
from operators.detectors.routing import ROUTE, Route, RoutingRule
from operators.detectors.scopes import Cell, ScopeDetector
from operators.detectors.sold_out import Sent, sold_out
from schemas.durations import HOUR_US, people_duration

#: How many findings can stand at once; how much the rule's usual share counts beside what was seen.
_MOST_STANDING, _PRIOR = 8, 50.0
#: After how long the share of the last hours counts by half, and how much the rule's usual share counts beside it.
_LATELY_US, _PRIOR_LATELY = HOUR_US, 20.0
#: The share of the wrong ones that a node must get to be where they go. An order without an expected node is one of
#: them where usually no more than the second share as many of its region go there, of at least so many seen.
_MOSTLY, _SELDOM, _KNOWN = 0.8, 0.4, 50.0
#: Ends of the window that are looked at beside all of it: what breaks suddenly shows within minutes.
_ENDS, _CLEARER = (5, 15, 30), 1.0
#: Of a node's orders so many times more, and nearly all, must have gone astray: what it has sold out goes elsewhere
#: rightly, more and more of it, and a node that is missing from a table gets none.
_OF_NODE, _NEARLY_ALL = 1.6, 0.9
#: Which field of an allocation is which dimension of a scope.
_FIELDS = {"region": "region", "node": "expected", "channel": "channel"}


class Allocated(msgspec.Struct, frozen=True, array_like=True):
    """An allocation in the window."""

    cell: int
    at_us: int
    route: Route
    impact: Impact | None

    def has(self, key: tuple[str, str]) -> bool:
        """Whether it has this value of a dimension."""
        return bool(getattr(self.route, _FIELDS[key[0]]) == key[1])


class Misrouted(msgspec.Struct, array_like=True):
    """A finding that stands: about which value of which dimension, and under which scope it was said."""

    dimension: str
    value: str
    scope: dict[str, str]
    bar: float
    calm_from: int = 0
    standing: Standing = msgspec.field(default_factory=Standing)

    @property
    def key(self) -> tuple[str, str]:
        """The dimension and its value."""
        return self.dimension, self.value


class RoutingState(msgspec.Struct, array_like=True):
    """The window's allocations, what is usual, and what stands.

    `usual` is (wrong, all) by dimension and value, `lately` the same of the last hours, `pairs` how many orders of a
    region went to a node.
    """

    window: list[Allocated] = []
    usual: dict[str, tuple[float, float]] = {}
    pairs: dict[str, float] = {}
    learnt_us: int = 0
    stands: list[Misrouted] = []
    lately: dict[str, tuple[float, float]] = {}


class RoutingWatch(ScopeDetector):
    """Finds misrouting. One state for the whole retailer.

    Memory: the allocations of the window (some 300 bytes each), two numbers for each region, node and channel, one for
    each pair of region and node. Cost: a few dictionary entries for each allocation of the window, a minute.
    """

    NAME = "misrouting"
    METRICS = (ROUTE,)
    State = RoutingState

    def __init__(self, policy: Policy[RoutingRule]) -> None:
        self._policy = policy

    def judge(
        self, scope: Scoped, state: RoutingState, cells: Mapping[str, Cell], end_us: int
    ) -> Iterable[ScopeFinding]:
        """As `ScopeDetector`."""
        del scope
        rule = self._policy.of(())
        number, cell = end_us // CELL_US, cells.get(ROUTE)
        self._slide(state, number - max(1, rule.window // CELL_US), rule, end_us)
        new = [
            Allocated(number, at_us, msgspec.json.decode(shown, type=Route), impact)
            for _, at_us, shown, impact in (cell.members if cell is not None else [])
        ]
        new = list({_order_key(one): one for one in reversed(new)}.values())[::-1]
        state.window.extend(new)
        for misrouted in list(state.stands):
            yield from self._go_on(state, misrouted, new, number, end_us)
        if any(one.route.verdict == "wrong" for one in new):
            yield from self._look(state, end_us)

    def idle(self, state: RoutingState) -> bool:
        """As `ScopeDetector`."""
        return not state.stands

    def _slide(self, state: RoutingState, oldest: int, rule: RoutingRule, end_us: int) -> None:
        """Learn what is usual from what leaves the window, but for what a finding that stands is about."""
        if not state.window or state.window[0].cell > oldest:
            return
        upto = bisect_right(state.window, oldest, key=_cell)
        gone = state.window[:upto]
        del state.window[:upto]
        if end_us - state.learnt_us >= HOUR_US:
            fade = exp(-log(2) * (end_us - state.learnt_us) / rule.memory) if state.learnt_us else 1.0
            state.usual = {key: (bad * fade, total * fade) for key, (bad, total) in state.usual.items()}
            state.pairs = {key: count * fade for key, count in state.pairs.items()}
            half = 0.5 ** ((end_us - state.learnt_us) / _LATELY_US) if state.learnt_us else 1.0
            state.lately = {key: (bad * half, total * half) for key, (bad, total) in state.lately.items()}
            state.learnt_us = end_us
        stands = [misrouted.key for misrouted in state.stands]
        for one in gone:
            if any(one.has(key) for key in stands):
                continue
            route = one.route
            for key in (f"region {route.region}", f"region {route.region} to {route.node}"):
                state.pairs[key] = state.pairs.get(key, 0.0) + 1.0
            if route.verdict == "unsaid":
                continue
            for dimension, field in _FIELDS.items():
                key = f"{dimension} {getattr(route, field)}"
                for known in (state.usual, state.lately):
                    bad, total = known.get(key, (0.0, 0.0))
                    known[key] = bad + (route.verdict == "wrong"), total + 1.0

    def _look(self, state: RoutingState, end_us: int) -> Iterable[ScopeFinding]:
        """Open a finding for each value that explains more than chance does."""
        left = [one for one in state.window if one.route.verdict != "unsaid"]
        for misrouted in state.stands:
            left = [one for one in left if not one.has(misrouted.key)]
        number = end_us // CELL_US
        while len(state.stands) < _MOST_STANDING:
            ends = [left[bisect_right(left, number - end, key=_cell) :] for end in _ENDS]
            found = [self._most_surprising(state, left), *(self._most_surprising(state, end, _CLEARER) for end in ends)]
            best = max((one for one in found if one), key=_score, default=None)
            if best is None:
                return
            score, key, bar, usual = best
            sells_out = usual > self._policy.of(scoped(**dict([key]))).share / 2
            if key[0] == "node" and (sells_out or not any(self._nearly_all(key, among) for among in (left, *ends))):
                left = [one for one in left if not one.has(key)]
                continue
            since_us = _since_us([one for one in left if one.has(key)], bar)
            among = [one for one in left if one.has(key) and one.at_us >= since_us]
            wrong, total = [one for one in among if one.route.verdict == "wrong"], len(among)
            misrouted = Misrouted(key[0], key[1], self._scope(key, wrong), bar)
            state.stands = [*state.stands, misrouted]
            misrouted.standing.begin(end_us, since_us, score, [one.route.event_id for one in wrong])
            impacts = self._touched(state, misrouted, [one for one in state.window if one.at_us >= since_us])
            observed = f"{len(wrong)} of {total}"
            sentence = f"Orders of {' '.join(key)} are allocated to other nodes than expected: {observed} lately"
            said = Said(f"{usual:.1%} elsewhere", observed, f"{sentence}, where {usual:.1%} is usual.")
            yield self._finding(misrouted, said, end_us, impacts)
            left = [one for one in left if not one.has(key)]

    def _most_surprising(
        self, state: RoutingState, left: Sequence[Allocated], clearer: float = 0.0
    ) -> tuple[float, tuple[str, str], float, float] | None:
        """The score (by how much it must be `clearer`), the value, the bar of its share, and the usual share."""
        routes = [one.route for one in left]
        wrong = [route for route in routes if route.verdict == "wrong"]
        if not wrong:
            return None
        best: tuple[float, tuple[str, str], float, float] | None = None
        for dimension, field in _FIELDS.items():
            value_of = attrgetter(field)
            bad, total = Counter(map(value_of, wrong)), Counter[str]()
            for value, count in sorted(bad.items()):
                rule = self._policy.of(scoped(**{dimension: value}))
                if not value or count < rule.least:
                    continue
                items = {route.sku for route in wrong if value_of(route) == value}
                if len(items) < count / 2:
                    continue
                usual = self._usual(state, f"{dimension} {value}", rule)
                bar = max(rule.share, min(0.9, usual * rule.times))
                total = total or Counter(map(value_of, routes))
                share = count / total[value]
                if share < bar or surprise_of_share(count, total[value], usual) < rule.score + clearer:
                    continue
                gone = sold_out(_sent((dimension, value), state.window), usual, rule.sold_out)
                others = [one for one in left if one.has((dimension, value)) and gone.isdisjoint(one.route.skus)]
                astray = sum(one.route.verdict == "wrong" for one in others)
                score = surprise_of_share(astray, len(others), usual)
                is_finding = astray >= max(rule.least, bar * len(others)) and score >= rule.score + clearer
                if is_finding and (best is None or score > best[0]):
                    best = score, (dimension, value), bar, usual
        return best

    def _nearly_all(self, key: tuple[str, str], among: Sequence[Allocated]) -> bool:
        """Whether a node got hardly any of the orders meant for it."""
        mine = [one.route.verdict == "wrong" for one in among if one.has(key)]
        least = _OF_NODE * self._policy.of(scoped(node=key[1])).least
        return sum(mine) >= max(least, _NEARLY_ALL * len(mine))

    @staticmethod
    def _usual(state: RoutingState, key: str, rule: RoutingRule) -> float:
        """The usual share, or that of the last hours if larger: what sells out goes elsewhere more and more."""
        bad, total = state.usual.get(key, (0.0, 0.0))
        long_run = (bad + rule.usual * _PRIOR) / (total + _PRIOR)
        bad, total = state.lately.get(key, (0.0, 0.0))
        return max(long_run, (bad + rule.usual * _PRIOR_LATELY) / (total + _PRIOR_LATELY))

    @staticmethod
    def _scope(key: tuple[str, str], wrong: Sequence[Allocated]) -> dict[str, str]:
        """The value, and with a region the node that its orders go to if that is one."""
        scope = {key[0]: key[1]}
        node, count = Counter(one.route.node for one in wrong).most_common(1)[0]
        return scope | {"node": node} if key[0] == "region" and count >= _MOSTLY * len(wrong) else scope

    def _go_on(
        self, state: RoutingState, misrouted: Misrouted, new: Sequence[Allocated], number: int, end_us: int
    ) -> Iterable[ScopeFinding]:
        rule = self._policy.of(scoped(**{misrouted.dimension: misrouted.value}))
        impacts = self._touched(state, misrouted, new)
        lately = [
            one.route.verdict == "wrong"
            for one in state.window
            if one.cell > number - rule.quiet // CELL_US and one.route.verdict != "unsaid" and one.has(misrouted.key)
        ]
        if sum(lately) >= max(2.0, misrouted.bar / 2 * len(lately)):
            misrouted.calm_from = 0
        else:
            misrouted.calm_from = misrouted.calm_from or end_us
        since, cases = misrouted.standing.since_us, len(misrouted.standing.named)
        where = f"{misrouted.dimension} {misrouted.value}"
        if misrouted.calm_from and end_us - misrouted.calm_from >= rule.quiet:
            sentence = f"Orders of {where} go where they belong again; {cases} went elsewhere."
            said = Said("as usual", "as usual", sentence)
            yield self._finding(misrouted, said, end_us, impacts, closed=True)
            state.stands = [one for one in state.stands if one is not misrouted]
        elif impacts:
            for_long = people_duration(max(CELL_US, end_us - since))
            sentence = f"Orders of {where} are allocated to other nodes than expected: {cases} in {for_long}."
            said = Said("as expected", f"{cases} orders elsewhere", sentence)
            yield self._finding(misrouted, said, end_us, impacts)

    @staticmethod
    def _touched(state: RoutingState, misrouted: Misrouted, among: Iterable[Allocated]) -> list[Impact]:
        """The wrong ones, and those without an expected node that go where the wrong ones do and usually none does."""
        mine = [one for one in among if one.has(misrouted.key)]
        wrong = [one for one in state.window if one.route.verdict == "wrong" and one.has(misrouted.key)]
        goals = {node for node, count in Counter(one.route.node for one in wrong).items() if count >= 0.1 * len(wrong)}

        unsaid = [one for one in state.window if one.route.verdict == "unsaid" and one.has(misrouted.key)]
        now = Counter((one.route.region, one.route.node) for one in unsaid)
        of_region = Counter(one.route.region for one in unsaid)

        def astray(route: Route) -> bool:
            known = state.pairs.get(f"region {route.region}", 0.0)
            if route.verdict != "unsaid" or route.node not in goals or known < _KNOWN:
                return False
            usual = state.pairs.get(f"region {route.region} to {route.node}", 0.0) / known
            return usual <= _SELDOM * now[route.region, route.node] / max(1, of_region[route.region])

        touched = [one for one in mine if one.route.verdict == "wrong" or astray(one.route)]
        return misrouted.standing.new([one.impact for one in touched if one.impact is not None])

    def _finding(
        self, misrouted: Misrouted, said: Said, end_us: int, impacts: list[Impact], *, closed: bool = False
    ) -> ScopeFinding:
        finding = standing_finding(
            self.NAME, "misrouting", misrouted.scope, misrouted.standing, said, end_us, impacts=impacts, closed=closed
        )
        return msgspec.structs.replace(finding, signal=msgspec.structs.replace(finding.signal, handoff="allocation"))


def _score(found: tuple[float, tuple[str, str], float, float]) -> float:
    return found[0]


def _sent(key: tuple[str, str], window: Sequence[Allocated]) -> list[Sent]:
    """The allocations of the window of which it was said where they belong; what goes to and fro went astray once."""
    sent, seen = list[Sent](), set[tuple[str, frozenset[str]]]()
    for one in window:
        route = one.route
        if route.verdict == "unsaid":
            continue
        if route.verdict == "wrong" and one.impact is not None and one.impact.key:
            if (one.impact.key, route.skus) in seen:
                continue
            seen.add((one.impact.key, route.skus))
        sent.append(Sent(route.skus, route.verdict == "wrong", one.has(key)))
    return sent


def _since_us(among: Sequence[Allocated], bar: float) -> int:
    """The event time of the first wrong one from which on as many are wrong as the bar asks for."""
    first, wrong = among[-1].at_us, 0
    for total, one in enumerate(sorted(among, key=_at_us, reverse=True), 1):
        if one.route.verdict == "wrong":
            wrong += 1
            first = one.at_us if wrong >= bar * total else first
    return first


def _cell(one: Allocated) -> int:
    return one.cell


def _order_key(one: Allocated) -> tuple[object, ...]:
    """What the lines of an order that go the same way have in common: they go together, and tell one thing."""
    route = one.route
    order_id = one.impact.key if one.impact is not None else ""
    return one.at_us, order_id, route.region, route.channel, route.expected, route.node, route.verdict


def _at_us(one: Allocated) -> int:
    return one.at_us


def _late_words(seen: Seen) -> tuple[str, str, str]:
    expected, observed = f"{seen.usual:.1%} allocated late", f"{seen.bad:.0f} of {seen.total:.0f}"
    ended = "; over now" if seen.closed else ""
    return expected, observed, f"Orders of {seen.where} wait for a node: {observed} were not allocated in time{ended}."


def routing_judges(elsewhere: Policy[RoutingRule], late: Policy[RateRule]) -> list[ScopeDetector]:
    """The second parts."""
    return [
        RoutingWatch(elsewhere),
        RateWatch("late_allocation", "misrouting", "overdue:allocation", late, _late_words, handoff="allocation"),
    ]
