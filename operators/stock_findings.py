"""What is said of an item's stock: its signals and late events, in words an operations lead understands."""

from collections.abc import Sequence
from functools import lru_cache

from operators.findings import next_version, signal_id
from operators.stock_item import Item
from schemas.durations import SECOND_US, people_duration, people_time, rfc3339
from schemas.events import (
    Arrived,
    InventoryAdjusted,
    InventoryLevel,
    PoCreated,
    ReservationConsumed,
    ReservationCreated,
    ReservationRejected,
    ReservationReleased,
    type_name,
)
from schemas.rows import LateEvent, Signal

DETECTOR = "stock_reconciler"
STAGE = "stock_windows"
#: The events that are about one item.
OF_AN_ITEM = (
    InventoryLevel,
    InventoryAdjusted,
    ReservationCreated,
    ReservationReleased,
    ReservationRejected,
    ReservationConsumed,
)
_settle_words = lru_cache(people_duration)
#: Of a second: findings that close come in crowds.
_second_words = lru_cache(256)(people_time)


def stock_signal(
    kind: str,
    names: tuple[str, str],
    item: Item,
    opened: tuple[int, float],
    now: int,
    *,
    margins: str,
    settle_us: int,
    closed: bool,
) -> Signal:
    """The signal of a `stock_delta` or `negative_atp`; `opened` says since when (arrival) and how much it was then."""
    sku, node = names
    quantities = item.latest
    stock = ", ".join([f"{system} {quantity:g}" for system, quantity in quantities.items()])
    settle = _settle_words(settle_us)
    since, first = opened
    if kind == "stock_delta":
        expected = f"a difference of at most {margins}"
        said = f"{sku} at {node}: the systems differ by {first:g} units for more than {settle}"
        severity = "medium"
    else:
        expected = "available to promise of at least 0"
        said = f"{sku} at {node}: {-first:g} units more are promised than there are, for more than {settle}"
        severity = "high"
    now_said = (
        f"{said}; settled at {_second_words(now - now % SECOND_US)} ({stock})." if closed else f"{said} ({stock})."
    )
    return Signal(
        signal_id=signal_id(DETECTOR, kind, sku, node, str(since)),
        detector=DETECTOR,
        kind=kind,
        handoff="",
        scope={"sku": sku, "node": node},
        case_id="",
        opened_at_us=since,
        found_at_us=since + settle_us,
        closed_at_us=now if closed else None,
        severity=severity,
        score=_score(kind, first, quantities),
        confidence=1.0,
        expected=expected,
        observed=stock if kind == "stock_delta" else f"{first:g} ({stock})",
        method="rule",
        explanation=now_said,
        evidence=_evidence(item),
        arrival_us=now,
        version=next_version(0, now),
    )


def _score(kind: str, size: float, quantities: dict[str, float]) -> float:
    """How much of the item's stock the finding concerns, 0 to 1."""
    if kind == "negative_atp":
        return 1.0
    largest = max(map(abs, quantities.values()), default=0.0)
    return min(1.0, abs(size) / largest) if largest else 1.0


def _evidence(item: Item) -> list[str]:
    """The last event of each system."""
    return [entries[-1][2] for entries in item.entries.values()]


def late_stock_row(arrived: Arrived, window_start_us: int) -> LateEvent:
    """The record of an event that came too late for windows of one item; the last of them begins at `window_start_us`.

    Of a level or an adjustment that is the last that holds it, of a reservation the last in which it would have
    counted.
    """
    event = arrived.event
    assert isinstance(event, OF_AN_ITEM)
    if isinstance(event, InventoryLevel):
        what = f"on_hand {event.on_hand:g} of {event.system}"
    elif isinstance(event, InventoryAdjusted):
        what = f"on_hand {event.delta:+g} of {event.system}"
    elif isinstance(event, ReservationCreated):
        what = f"reserved {event.qty:+g}"
    else:
        what = f"reserved {-event.qty:+g}"
    return _late_row(arrived, window_start_us, f"{event.sku} at {event.node}", what)


def late_order_row(arrived: Arrived, window_start_us: int, skus: Sequence[str]) -> LateEvent:
    """The record of a purchase order that came too late for windows in which these items were expected."""
    event = arrived.event
    assert isinstance(event, PoCreated)
    return _late_row(arrived, window_start_us, f"{', '.join(skus)} at {event.node}", f"expected by {event.po_id}")


def _late_row(arrived: Arrived, window_start_us: int, items: str, what: str) -> LateEvent:
    event = arrived.event
    return LateEvent(
        topic=arrived.topic,
        partition=arrived.partition,
        offset=arrived.offset,
        stage=STAGE,
        type=type_name(event),
        source=event.source,
        event_id=event.event_id,
        occurred_at_us=arrived.occurred_us,
        window_start_us=window_start_us,
        effect=f"{items}, window from {rfc3339(window_start_us)}: {what}",
        seen_at_us=arrived.arrival_us,
    )
