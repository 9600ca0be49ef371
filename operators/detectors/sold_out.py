"""Items whose orders go elsewhere because they are sold out where they belong, told from a routing that is wrong.

Where a table is wrong every item goes astray as often as any other there, and nowhere else; where items are sold out
these go astray much more often than others do, in whatever region or channel they are ordered. So the items of which
most go astray are split off, the most surprising first, up to where that pays best: their orders together must be so
surprising (Chernoff's bound, rates.py), given how often the others go astray, for each item that is split off.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from operators.detectors.rates import surprise_of_share

#: So many orders of an item must have gone astray before it is held to be sold out.
_OF_ITEM = 2


class Sent(NamedTuple):
    """An allocation: its items, whether it went astray, and whether it is of the value that is judged."""

    skus: frozenset[str]
    astray: bool
    inside: bool


def sold_out(sent: Sequence[Sent], usual: float, score: float) -> set[str]:
    """The items that go astray by themselves: anywhere, held against others of the value, or where the value is not.

    Cost: O(the allocations and their items), and a sort of the items that went astray.

    Args:
        sent: the allocations of a window.
        usual: the share that usually goes astray.
        score: how surprising it must be for each item (-log10 of a probability).
    """
    outside = [one for one in sent if not one.inside]
    inside = [one for one in sent if one.inside]
    return _split(sent, inside, usual, score) | _split(outside, outside, usual, score)


def _split(sent: Sequence[Sent], others: Iterable[Sent], usual: float, score: float) -> set[str]:
    """The items of `sent` that go astray more often than what is left of `others` without them."""
    of_item = dict[str, list[int]]()
    for number, one in enumerate(sent):
        for sku in one.skus:
            of_item.setdefault(sku, []).append(number)
    surprises = list[tuple[float, str]]()
    for sku, numbers in of_item.items():
        astray = sum(sent[number].astray for number in numbers)
        if astray >= _OF_ITEM:
            surprises.append((-surprise_of_share(astray, len(numbers), usual), sku))
    left = {id(one): one.astray for one in others}
    left_astray, taken = sum(left.values()), set[int]()
    bad = best = 0.0
    found, items = set[str](), list[str]()
    for _, sku in sorted(surprises):
        items.append(sku)
        for number in of_item[sku]:
            if number in taken:
                continue
            taken.add(number)
            bad += sent[number].astray
            left_astray -= left.pop(id(sent[number]), False)
        share = max(usual, left_astray / max(1, len(left)))
        pays = surprise_of_share(bad, len(taken), share) - score * len(items)
        if pays > best:
            best, found = pays, set(items)
    return found
