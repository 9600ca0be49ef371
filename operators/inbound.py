"""What one purchase order is to bring of one item, and when that counts as on its way."""

import msgspec


class Expected(msgspec.Struct, array_like=True):
    """Goods on order (event times; None where not known yet).

    They are awaited from when the order was placed until the first receipt that names it: a receipt is said by every
    system that books it, so what a second one says is no second delivery, and what a partial one leaves open is no
    longer promised.
    """

    qty: float = 0.0
    due_us: int = 0
    said_us: int | None = None
    received_us: int | None = None

    def say(self, said_us: int, due_us: int, qty: float) -> None:
        """It was ordered; the earliest time said of it counts, of two at that time the lesser quantity."""
        if self.said_us is None or (said_us, qty) < (self.said_us, self.qty):
            self.said_us, self.due_us, self.qty = said_us, due_us, qty

    def receive(self, received_us: int) -> None:
        """It came; the earliest time said of it counts."""
        if self.received_us is None or received_us < self.received_us:
            self.received_us = received_us

    def awaited_at(self, instant_us: int) -> bool:
        """Whether it is on its way at `instant_us`."""
        if self.said_us is None or self.said_us > instant_us:
            return False
        return self.received_us is None or self.received_us > instant_us

    @property
    def last_us(self) -> int:
        """After when it counts for nothing any more."""
        if self.received_us is None:
            return self.due_us
        return self.received_us if self.said_us is None else min(self.due_us, self.received_us)
