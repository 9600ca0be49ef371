"""What `andon deliver` knows of itself: its metrics, whether it is alive, whether it is ready.

A receiver that is dead is in the metrics and makes nothing unhealthy: a restart would not mend it, and would hold up
the others.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock

from dataflows.telemetry import Telemetry
from schemas import delivery_metrics
from schemas.durations import SECOND_US
from schemas.incident_rows import Alert
from schemas.metrics import DELIVERY_METRICS
from sinks.webhooks.outbox import Outbox
from sinks.webhooks.verdicts import Verdict
from sinks.webhooks.worker import DeliveryWatch

#: The thread that keeps house; receivers have names of their own, never this one.
KEEPER = ""
OUTBOX, STORE = "outbox", "store"
_STATES = ("new", "retrying", "dead")
_ENDPOINTS = ("closed", "open", "disabled")
_LOOK_EVERY_S = 5.0


class DeliveryTelemetry:
    """A `DeliveryWatch` that keeps metrics, and the process's progress: that of the slowest of its threads.

    Args:
        receivers: the endpoints' names.
        intake: whether alerts come from a database, which has to answer for the process to be ready.
        stalled_after_s: when one of the threads has made no turn for longer, the process is not alive.
        clock: seconds that only grow.
        wall: Unix time.

    Memory: the series of each receiver, of strangers that alerts are routed to among them. Cost: `look` reads what
    waits and what is dead, at most every 5 s.
    """

    def __init__(
        self,
        receivers: Iterable[str],
        *,
        intake: bool,
        stalled_after_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._wall = clock, wall
        self.telemetry = Telemetry(
            clock=clock,
            wall=wall,
            required=(OUTBOX, STORE) if intake else (OUTBOX,),
            stalled_after_s=stalled_after_s,
            reported=DELIVERY_METRICS,
        )
        self._lock = Lock()
        self._receivers = dict.fromkeys(receivers)
        self._threads = frozenset((KEEPER, *self._receivers))
        self._awaited = set(self._threads)
        self._open: set[str] = set()
        self._disabled: set[str] = set()
        self._next_look_s = 0.0
        for receiver in self._receivers:  # so that a rate can be taken of them from the beginning
            for outcome in ("delivered", "dead"):
                self.telemetry.count(delivery_metrics.DELIVERIES, 0, receiver, outcome)
        self.telemetry.set(delivery_metrics.INTAKE_AT, self._wall())

    def turned(self, thread: str) -> None:
        """A thread made a turn; progress is when all of them have."""
        with self._lock:
            self._awaited.discard(thread)
            if self._awaited:
                return
            self._awaited = set(self._threads)
        self.telemetry.beat()

    def attempted(self, alert: Alert, attempt: int, verdict: Verdict, latency_ms: float) -> None:
        """An attempt was made."""
        del attempt
        self.telemetry.count(delivery_metrics.DELIVERY_ATTEMPTS, 1, alert.receiver, verdict.outcome)
        self.telemetry.observe(delivery_metrics.DELIVERY_SECONDS, latency_ms / 1_000, alert.receiver)
        if verdict.outcome == "delivered":
            self.telemetry.count(delivery_metrics.DELIVERIES, 1, alert.receiver, "delivered")
            self.telemetry.observe(
                delivery_metrics.ALERT_DELAY, self._wall() - alert.arrival_us / SECOND_US, alert.receiver
            )

    def given_up(self, alert: Alert, why: str) -> None:
        """An alert went to the dead letters."""
        del why
        self.telemetry.count(delivery_metrics.DELIVERIES, 1, alert.receiver, "dead")

    def disabled(self, receiver: str, why: str) -> None:
        """An endpoint is gone."""
        del why
        with self._lock:
            self._disabled.add(receiver)
        self._tell_endpoint(receiver)

    def endpoint(self, receiver: str, why: str) -> None:
        """The breaker opened or closed."""
        with self._lock:
            (self._open.add if why else self._open.discard)(receiver)
        self._tell_endpoint(receiver)

    def took_in(self, alerts: int) -> None:
        """The database was read to the end, and gave so many alerts."""
        self.telemetry.count(delivery_metrics.INTAKE_ALERTS, alerts)
        self.telemetry.set(delivery_metrics.INTAKE_AT, self._wall())
        self.telemetry.condition(STORE, ok=True)

    def store_away(self, error: Exception) -> None:
        """The database can't be asked."""
        self.telemetry.condition(STORE, ok=False, why=str(error))

    def look(self, outbox: Outbox, now_us: int) -> None:
        """See how the outbox stands, at most every 5 s."""
        now_s = self._clock()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + _LOOK_EVERY_S
        standing, disabled, telemetry = outbox.figures.standing_of_receivers(), set(outbox.disabled()), self.telemetry
        self._receivers |= dict.fromkeys(standing)
        with self._lock:
            self._disabled = disabled
        for receiver in self._receivers:
            counts, oldest_us = standing.get(receiver, ({}, None))
            for state in _STATES:
                telemetry.set(delivery_metrics.OUTBOX_ALERTS, counts.get(state, 0), receiver, state)
            waits_s = 0.0 if oldest_us is None else max(0.0, (now_us - oldest_us) / SECOND_US)
            telemetry.set(delivery_metrics.OUTBOX_OLDEST, waits_s, receiver)
            self._tell_endpoint(receiver)
        telemetry.set(delivery_metrics.OUTBOX_BYTES, outbox.figures.size_bytes())
        telemetry.set(delivery_metrics.OUTBOX_RECORDS, outbox.figures.unrecorded())
        telemetry.condition(OUTBOX, ok=True)

    def _tell_endpoint(self, receiver: str) -> None:
        with self._lock:
            state = "disabled" if receiver in self._disabled else "open" if receiver in self._open else "closed"
            for one in _ENDPOINTS:
                self.telemetry.set(delivery_metrics.ENDPOINT_STATE, one == state, receiver, one)


class Watches:
    """Several `DeliveryWatch`es as one, told in their order."""

    def __init__(self, *watches: DeliveryWatch) -> None:
        self._watches: Sequence[DeliveryWatch] = watches

    def turned(self, thread: str) -> None:
        """As `DeliveryWatch`."""
        for watch in self._watches:
            watch.turned(thread)

    def attempted(self, alert: Alert, attempt: int, verdict: Verdict, latency_ms: float) -> None:
        """As `DeliveryWatch`."""
        for watch in self._watches:
            watch.attempted(alert, attempt, verdict, latency_ms)

    def given_up(self, alert: Alert, why: str) -> None:
        """As `DeliveryWatch`."""
        for watch in self._watches:
            watch.given_up(alert, why)

    def disabled(self, receiver: str, why: str) -> None:
        """As `DeliveryWatch`."""
        for watch in self._watches:
            watch.disabled(receiver, why)

    def endpoint(self, receiver: str, why: str) -> None:
        """As `DeliveryWatch`."""
        for watch in self._watches:
            watch.endpoint(receiver, why)
