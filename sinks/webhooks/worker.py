"""One endpoint's deliveries: what to send next, when, and what follows from the answer.

`step` makes at most one attempt and says when to look again; it never sleeps and takes its time from outside, so that
a test drives it with a clock of its own. `work` calls it on a thread until told to stop. One endpoint's trouble is
nobody else's: each has its worker, and a worker sends one request at a time.
"""

import random
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from schemas.durations import SECOND_US, people_duration
from schemas.incident_rows import Alert
from sinks.webhooks.attempts import delivery_of, is_over
from sinks.webhooks.outbox import Outbox, Standing, Waiting
from sinks.webhooks.pauses import Breaker, Schedule
from sinks.webhooks.posting import Post
from sinks.webhooks.request import Receiver, Request
from sinks.webhooks.settings import DeliverySettings
from sinks.webhooks.verdicts import Answer, Verdict, verdict_of

#: How many aged alerts one step gives up, at most.
_SWEPT = 200


class DeliveryWatch(Protocol):
    """Who is told; logs and metrics hang on it."""

    def turned(self, thread: str) -> None:
        """A worker has looked after what it has to do, with or without success; at least every `poll`."""

    def attempted(self, alert: Alert, attempt: int, verdict: Verdict, latency_ms: float) -> None:
        """An attempt was made, and what came of it."""

    def given_up(self, alert: Alert, why: str) -> None:
        """An alert went to the dead letters."""

    def disabled(self, receiver: str, why: str) -> None:
        """An endpoint is gone: nothing is sent there until a person enables it."""

    def endpoint(self, receiver: str, why: str) -> None:
        """The breaker opened, and why; with an empty `why` it closed."""


class Rules(msgspec.Struct, frozen=True):
    """How long things wait and live, microseconds."""

    poll_us: int
    stale_after_us: int
    gap_wait_us: int
    give_up_after_us: int
    retry_after_longest_us: int
    retries: Schedule
    breaker_failures: int
    breaker: Schedule


def rules_of(settings: DeliverySettings) -> Rules:
    """As settings say."""
    return Rules(
        poll_us=settings.poll,
        stale_after_us=settings.stale_after,
        gap_wait_us=settings.gap_wait,
        give_up_after_us=settings.give_up_after,
        retry_after_longest_us=settings.retry_after_longest,
        retries=Schedule(settings.retry_first, settings.retry_longest),
        breaker_failures=settings.breaker_failures,
        breaker=Schedule(settings.breaker_pause, settings.breaker_longest),
    )


class Worker:
    """See the module.

    Args:
        name: the receiver's name in alerts.
        receiver: makes requests.
        post: sends them; never raises for the other side's doing.
        outbox: where alerts wait.
        rules: times.
        now_us: the wall clock.
        monotonic_s: seconds that only grow, for latencies.
        jitter: draws pauses.
        watch: who is told.
    """

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        post: Post,
        outbox: Outbox,
        rules: Rules,
        *,
        now_us: Callable[[], int],
        monotonic_s: Callable[[], float],
        jitter: random.Random,
        watch: DeliveryWatch,
    ) -> None:
        self.name = name
        self._receiver, self._post, self._outbox, self._rules = receiver, post, outbox, rules
        self._now_us, self._monotonic_s, self._jitter, self._watch = now_us, monotonic_s, jitter, watch
        self._breaker = Breaker(rules.breaker_failures, rules.breaker)
        #: Nothing is put off for longer.
        self._longest_us = max(
            rules.gap_wait_us,
            rules.retry_after_longest_us,
            rules.retries.longest_us,
            rules.breaker.longest_us,
            receiver.resend_us,
        )

    def work(self, stop: threading.Event, woken: threading.Event) -> None:
        """Deliver until `stop`; `woken` says that something new may wait."""
        while not stop.is_set():
            next_us = self.step()
            self._watch.turned(self.name)
            now_us = self._now_us()
            if next_us > now_us:
                woken.wait(min(next_us - now_us, self._rules.poll_us) / SECOND_US)
                woken.clear()

    def step(self) -> int:
        """Do what is due, one attempt at most; when to look again (now or before: at once)."""
        now_us = self._now_us()
        if self.name in self._outbox.disabled():
            self._give_up_aged(now_us, "the endpoint is disabled")
            return now_us + self._rules.poll_us
        free_us = self._breaker.free_at_us()
        if not self._is_due(free_us, now_us):
            return free_us
        self._breaker.release()
        waiting, standing = self._outbox.first(self.name), self._outbox.next_standing(self.name)
        waiting_us = None if waiting is None else waiting.next_at_us
        standing_us = None if standing is None else standing.resend_at_us
        if waiting is not None and self._is_due(waiting.next_at_us, now_us):
            self._deliver(waiting, now_us)
        elif standing is not None and self._is_due(standing.resend_at_us, now_us):
            self._say_again(standing, now_us)
        else:
            return min(
                (one for one in (waiting_us, standing_us) if one is not None), default=now_us + self._rules.poll_us
            )
        return now_us

    def _is_due(self, at_us: int, now_us: int) -> bool:
        """Whether its time has come; one further away than anything is put off is of a clock put back since."""
        return not now_us < at_us <= now_us + self._longest_us

    # --- one alert ----------------------------------------------------------------------------------------------------

    def _deliver(self, waiting: Waiting, now_us: int) -> None:
        alert, told = waiting.alert, self._outbox.told(waiting.alert)
        age_us = waiting.put_at_us - alert.sent_at_us
        ends_what_was_told = is_over(alert) and told.is_open
        fresh = waiting.attempts or waiting.replayed or ends_what_was_told
        if not fresh and age_us > self._rules.stale_after_us:
            self._drop(waiting, f"it was {people_duration(age_us)} old when it came (stale_after)", now_us)
            return
        if (alert.sent_at_us, alert.sequence) < (told.delivered_at_us, told.delivered_sequence):
            self._drop(
                waiting, f"a later one of its group was delivered before (number {told.delivered_sequence})", now_us
            )
            return
        missing = alert.sequence > 1 and told.settled_sequence != alert.sequence - 1
        waited_us = now_us - waiting.put_at_us
        if missing and not waiting.replayed and 0 <= waited_us < self._rules.gap_wait_us:
            self._outbox.postpone(alert, waiting.put_at_us + self._rules.gap_wait_us)
            return
        # Of what it was not told, or told to be over, it knows no change: an update may be a note to what is closed.
        new = alert.action == "update" and not told.is_open
        said = msgspec.structs.replace(alert, action="trigger") if new else alert
        try:
            request = self._receiver.request(said, now_us, told.standing)
        except ValueError as error:
            self._drop(waiting, str(error), now_us, outcome="rejected")
            return
        attempt = self._outbox.begin(alert, now_us)
        answer, latency_ms = self._posted(request)
        self._settle(waiting, attempt, answer, latency_ms, now_us)

    def _posted(self, request: Request) -> tuple[Answer, float]:
        began_s = self._monotonic_s()
        answer = self._post(request)
        return answer, (self._monotonic_s() - began_s) * 1_000

    def _settle(self, waiting: Waiting, attempt: int, answer: Answer, latency_ms: float, began_us: int) -> None:
        """Note what came of an attempt, and what follows."""
        alert, now_us = waiting.alert, self._now_us()
        verdict = verdict_of(answer, now_us, self._rules.retry_after_longest_us)
        over = verdict.outcome == "retrying" and now_us - waiting.put_at_us >= self._rules.give_up_after_us
        delivery = delivery_of(
            alert,
            attempt,
            "dead" if over else verdict.outcome,
            verdict.detail,
            began_us,
            http_status=answer.status,
            latency_ms=latency_ms,
        )
        self._watch.attempted(alert, attempt, verdict, latency_ms)
        if verdict.outcome == "delivered":
            self._outbox.delivered(alert, delivery, now_us, self._resend_at_us(alert, now_us))
        elif verdict.outcome == "rejected" or over:
            self._outbox.give_up(alert, delivery, now_us)
            self._watch.given_up(alert, verdict.detail)
        elif verdict.outcome == "disabled":
            self._outbox.disable(self.name, verdict.detail, now_us)
            self._outbox.retry(delivery, now_us)
            self._watch.disabled(self.name, verdict.detail)
        else:
            pause_us = self._rules.retries.pause_us(waiting.failures + 1, self._jitter)
            self._outbox.retry(delivery, max(now_us + pause_us, verdict.not_before_us or 0))
        self._judge(verdict, now_us)

    def _judge(self, verdict: Verdict, now_us: int) -> None:
        """What the answer says of the endpoint itself."""
        if verdict.not_before_us is not None:
            self._breaker.hold(verdict.not_before_us)
        if verdict.outcome == "retrying":
            was_open = self._breaker.is_open
            self._breaker.failed(now_us, self._jitter)
            if self._breaker.is_open and not was_open:
                self._watch.endpoint(self.name, verdict.detail)
            self._give_up_aged(now_us, f"not delivered in time: {verdict.detail}")
        elif self._breaker.answered():
            self._watch.endpoint(self.name, "")

    def _drop(self, waiting: Waiting, why: str, now_us: int, outcome: str = "dead") -> None:
        """Give an alert up without an attempt."""
        alert = waiting.alert
        self._outbox.give_up(alert, delivery_of(alert, 0, outcome, why, now_us), now_us)
        self._watch.given_up(alert, why)

    def _give_up_aged(self, now_us: int, why: str) -> None:
        """Give up what has waited too long for an endpoint that takes nothing."""
        for waiting in self._outbox.aged(self.name, now_us - self._rules.give_up_after_us, _SWEPT):
            self._drop(waiting, why, now_us)

    # --- what has to be said again ------------------------------------------------------------------------------------

    def _resend_at_us(self, alert: Alert, now_us: int) -> int | None:
        return None if is_over(alert) or not self._receiver.resend_us else now_us + self._receiver.resend_us

    def _say_again(self, standing: Standing, now_us: int) -> None:
        """Tell the receiver that what it holds still holds: no delivery, so no record; the breaker hears of it."""
        if not self._receiver.resend_us:  # the receiver was of another kind when it was told
            self._outbox.resent(standing.alert, self._now_us(), None, 0)
            return
        answer, _ = self._posted(self._receiver.request(standing.alert, now_us, standing.alert))
        after_us = self._now_us()
        verdict = verdict_of(answer, after_us, self._rules.retry_after_longest_us)
        if verdict.outcome == "retrying":
            pause_us = min(self._rules.retries.pause_us(standing.failures + 1, self._jitter), self._receiver.resend_us)
            self._outbox.resent(standing.alert, after_us, after_us + pause_us, standing.failures + 1)
        else:  # what was taken once and is refused now holds all the same: whatever refuses it may be mended by then
            self._outbox.resent(standing.alert, after_us, after_us + self._receiver.resend_us, 0)
        if verdict.outcome == "disabled":
            self._outbox.disable(self.name, verdict.detail, after_us)
            self._watch.disabled(self.name, verdict.detail)
        self._judge(verdict, after_us)
