"""Breakdowns that hit cases which are not orders of the log: returns of earlier orders, purchase orders."""

import msgspec

from scenarios.breakdowns.breakdown import Breakdown


class CaseBreakdown(Breakdown):
    """A breakdown whose truth names cases; an order that a case is about is named with it."""

    def __init__(self, breakdown_id: str, begin_us: int, end_us: int, parameters: msgspec.Struct) -> None:
        super().__init__(breakdown_id, begin_us, end_us, parameters)
        self._cases: dict[str, int] = {}

    def touch_case(self, case_id: str, cents: int, effect: str, until_us: int, order_id: str = "") -> None:
        """A case worth `cents` really suffered `effect`, until then at least; it may be about an earlier order."""
        self.effects[effect] += 1
        self.effects_until_us = max(self.effects_until_us, until_us)
        self._cases[case_id] = cents
        if order_id:
            self._lines.setdefault(order_id, {})

    def cases(self) -> list[str]:
        """The cases that suffered."""
        return list(self._cases)

    def value_cents(self) -> int:
        """What the cases are worth."""
        return sum(self._cases.values())
