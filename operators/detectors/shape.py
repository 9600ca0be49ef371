"""The shape of an order's payload: which of the optional fields it carries; and which shapes a channel is used to."""

from operator import attrgetter

import msgspec

from schemas.events import OrderCreated

#: What an order may carry, in the order of the bits of a shape. A field of lines counts when all lines have it.
FIELDS = (
    "customer_id",
    "currency",
    "promised_at",
    "lines",
    "unit_price",
    "total",
    "dispatch_by",
    "idempotency_key",
    "unit_cost",
)
_BITS = {name: 1 << index for index, name in enumerate(FIELDS)}
_OF_LINE = (_BITS["unit_price"], _BITS["unit_cost"])
_OF_ORDER = tuple(bit for bit in _BITS.values() if bit not in _OF_LINE)
_fields_of_order = attrgetter(*(name for name, bit in _BITS.items() if bit in _OF_ORDER))
#: A channel's own orders count alone from `learn_from` on; its first so many count beside all channels' orders.
_SOME = 30
#: A shape of which no more than this share of the orders are is a rare one.
_RARE = 0.005
#: What is carried by less than this share of a channel's orders stops being required there.
_DROPPED = 0.8


def shape_of(event: OrderCreated) -> int:
    """One bit for each of `FIELDS` that the order carries. An order without lines is said to lack only the lines."""
    priced, costed = _OF_LINE
    for line in event.lines:
        if line.unit_price is None:
            priced = 0
        if line.unit_cost is None:
            costed = 0
    shape = priced | costed
    for bit, value in zip(_OF_ORDER, _fields_of_order(event), strict=True):
        if value:
            shape |= bit
    return shape


def names_of(shape: int) -> list[str]:
    """The fields of a shape."""
    return [name for name, bit in _BITS.items() if shape & bit] if shape else []


class Shapes(msgspec.Struct, array_like=True):
    """What one channel (or all of them together) is used to.

    `counts` are of orders by shape, up to the last time they were folded in, halved each time; `fresh` those since.
    `required` and `common` (shapes that are not rare) are what follows from `counts`; they change only when `fresh` is
    folded in, so that what breaks now does not become usual while it is judged. `first` is what every one of the first
    orders carried (None before there were enough), which later ones don't change for the same reason.
    """

    counts: dict[int, float] = {}
    fresh: dict[int, float] = {}
    folded_us: int = 0
    required: int = 0
    common: list[int] = []
    first: int | None = None

    def add(self, shape: int) -> None:
        """Count an order."""
        self.fresh[shape] = self.fresh.get(shape, 0.0) + 1.0
        if self.first is None and sum(self.fresh.values()) >= _SOME:
            self.first = shape
            for one in self.fresh:
                self.first &= one

    @property
    def known(self) -> float:
        """Of how many orders it is known."""
        return sum(self.counts.values())

    def fold(self, now_us: int, carried: float, whole_required: int = 0) -> None:
        """Take over what came since the last time.

        The first time, what was required until then (`whole_required` is what all channels' orders carry) stays so,
        whatever share carries it: what broke between a channel's first orders and now is being judged.
        """
        held = 0 if self.folded_us or self.first is None else self.first & whole_required
        self.counts = {shape: count / 2 for shape, count in self.counts.items() if count >= 1.0}
        for shape, count in self.fresh.items():
            self.counts[shape] = self.counts.get(shape, 0.0) + count
        self.fresh, self.folded_us = {}, now_us
        total = self.known
        required = held
        for bit in _BITS.values():
            share = sum(count for shape, count in self.counts.items() if shape & bit) / total
            if share >= carried or (share >= _DROPPED and self.required & bit):
                required |= bit
        self.required = required
        self.common = sorted(shape for shape, count in self.counts.items() if count > _RARE * total)

    def due(self, now_us: int, learn_from: int, every_us: int) -> bool:
        """Whether it is time to fold: when enough has come for the first time, and then every so often."""
        if not self.folded_us:
            return sum(self.fresh.values()) >= learn_from
        return now_us - self.folded_us >= every_us and bool(self.fresh)


def missing_of(shape: int, own: Shapes, whole: Shapes) -> int:
    """What a channel's order lacks of what is usual, as bits; 0 while too little is known.

    Required is what the channel's orders have carried; before enough of them came, what all channels' orders carry and
    every one of the first of this channel did. A shape that is rare, and lacks what is in all common ones, is short of
    that.
    """
    if own.folded_us:
        missing = own.required & ~shape
        if not missing and own.common and shape not in own.common:
            always = own.common[0]
            for one in own.common[1:]:
                always &= one
            missing = always & ~shape
        return missing
    if not whole.folded_us or own.first is None:
        return 0
    return own.first & whole.required & ~shape
