"""Sums that are carried on when an adjustment is late: to the last bit what adding all up in order gives."""

import random
from collections.abc import Callable
from unittest.mock import patch

import pytest

from operators import stock_item
from operators.stock_awake import keep_awake
from operators.stock_history import Entry
from operators.stock_item import Item
from operators.stock_record import pack_item, unpack_item
from schemas.durations import END_OF_TIME_US

#: Not whole, whole together only, and of as many bits as a sum can just have, or not.
ODD = (-0.0, 0.5, 0.1, 2.0**52, -(2.0**52), 2.0**53 - 1, 2.0**53, 1e300)
Step = tuple[str, int, int, float] | int | Callable[[Item], bytes]


def _steps(seed: int, odd: float) -> list[Step]:
    """Of two systems, what is said a little before or after what stands last; folding, rest and snapshots between.

    `odd` is the share of adjustments that are no small whole number.
    """
    rng, out = random.Random(seed), list[Step]()
    for _ in range(60):
        kind = rng.choices(["adjust", "level", "fold", "rest"], [20, 4, 1, 1])[0]
        if kind == "fold":
            out.append(rng.randrange(3, 9))
        elif kind == "rest":
            out.append(rng.choice([pack_item, keep_awake]))
        else:
            quantity = rng.choice(ODD) if rng.random() < odd else float(rng.randrange(-5, 6))
            out.append((rng.choice(["wms", "wms", "erp"]), rng.randrange(-6, 3), int(kind == "level"), quantity))
    return out


def _in_order(item: Item) -> dict[str, tuple[float, tuple[float, float, float | None] | None]]:
    """By system: the quantity after all, and what moved since the last level, from the entries alone."""
    older = item.older.entries() if item.older is not None else {}
    out = {}
    for system, recent in item.entries.items():
        quantity, moved = None, None
        for _, kind, _, number, reserved, _ in [*older.get(system, []), *recent]:
            if kind:
                quantity, moved, level = number, None, (number, reserved)
            elif quantity is not None:
                total = (0.0 if moved is None else moved[1]) + number
                moved = (level[0], total, level[1])
                quantity = level[0] + total
        if quantity is not None:
            out[system] = (quantity, moved)
    return out


@pytest.mark.parametrize("odd", [0.0, 0.02, 0.3])
def test_what_is_carried_on_equals_adding_up_in_order_after_every_step(odd: float) -> None:
    for seed in range(100):
        _carry_on(_steps(seed, odd))


def _carry_on(steps: list[Step]) -> None:
    item = Item()
    for system in ("wms", "erp"):
        item.note(system, (5, 1, "first", 10.5, None, None), END_OF_TIME_US)
    folded = -1
    for number, step in enumerate(steps):
        if isinstance(step, int):
            folded = max(folded, item.said_us - step)
            item.forget(folded)
        elif isinstance(step, tuple):
            system, after, kind, quantity = step
            at = max(folded + 1, item.entries[system][-1][0] + after)
            item.note(system, (at, kind, f"e{number}", quantity, 2.0 if kind else None, None), END_OF_TIME_US)
        else:
            item = unpack_item(step(item))
        known = {system: (quantity, item.moved.get(system)) for system, quantity in item.latest.items()}
        assert repr(known) == repr(_in_order(item))  # repr: 0.0 is not -0.0


def _late(count: int, delta: float) -> tuple[Item, list[int]]:
    """An item with a level and `count` adjustments after it, the last one first; how many each summed anew."""
    item, sizes = Item(), []

    def counted(entries: list[Entry]) -> float:
        sizes[-1] += len(entries)
        return plain(entries)

    plain = stock_item.adjusted
    item.note("wms", (0, 1, "level", 100.0, None, None), END_OF_TIME_US)
    with patch.object(stock_item, "adjusted", counted):
        for number in range(count):
            sizes.append(0)
            item.note("wms", (count - number, 0, f"e{number}", delta, None, None), END_OF_TIME_US)
    return item, sizes


def test_a_late_adjustment_of_whole_numbers_leaves_the_others_alone() -> None:
    item, sizes = _late(500, -1.0)
    assert item.latest == {"wms": -400.0}
    assert sizes == [0, 2, *[0] * 498], "the first late one alone is summed with what came before"


@pytest.mark.parametrize("delta", [0.1, 2.0**53])
def test_what_could_be_rounded_is_summed_in_order(delta: float) -> None:
    item, sizes = _late(50, delta)
    assert sizes == [0, *range(2, 51)]
    total = 0.0
    for _ in range(50):
        total += delta
    assert item.latest == {"wms": 100.0 + total}
