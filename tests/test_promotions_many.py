"""Very many promotions at once: what one costs, and what is kept of how many."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import TypeAlias

import msgspec

from operators.detectors.cover_state import CoverRule, SkuState
from operators.detectors.events import CELL_US
from operators.detectors.readiness import ItemReady, PromotionAsked
from operators.detectors.records import Impact
from operators.detectors.scopes import Cell
from operators.promotions import Promotions
from schemas.durations import DAY_US, HOUR_US
from schemas.rows import PromotionReadiness
from tests.harness import START_US

TraceFunction: TypeAlias = Callable[[FrameType, str, object], "TraceFunction"]


def asked_about(promotions: Promotions, number: int, at_us: int) -> list[PromotionReadiness]:
    """Promotion `number` is asked about, of one item."""
    asked = PromotionAsked(f"p{number}", "", at_us, at_us, 1)
    promotions.push([asked], [ItemReady(f"p{number}", "a", at_us, 4.0, 1.0, 0.0, None, is_short=True)])
    return promotions.advance(at_us + 1)


def test_a_row_costs_the_same_however_many_promotions_have_one() -> None:
    def steps(known: int) -> int:
        """Lines of code for one more, and for one that has a row."""
        promotions = Promotions()
        for number in range(known):
            asked_about(promotions, number, START_US)
        taken = 0

        def count(_frame: FrameType, event: str, _arg: object) -> TraceFunction:
            nonlocal taken
            taken += event == "line"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            rows = [*asked_about(promotions, known, START_US + 1), *asked_about(promotions, 0, START_US + 2)]
        finally:
            sys.settrace(before)
        assert [row.score for row in rows] == [25.0, 25.0]
        return taken

    assert steps(2_000) == steps(2)


def test_rows_are_known_for_two_days_after_they_were_last_made_also_when_resumed() -> None:
    promotions = Promotions()
    for number in range(3):
        asked_about(promotions, number, START_US + number)
    asked_about(promotions, 0, START_US + HOUR_US)
    before = msgspec.structs.replace(promotions.snapshot(), last=dict(sorted(promotions.snapshot().last.items())))
    resumed = Promotions()
    resumed.restore(before)  # in the order of before
    for one in (promotions, resumed):
        asked_about(one, 3, START_US + 2 * DAY_US + HOUR_US - 1)
        assert list(one.snapshot().last) == ["p0", "p3"]
        asked_about(one, 3, START_US + 2 * DAY_US + HOUR_US)
        assert list(one.snapshot().last) == ["p3"]


def test_of_an_item_in_very_many_promotions_the_latest_are_known() -> None:
    state, rule = SkuState(), CoverRule()
    members = [(number, number, f"e{number}", Impact("", tag=f"p{number}", units=1.0)) for number in range(250)]
    state.take_demand({"promotion": Cell(members=members)}, CELL_US, rule)
    assert list(state.promotions) == [f"p{number}" for number in range(150, 250)]
    assert state.promotion == "p249"
