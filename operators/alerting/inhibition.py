"""Which incidents keep which others quiet."""

from typing import TypeVar

import msgspec

from operators.alerting.matchers import Labels, Matcher, all_fit, parse_matchers
from operators.alerting.settings import AlertSettings
from operators.alerting.state import Tracked
from schemas.incident_rows import Incident

K = TypeVar("K")
V = TypeVar("V")


class InhibitionRule(msgspec.Struct, frozen=True):
    """What is declared, ready to be asked."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]

    def equals(self, labels: Labels) -> tuple[str, ...]:
        """The values that source and target must share."""
        return tuple(labels.get(name, "") for name in self.equal)


class Inhibition:
    """The open incidents by what they could keep quiet.

    By rule, as in Alertmanager: a source that is silenced or inhibited itself counts, too; an incident that both sides
    of a rule fit is not kept quiet by another such one, nor by itself. By cause: an incident whose probable causes
    include the signal that an earlier one was opened for is kept quiet by that one, unless a label of both their scopes
    differs.

    Memory: an entry for each open incident and rule that it is a source of. Cost: a look-up for each rule.
    """

    def __init__(self, settings: AlertSettings) -> None:
        self._rules = [
            InhibitionRule(parse_matchers(one.source_matchers), parse_matchers(one.target_matchers), tuple(one.equal))
            for one in settings.inhibit
        ]
        self._parents_inhibit = settings.parents_inhibit
        #: For each rule: the values of `equal` → source → whether the target side fits it as well.
        self._sources: list[dict[tuple[str, ...], dict[str, bool]]] = [{} for _ in self._rules]
        #: The signal an incident was opened for → the incident.
        self._parents: dict[str, dict[str, Incident]] = {}

    def add(self, tracked: Tracked) -> None:
        """An incident is open."""
        incident, labels = tracked.incident, tracked.labels
        for rule, sources in zip(self._rules, self._sources, strict=True):
            if all_fit(rule.source, labels):
                both = all_fit(rule.target, labels)
                sources.setdefault(rule.equals(labels), {})[incident.incident_id] = both
        if incident.cause_signal_id:
            self._parents.setdefault(incident.cause_signal_id, {})[incident.incident_id] = incident

    def remove(self, tracked: Tracked) -> None:
        """It is no longer, or not as it was when it was added."""
        incident_id = tracked.incident.incident_id
        for rule, sources in zip(self._rules, self._sources, strict=True):
            _drop(sources, rule.equals(tracked.labels), incident_id)
        _drop(self._parents, tracked.incident.cause_signal_id, incident_id)

    def quietened_by(self, tracked: Tracked) -> tuple[str, str] | None:
        """The incident that keeps this one quiet, and why; None where none does."""
        incident, labels = tracked.incident, tracked.labels
        for number, (rule, sources) in enumerate(zip(self._rules, self._sources, strict=True)):
            if not all_fit(rule.target, labels):
                continue
            both_sides = all_fit(rule.source, labels)
            found = sources.get(rule.equals(labels), {})
            by = min((one for one, both in found.items() if not (both and both_sides)), default=None)
            if by is not None:
                return by, f"rule inhibit[{number}]"
        parent = self._parent_of(incident) if self._parents_inhibit else None
        return None if parent is None else (parent, "it is a probable cause of this one")

    def _parent_of(self, child: Incident) -> str | None:
        signals = [child.cause_signal_id, *(one.partition(":")[0] for one in child.candidates)]
        found = (parent for signal in signals for parent in self._parents.get(signal, {}).values())
        mine = (child.found_at_us, child.incident_id)
        earlier = ((one.found_at_us, one.incident_id) for one in found if _agree(one.scope, child.scope))
        return next((incident_id for at_us, incident_id in sorted(earlier) if (at_us, incident_id) < mine), None)

    def sizes(self) -> int:
        """How many entries there are."""
        by_rule = sum(len(entries) for sources in self._sources for entries in sources.values())
        return by_rule + sum(map(len, self._parents.values()))


def _agree(one: Labels, other: Labels) -> bool:
    return all(other.get(name, value) == value for name, value in one.items())


def _drop(table: dict[K, dict[str, V]], key: K, incident_id: str) -> None:
    entries = table.get(key)
    if entries is not None and entries.pop(incident_id, None) is not None and not entries:
        del table[key]
