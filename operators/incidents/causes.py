"""Which kind of breakdown can bring about which: the declared table, and what follows from it and the process map."""

from collections import deque
from collections.abc import Iterable

import msgspec

from operators.process_edges import edges_of, reaches, successors
from operators.process_map import ProcessMap
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration

_LONGEST_CHAIN = 3
#: A queue fills as soon as what it leads to fails.
_PILES_UP = 10 * MINUTE_US


class CauseRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind can bring about others, which begin no later than `within` after its end.

    `wide`: it strikes where its name does not say (a queue's name is no node's): such effects are told by the orders
    they share with it, and by time alone where no orders are named. `soon`: an effect that names no orders and begins
    within this of the cause's begin is told by time alone, however directly it shows itself.
    """

    cause: str
    effects: list[str]
    why: str
    within: Duration = Duration(2 * HOUR_US)
    wide: bool = False
    soon: Duration = Duration(0)


def _rule(cause: str, effects: str, hours: float, why: str, *, wide: bool = False, soon: int = 0) -> CauseRule:
    within = Duration(round(hours * HOUR_US))
    return CauseRule(cause=cause, effects=effects.split(), within=within, wide=wide, soon=Duration(soon), why=why)


#: What can bring about what, and why. Chains follow by themselves (up to three steps).
RULES: tuple[CauseRule, ...] = (
    # Middleware: what is stuck on the way is missing everywhere behind.
    _rule(
        "queue_saturation",
        "oversell phantom_stock stockout_risk",
        2,
        "late messages leave the figures of stock stale, and what is gone is promised again",
        wide=True,
    ),
    _rule("queue_saturation", "misrouting", 2, "what was promised from stale stock is allocated again", wide=True),
    _rule("queue_saturation", "picking_backlog", 2, "work that is stuck in a queue comes all at once", wide=True),
    _rule(
        "queue_saturation",
        "posting_missing posting_interface_down refund_lag",
        4,
        "postings wait for messages that are stuck",
        wide=True,
    ),
    _rule("queue_saturation", "feed_stopped adjustments_lost clock_skew", 1, "what a system said is stuck", wide=True),
    _rule("queue_saturation", "duplicate_orders", 1, "senders that get no answer send again", wide=True),
    # Interfaces: calls that fail.
    *(
        rule
        for fault in ("downstream_outage", "transport_fault", "schema_change", "rule_failure")
        for rule in (
            _rule(
                fault,
                "queue_saturation",
                1,
                "what can't be handed on piles up before the interface",
                wide=True,
                soon=_PILES_UP,
            ),
            _rule(
                fault, "posting_interface_down posting_missing refund_lag", 4, "failed calls post nothing", wide=True
            ),
            _rule(fault, "feed_stopped adjustments_lost", 2, "what fails to get through is never heard of", wide=True),
            _rule(fault, "duplicate_orders", 1, "failed calls are sent again", wide=True),
            _rule(fault, "misrouting oversell picking_backlog", 2, "decisions are made without an answer", wide=True),
        )
    ),
    _rule(
        "schema_change", "rule_failure incomplete_orders", 2, "fields that are not understood are missing", wide=True
    ),
    _rule("downstream_outage", "transport_fault", 1, "what is down does not answer"),
    _rule("incomplete_orders", "rule_failure misrouting margin_leak", 2, "rules fail on what is missing", wide=True),
    _rule(
        "clock_skew",
        "feed_stopped queue_saturation refund_without_receipt picking_backlog",
        1,
        "by a wrong clock messages look late or out of order",
        wide=True,
    ),
    # Stock: figures that are not so.
    _rule("feed_stopped", "oversell misrouting", 4, "without the feed figures of stock are stale", wide=True),
    _rule("feed_stopped", "phantom_stock adjustments_lost stockout_risk", 4, "without the feed stock is not known"),
    _rule("feed_stopped", "posting_missing picking_backlog", 4, "what a silent system does is not heard of"),
    _rule("adjustments_lost", "phantom_stock stockout_risk", 24, "one system has stock that is gone"),
    _rule("adjustments_lost", "oversell misrouting", 24, "what is gone is still sold", wide=True),
    _rule("phantom_stock", "oversell stockout_risk", 8, "what is not there is sold"),
    _rule("phantom_stock", "misrouting", 4, "short picks are allocated elsewhere", wide=True),
    _rule("oversell", "misrouting", 4, "what can't be had is allocated elsewhere", wide=True),
    _rule("oversell", "refund_lag", 24, "cancelled orders are to be paid back", wide=True),
    _rule("stockout_risk", "oversell", 24, "the last pieces are sold twice"),
    _rule("stockout_risk", "misrouting", 24, "orders go to whatever node still has it", wide=True),
    # Work.
    _rule("misrouting", "picking_backlog stockout_risk", 4, "nodes get orders not meant for them", wide=True),
    _rule(
        "picking_backlog", "misrouting carrier_delay", 6, "what is not picked in time goes elsewhere or late", wide=True
    ),
    _rule(
        "duplicate_orders",
        "oversell stockout_risk picking_backlog",
        4,
        "doubled orders take stock and hands",
        wide=True,
    ),
    # Postings.
    _rule("posting_interface_down", "posting_missing", 8, "postings that were refused are missing", wide=True),
    _rule("posting_interface_down", "refund_lag", 24, "refunds are postings", wide=True),
    _rule("posting_interface_down", "queue_saturation", 1, "what can't be posted piles up", wide=True, soon=_PILES_UP),
    # Supply, demand, price.
    _rule("supplier_delay", "stockout_risk promotion_without_stock", 72, "what was ordered has not come", wide=True),
    _rule("supplier_delay", "supply_mismatch", 72, "a late supplier delivers in part"),
    _rule("supply_mismatch", "stockout_risk", 72, "less came than was ordered", wide=True),
    _rule("promotion_without_stock", "stockout_risk oversell", 24, "a promotion sells what is not there"),
    _rule("promotion_without_stock", "misrouting picking_backlog", 24, "demand that was not planned for", wide=True),
    _rule("price_error", "margin_leak stockout_risk oversell", 12, "a wrong price sells too well, at a loss"),
    _rule("price_error", "picking_backlog misrouting", 12, "a run on a wrong price", wide=True),
)


class Link(msgspec.Struct, frozen=True):
    """One kind or handoff can bring about another, in so many steps."""

    within_us: int
    wide: bool
    steps: int
    why: str
    soon_us: int = 0


class CauseGraph:
    """What can bring about what.

    Args:
        added: rules beside those of the table; one for the same two kinds takes the table's place.
        process: its `depends_on` say which handoffs hold up which.
        same_within_us: how long after its end a breakdown of the same kind in the same place is the same one.

    Memory: one record for each pair of kinds or handoffs. Cost: made once; then look-ups.
    """

    def __init__(self, added: Iterable[CauseRule], process: ProcessMap, same_within_us: int) -> None:
        direct = {(rule.cause, effect): rule for rule in (*RULES, *added) for effect in rule.effects}
        self._links: dict[tuple[str, str], Link] = {}
        after: dict[str, list[str]] = {}
        for cause, effect in direct:
            after.setdefault(cause, []).append(effect)
        for start in after:
            self._follow(start, after, direct)
        self._same = Link(same_within_us, wide=True, steps=0, why="the same breakdown, seen from another side")
        depends = successors(edge for edge in edges_of(process) if edge.kind == "depends")
        names = [handoff.name for handoff in process.handoff]
        self._handoffs = {
            (one, other): Link(4 * HOUR_US, wide=False, steps=1, why=f"{other} waits for {one} (process map)")
            for one in names
            for other in names
            if one != other and reaches(depends, one, other)
        }
        self._near: dict[str, set[str]] = {}
        for cause, effect in self._links:
            self._near.setdefault(cause, {cause}).add(effect)
            self._near.setdefault(effect, {effect}).add(cause)

    def _follow(self, start: str, after: dict[str, list[str]], direct: dict[tuple[str, str], CauseRule]) -> None:
        """Find all that a kind leads to, by the fewest steps."""
        todo = deque([(start, 0, 0, True, "")])
        while todo:
            kind, steps, within, wide, why = todo.popleft()
            for effect in after.get(kind, ()):
                if effect == start or (start, effect) in self._links:
                    continue
                rule = direct[kind, effect]
                link = Link(
                    min(within + rule.within, 7 * DAY_US),
                    wide and rule.wide,
                    steps + 1,
                    f"{why}; then {rule.why}" if why else rule.why,
                    0 if why else rule.soon,
                )
                self._links[start, effect] = link
                if link.steps < _LONGEST_CHAIN:
                    todo.append((effect, link.steps, link.within_us, link.wide, link.why))

    def link(self, cause: str, effect: str, cause_handoff: str = "", effect_handoff: str = "") -> Link | None:
        """How a finding of one kind (about a handoff) can come from one of another; None where it can't."""
        if cause == effect:
            return self._same
        return self._links.get((cause, effect)) or self._handoffs.get((cause_handoff, effect_handoff))

    def near(self, kind: str) -> set[str]:
        """The kinds that can bring this one about or come from it, with itself."""
        return self._near.get(kind, {kind})
