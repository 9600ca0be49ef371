"""The deterministic rule that judges while a model can't: over its limit for some points in a row, with hysteresis."""

#: So many points in a row must be beyond the limit, and it is over once a point is back by this share of the limit.
POINTS = 3
BACK = 0.1


class LimitRule:
    """A limit on the bad side of one series.

    Alarms once when `POINTS` points in a row are beyond, and not again before one was clearly back.

    Memory: two numbers.
    """

    __slots__ = ("beyond", "is_over")

    def __init__(self) -> None:
        self.beyond = 0
        self.is_over = False

    def judge(self, value: float, limit: float, *, below: bool) -> bool:
        """Whether this point makes it an alarm; `below` where values under the limit are the bad ones."""
        excess = limit - value if below else value - limit
        if excess > 0.0:
            self.beyond += 1
            if self.beyond >= POINTS and not self.is_over:
                self.is_over = True
                return True
            return False
        self.beyond = 0
        if excess <= -BACK * abs(limit):
            self.is_over = False
        return False
