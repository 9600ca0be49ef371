"""How the scopes of findings lie to each other: the same place, places apart, or not to be compared."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Literal, TypeAlias

#: Field → the values it has over some findings.
Values: TypeAlias = Mapping[str, AbstractSet[str]]

#: What names a thing that breaks. Two of them are two breakdowns, unless something else says otherwise.
PLACES = frozenset({"node", "carrier", "supplier", "interface", "queue", "promotion"})
#: What many things that have nothing to do with each other share.
LOOSE = frozenset({"region", "channel", "source"})

#: What says from where something was seen, not what is broken: late messages of two topics may be one queue's.
VIEWS = frozenset({"topic"})

#: same: a field agrees and none speaks against it; loose: only a wide field agrees; apart: they name different ones;
#: other: they have no field in common.
Relation: TypeAlias = Literal["same", "loose", "apart", "other"]


def relation(one: Values, other: Values, *, same_kind: bool) -> Relation:
    """How two scopes lie to each other.

    Findings of the same kind in one place are one breakdown, whichever items they name: a batch of goods that vanished
    from a node. Of other kinds, an item that differs sets them apart.
    """
    agree = {field for field, values in one.items() if not values.isdisjoint(other.get(field, ()))}
    differ = {field for field in (one.keys() & other.keys()) - VIEWS if field not in agree}
    if differ & PLACES:
        return "apart"
    if differ and not (agree & PLACES or (same_kind and agree - {"region"})):
        return "apart"
    if not agree:
        return "other"
    return "same" if agree - LOOSE or (same_kind and agree - {"region"}) else "loose"


def values_of(scope: Mapping[str, str]) -> dict[str, set[str]]:
    """A single scope as values."""
    return {field: {value} for field, value in scope.items()}
