"""What the inventory detector keeps of an item's past answers every question as the whole past would."""

from hypothesis import given
from hypothesis import strategies as st

from operators.detectors.inventory import _follow

LAG_US = 10


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3).map(float)), max_size=60))
def test_the_least_and_the_most_of_any_time_back_are_those_of_all_that_was_said(steps: list[tuple[int, float]]) -> None:
    now_us, kept, said = 0, [], []
    for after_us, quantity in steps:
        now_us += after_us
        _follow(kept, now_us, quantity, now_us - LAG_US)
        said.append((now_us, quantity))
        for asked_us in range(now_us, now_us + LAG_US + 2):
            plain = [one for at_us, one in said if at_us > asked_us - LAG_US]
            short = [one for at_us, one in kept if at_us > asked_us - LAG_US]
            assert bool(plain) == bool(short)
            assert not plain or (min(plain), max(plain)) == (min(short), max(short))
        assert kept == sorted(kept, key=lambda one: one[0])


def test_an_item_that_moves_all_the_time_keeps_little() -> None:
    kept: list[tuple[int, float]] = []
    for number in range(10_000):
        _follow(kept, number, float(number * 7919 % 500), number - 5_000)
    assert len(kept) < 40
