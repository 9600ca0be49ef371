"""What detectors say: counts that are judged by scope, and findings about a scope with the orders they touch."""

from typing import TypeAlias

import msgspec

from schemas.rows import Signal

#: A scope as a sorted tuple of (field, value): `(("channel", "web"),)`, `(("node", "s1"), ("sku", "4711"))`.
Scoped: TypeAlias = tuple[tuple[str, str], ...]


#: `Standing.link` of an order that was cancelled.
CANCELLED = -1
#: The metric of a tally that says nothing but where an order now stands (in its impact).
ORDER_MOVED = "order.moved"
#: How many scopes of one field are at hand; beyond, they are made again.
_MOST_SCOPES = 50_000


class Standing(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How far an order is on the way to its promise (operators/promise_path.py), as known at `arrival_us`.

    It is in handoff `link` of the way since `since_us` (event time), in `scope` ("": not known); `link` is the number
    of handoffs where the promise was kept or broken at `since_us`, `CANCELLED` where it holds no longer.
    `dispatch_by_us` is until when the node has to have it out, `expected_us` when the carrier means to deliver it;
    `is_put_off`: the carrier said so after something went wrong.
    """

    arrival_us: int
    link: int
    since_us: int
    scope: str = ""
    dispatch_by_us: int | None = None
    expected_us: int | None = None
    is_put_off: bool = False


class Impact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A case that is touched, and what hangs on it. Money is in `currency`; `units` are of the touched lines.

    `order_id` is empty for cases that are no orders (a purchase order); `refund` is what the customer waits for.
    `standing` is how far the order was when this was said, None where that is not known. `tag` says more to the second
    part than the scope does (an item, a channel, a promotion); what is found carries none.
    """

    order_id: str
    case_id: str = ""
    customer_id: str = ""
    units: float = 0.0
    value: float = 0.0
    margin: float | None = None
    refund: float = 0.0
    currency: str = ""
    promised_us: int | None = None
    standing: Standing | None = None
    tag: str = ""

    @property
    def key(self) -> str:
        """What tells touched cases apart."""
        return self.order_id or self.case_id


class Tally(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """So much of `total` is `bad`, by a `metric` (a detector's own name), in a scope.

    `arrival_us` decides the minute it counts in, `at_us` is when it happened (event time). For a gauge (a queue's
    depth) `bad` is the value and `total` 1. `event_id` shows it; `impact` is what it touches; `region` is where the
    scope lies, as far as it is known.
    """

    metric: str
    scope: Scoped
    arrival_us: int
    at_us: int
    bad: float
    total: float
    event_id: str = ""
    impact: Impact | None = None
    region: str = ""


class ScopeFinding(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A signal about a scope in its present version, with the cases that this version adds.

    `signal.kind` is one of the kinds of incidents: such a finding can open one. `value` is money at risk that is not in
    the impacts (stock: |delta| × unit cost), as it stands, in `currency`.
    """

    signal: Signal
    impacts: list[Impact]
    value: float = 0.0
    currency: str = ""


def scoped(**fields: str) -> Scoped:
    """A scope of the fields that have a value."""
    if len(fields) == 1:
        return tuple(fields.items()) if all(fields.values()) else ()
    return tuple(sorted((name, value) for name, value in fields.items() if value))


class ScopesOf(dict[str, Scoped]):
    """The scopes of one field by its value, each made once: `scoped(node=value)`. Memory: at most `_MOST_SCOPES`."""

    def __init__(self, field: str) -> None:
        super().__init__()
        self._field = field

    def __missing__(self, value: str) -> Scoped:
        """The scope of a value that was not asked for lately."""
        if len(self) >= _MOST_SCOPES:
            self.clear()
        scope = self[value] = ((self._field, value),) if value else ()
        return scope


def bucket_key(scope: Scoped) -> str:
    """What a scope is dealt out to site groups by."""
    return "\x1e".join(f"{name}\x1f{value}" for name, value in scope)
