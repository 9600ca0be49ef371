"""What the leading system's quantity was of late, against all of its past."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from operators.detectors.inventory import _SAME, Inventory, Told, _follow, _span

LAG_US = 10


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-3, 3), st.booleans())))
def test_the_span_is_that_of_all_quantities_within_the_lag(steps: list[tuple[int, int, bool]]) -> None:
    item, now_us, quantity = Told(), 100, 0.0
    past: list[tuple[int, float]] = []
    for after_us, change, moves in steps:
        now_us += after_us
        if moves:
            _follow(item, now_us, quantity, now_us - LAG_US)
            past.append((now_us, quantity))
            quantity += change
        for lag_us in (LAG_US, LAG_US // 2):  # the next level may be as late as that, or come at once
            lately = [one for at_us, one in past if at_us > now_us - lag_us]
            expected = (min([quantity, *lately]) - _SAME, max([quantity, *lately]) + _SAME)
            assert _span(item, now_us - lag_us, quantity) == expected


@given(st.lists(st.integers(-3, 3), max_size=60))
def test_no_more_is_kept_than_has_moved_within_the_lag(changes: list[int]) -> None:
    item, quantity = Told(), 0.0
    for now_us, change in enumerate(changes):
        _follow(item, now_us, quantity, now_us - LAG_US)
        quantity += change
        assert max(len(item.highs), len(item.lows)) <= LAG_US


def test_a_past_that_was_kept_in_one_list_is_read() -> None:
    """As version 1 kept it: none that lies between two later ones."""
    past = [(91, 9.0), (95, 2.0), (97, 7.0), (99, 4.0)]
    items = {"sku\x1fdc": msgspec.msgpack.encode(["wms", {}, past, 3.5, 0])}
    inventory = Inventory(LAG_US)
    inventory.restore(msgspec.msgpack.encode([1, items]))
    item = inventory._item("sku", "dc")
    assert [_span(item, since_us, 5.0) for since_us in (90, 92, 96, 98, 99)] == [
        (1.5, 9.5),
        (1.5, 7.5),
        (3.5, 7.5),
        (3.5, 5.5),
        (4.5, 5.5),
    ]
    assert item.cost == 3.5
