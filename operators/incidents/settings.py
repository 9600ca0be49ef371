"""What makes findings one incident, how its cause is weighed, how urgent it is: what stands under `[incidents]`."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from operators.incidents.causes import CauseRule
from operators.incidents.kinds import KINDS
from schemas.accepted import as_toml
from schemas.durations import DAY_US, HOUR_US, MINUTE_US, Duration, people_duration
from schemas.problems import Problem, did_you_mean, path_text
from schemas.toml_lines import KeyPath, line_of


class CauseWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What counts how much when candidates for the cause are ranked.

    `earliest`: it began first; `explains`: its share of the other findings and orders that can come from it;
    `uncaused`: nothing known in the incident brings it about; `direct`: the broken thing itself was seen failing.
    """

    earliest: float = 0.15
    explains: float = 0.3
    uncaused: float = 0.3
    direct: float = 0.25


class PriorityWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much each thing can add to an incident's importance (0 to 1), and at what size it adds 63 % of that.

    `sla` grows with promises at risk and the nearness of the first one; importance is 1 - Π(1 - weight × size), so that
    one thing that is grave is enough. `levels` are the least importance for priority 1, 2, 3 and 4.
    """

    sla: float = 0.7
    value: float = 0.6
    margin: float = 0.3
    customers: float = 0.4
    severity: float = 0.4
    promises_scale: float = 50.0
    value_scale: float = 10_000.0
    margin_scale: float = 3_000.0
    customers_scale: float = 100.0
    breach_within: Duration = Duration(8 * HOUR_US)
    levels: tuple[float, ...] = (0.8, 0.6, 0.3, 0.12)


class IncidentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How findings are put together, and what becomes of incidents.

    Grouping: an effect begins no earlier than `slack` before its cause. Orders tie two findings together where they
    share at least `shared_least` and `shared_share` of the fewer, and more where the effect shows itself directly. A
    kind that is found in `siblings` places within `siblings_within` has one cause. A finding that may come from an open
    incident, which orders have yet to tell, waits `hold` for them.

    Lifecycle: recovering when the cause is over or nothing was added for `recover_after`; resolved when all findings
    are over and nothing was added for `resolve_after`, or nothing at all was heard for `give_up_after`; an incident
    whose cause comes back within `reopen_within` of that is opened again. `cause_margin` is by how much another
    candidate has to be better before the cause is changed.

    Bounds: beyond `most_findings` of an incident, those that are over are let go; beyond `most_orders`, cases are not
    named.
    """

    slack: Duration = Duration(20 * MINUTE_US)
    shared_least: int = 3
    shared_share: float = 0.6
    siblings: int = 5
    siblings_within: Duration = Duration(15 * MINUTE_US)
    hold: Duration = Duration(5 * MINUTE_US)
    recover_after: Duration = Duration(30 * MINUTE_US)
    resolve_after: Duration = Duration(15 * MINUTE_US)
    reopen_within: Duration = Duration(2 * HOUR_US)
    give_up_after: Duration = Duration(7 * DAY_US)
    most_findings: int = 20_000
    most_orders: int = 100_000
    cause_margin: float = 0.05
    cause_weights: CauseWeights = CauseWeights()
    priority: PriorityWeights = PriorityWeights()
    cause: list[CauseRule] = []


def find_problems(settings: IncidentSettings, file: str = "settings", text: str = "") -> tuple[Problem, ...]:
    """Every problem of what stands under `[incidents]`: key, value, what is accepted, and the line of `text`."""
    check = _Check(file, text)
    for name in ("slack", "hold"):
        check.within((name,), getattr(settings, name), 0, HOUR_US)
    for name in ("siblings_within", "recover_after", "resolve_after", "reopen_within"):
        check.within((name,), getattr(settings, name), MINUTE_US, DAY_US)
    check.within(("give_up_after",), settings.give_up_after, HOUR_US, 60 * DAY_US)
    check.number(("shared_least",), settings.shared_least, 1, 1_000)
    check.number(("shared_share",), settings.shared_share, 0.05, 1)
    check.number(("siblings",), settings.siblings, 2, 1_000)
    check.number(("most_findings",), settings.most_findings, 100, 1_000_000)
    check.number(("most_orders",), settings.most_orders, 100, 10_000_000)
    check.number(("cause_margin",), settings.cause_margin, 0, 1)
    _check_weights(settings, check)
    _check_rules(settings.cause, check)
    return tuple(check.problems)


def _check_weights(settings: IncidentSettings, check: "_Check") -> None:
    weights = settings.cause_weights
    for name in CauseWeights.__struct_fields__:
        check.number(("cause_weights", name), getattr(weights, name), 0, 1)
    if not any(getattr(weights, name) for name in CauseWeights.__struct_fields__):
        check.add(("cause_weights",), 0.0, "one of them must be above 0")
    priority = settings.priority
    for name in ("sla", "value", "margin", "customers", "severity"):
        check.number(("priority", name), getattr(priority, name), 0, 1)
    for name in ("promises_scale", "value_scale", "margin_scale", "customers_scale"):
        if not getattr(priority, name) > 0:
            check.add(("priority", name), getattr(priority, name), "must be above 0")
    check.within(("priority", "breach_within"), priority.breach_within, MINUTE_US, 60 * DAY_US)
    levels = priority.levels
    falling = all(one > other for one, other in pairwise(levels))
    if len(levels) != 4 or not falling or not all(0 < level < 1 for level in levels):
        check.add(("priority", "levels"), levels, "must be four numbers between 0 and 1, each less than the one before")


def _check_rules(rules: Sequence[CauseRule], check: "_Check") -> None:
    for number, rule in enumerate(rules):
        where: KeyPath = ("cause", number)
        if rule.cause not in KINDS:
            check.add((*where, "cause"), rule.cause, "is no kind of incident" + did_you_mean(rule.cause, list(KINDS)))
        if not rule.effects:
            check.add((*where, "effects"), rule.effects, "must name at least one kind")
        for effect in rule.effects:
            if effect not in KINDS:
                check.add((*where, "effects"), effect, "is no kind of incident" + did_you_mean(effect, list(KINDS)))
            elif effect == rule.cause:
                check.add((*where, "effects"), effect, "a kind is no effect of itself")
        if not rule.why.strip():
            check.add((*where, "why"), rule.why, "must say why, in words: it is shown as the reason")
        check.within((*where, "within"), rule.within, MINUTE_US, 7 * DAY_US)


class _Check:
    def __init__(self, file: str, text: str) -> None:
        self._file, self._text = file, text
        self.problems: list[Problem] = []

    def add(self, path: KeyPath, value: object, expected: str) -> None:
        where = ("incidents", *path)
        self.problems.append(
            Problem(self._file, path_text(where), as_toml(value), expected, line_of(self._text, where))
        )

    def number(self, path: KeyPath, value: float, least: float, most: float) -> None:
        if not least <= value <= most:
            self.add(path, value, f"must be between {least:g} and {most:g}")

    def within(self, path: KeyPath, value: Duration, least_us: int, most_us: int) -> None:
        if not least_us <= value <= most_us:
            shown = people_duration(value)
            self.add(path, shown, f"must be between {people_duration(least_us)} and {people_duration(most_us)}")
