"""A worker under a clock of the test's own: what it sends, when, and nothing else."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.incident_rows import Alert, AlertDelivery
from sinks.webhooks.outbox import Outbox
from sinks.webhooks.receivers.parts import Parts
from sinks.webhooks.receivers.standard import StandardWebhook
from sinks.webhooks.request import Receiver, Request
from sinks.webhooks.settings import DeliverySettings
from sinks.webhooks.verdicts import Answer, Verdict
from sinks.webhooks.worker import Worker, rules_of
from tests.webhook_alerts import NOON_US

SECOND = 1_000_000
#: What an endpoint says: a status, a whole answer, or what makes one of the time.
Said = int | Answer | Callable[[float], Answer]


class Told:
    """A `DeliveryWatch` that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def turned(self, thread: str) -> None:
        pass

    def attempted(self, alert: Alert, attempt: int, verdict: Verdict, latency_ms: float) -> None:
        del latency_ms
        self.lines.append(f"{alert.sequence}/{attempt} {verdict.outcome}")

    def given_up(self, alert: Alert, why: str) -> None:
        self.lines.append(f"{alert.sequence} given up: {why}")

    def disabled(self, receiver: str, why: str) -> None:
        self.lines.append(f"{receiver} disabled: {why}")

    def endpoint(self, receiver: str, why: str) -> None:
        self.lines.append(f"{receiver} {'open: ' + why if why else 'closed'}")


class Bench:
    """One worker for the receiver `ops`. Seconds are counted from noon."""

    def __init__(
        self,
        folder: Path,
        *says: Said,
        always: Said = 200,
        settings: DeliverySettings | None = None,
        receiver: Receiver | None = None,
        takes_s: float = 0.0,
        seed: int = 7,
    ) -> None:
        self.now_us = NOON_US
        self.outbox = Outbox(folder / "outbox.db")
        self.told = Told()
        self.sent: list[tuple[float, Request]] = []
        self._says, self._always, self._takes_us = list(says), always, round(takes_s * SECOND)
        self.settings = settings or DeliverySettings()
        self.worker = Worker(
            "ops",
            receiver or StandardWebhook(Parts(signing=(b"k" * 32,))),
            self._post,
            self.outbox,
            rules_of(self.settings),
            now_us=lambda: self.now_us,
            monotonic_s=lambda: self.now_us / SECOND,
            jitter=random.Random(seed),
            watch=self.told,
        )

    @property
    def at_s(self) -> float:
        return (self.now_us - NOON_US) / SECOND

    @property
    def keys(self) -> list[str]:
        """The last part of the idempotency keys, in the order sent."""
        return [request.headers["Idempotency-Key"].rpartition(":")[2] for _, request in self.sent]

    @property
    def times(self) -> list[float]:
        return [at_s for at_s, _ in self.sent]

    def put(self, *alerts: Alert) -> None:
        self.outbox.put(alerts, self.now_us)

    def say(self, *says: Said, always: Said = 200) -> None:
        self._says, self._always = list(says), always

    def run(self, until_s: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Let time pass, doing what is due when it is due."""
        until_us = NOON_US + round(until_s * SECOND)
        while self.now_us < until_us:
            next_us = self.worker.step()
            meanwhile()
            if next_us > self.now_us:
                self.now_us = min(next_us, until_us, self.now_us + self.settings.poll)

    def records(self) -> Sequence[AlertDelivery]:
        return self.outbox.records(10_000)[1]

    def _post(self, request: Request) -> Answer:
        self.sent.append((self.at_s, request))
        self.now_us += self._takes_us
        says = self._says.pop(0) if self._says else self._always
        if isinstance(says, int):
            return Answer(says)
        return says if isinstance(says, Answer) else says(self.at_s)
