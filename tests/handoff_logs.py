"""Logs about cases, as the tests of the straight ways of handoffs and of their windows take them."""

from collections.abc import Sequence

import msgspec
from hypothesis import HealthCheck, settings

from operators.findings import PassChange
from operators.handoff_changes import PassChanges
from schemas.events import Arrived, Event
from tests.harness import START_US
from tests.shop import Said

COMMON = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
Batch = list[Arrived]


def arrivals(events: list[Said], stretch: int = 1) -> Batch:
    """Events in the order of a log; `stretch` times further apart, so that cases end and are dropped in between."""
    in_order = sorted(events, key=lambda one: (one.arrival_us, one.number))
    return [
        Arrived(
            START_US + (one.arrival_us - START_US) * stretch,
            "log",
            0,
            place,
            one.occurred_us,
            msgspec.convert(one.body(), Event),
        )
        for place, one in enumerate(in_order)
    ]


class AsRecords(PassChanges):
    """Changes of which none is in columns."""

    def add(self, change: PassChange) -> None:
        self.add_odd(change)


def encoded(outputs: Sequence[object]) -> list[bytes]:
    return sorted(type(one).__name__.encode() + msgspec.msgpack.encode(one) for one in outputs)
