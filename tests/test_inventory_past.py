"""What the inventory detector keeps of an item's past answers every question as the whole past would."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from operators.detectors.inventory import _SAME, Inventory, Told, _follow, _span

LAG_US = 10


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3).map(float)), max_size=60))
def test_the_least_and_the_most_of_any_time_back_are_those_of_all_that_was_said(steps: list[tuple[int, float]]) -> None:
    now_us, item, said = 100, Told(), list[tuple[int, float]]()
    for after_us, quantity in steps:
        now_us += after_us
        _follow(item, now_us, quantity, now_us - LAG_US)
        said.append((now_us, quantity))
        for asked_us in range(now_us, now_us + LAG_US + 2):
            plain = [1.0, *(one for at_us, one in said if at_us > asked_us - LAG_US)]
            assert _span(item, asked_us - LAG_US, 1.0) == (min(plain) - _SAME, max(plain) + _SAME)
        assert max(len(item.highs), len(item.lows)) <= len([at_us for at_us, _ in said if at_us > now_us - LAG_US])


def test_an_item_that_moves_both_ways_all_the_time_keeps_little() -> None:
    item = Told()
    for number in range(10_000):
        _follow(item, number, float(number * 7919 % 500), number - 5_000)
    assert len(item.highs) + len(item.lows) < 40


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
