"""`andon deliver`: the process between the alerts in ClickHouse and their receivers.

Each endpoint has a thread that sends; one keeps house: it takes alerts in and writes attempts back. A database that is
away stops neither what is in the outbox from being delivered, nor the record of it: that is written when it is back.
"""

import fcntl
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from dataflows.delivery_log import DeliveryLog
from dataflows.delivery_telemetry import KEEPER, DeliveryTelemetry, Watches
from dataflows.observe import serve
from schemas.durations import HOUR_US
from schemas.errors import SettingsError, StateError, StoreUnavailable
from schemas.problems import Problem
from sinks.clickhouse.dsn import Embedded, parse_dsn, read_password
from sinks.clickhouse.migrate import require_current
from sinks.clickhouse.store import Store, open_store
from sinks.webhooks.attempts import delivery_of
from sinks.webhooks.intake import ship, take_in
from sinks.webhooks.lint import find_problems
from sinks.webhooks.outbox import Outbox
from sinks.webhooks.posting import Poster, Timeouts
from sinks.webhooks.receivers.choice import Endpoint, endpoint_of
from sinks.webhooks.settings import DeliverySettings
from sinks.webhooks.worker import DeliveryWatch, Worker, rules_of

_STORE_PAUSE_S, _STORE_LONGEST_S = 1.0, 30.0
_STRANGERS = 500
_SLICE_S = 0.1


class _Stop:
    """A stop that was asked for. A plain flag: a handler of signals must not take a lock that the thread may hold."""

    requested = False


class _Intake:
    """The way to and from the database, over a connection that is made anew when it fails."""

    def __init__(
        self,
        settings: DeliverySettings,
        dsn: str,
        password: str | None,
        log: DeliveryLog,
        telemetry: DeliveryTelemetry,
    ) -> None:
        self._settings, self._target, self._password = settings, parse_dsn(dsn), password
        self._log, self._telemetry = log, telemetry
        self._store: Store | None = None
        self._away_since_s: float | None = None
        self._next_s, self._pause_s = 0.0, _STORE_PAUSE_S

    def exchange(self, outbox: Outbox, now_us: int) -> int:
        """Take in what is new, write back what was done; gives how many alerts came. A pause after each failure."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return 0
        try:
            if self._store is None:
                self._store = open_store(
                    self._target, password=self._password, connect_timeout_s=5, answer_timeout_s=20
                )
                require_current(self._store)
            settings = self._settings
            taken = take_in(self._store, outbox, now_us, overlap_us=settings.overlap, first_us=settings.stale_after)
            ship(self._store, outbox)
        except StoreUnavailable as error:
            self.close()
            if self._away_since_s is None:
                self._away_since_s = now_s
            self._log.store_away(error)
            self._telemetry.store_away(error)
            self._next_s, self._pause_s = now_s + self._pause_s, min(self._pause_s * 2, _STORE_LONGEST_S)
            return 0
        if self._away_since_s is not None:
            self._log.store_back(now_s - self._away_since_s)
        self._away_since_s, self._next_s, self._pause_s = None, 0.0, _STORE_PAUSE_S
        self._telemetry.took_in(taken)
        return taken

    def close(self) -> None:
        """Let go of the connection."""
        if self._store is not None:
            self._store.close()
            self._store = None


class _Keeper:
    """Keeps house beside the endpoints' workers: alerts in, records back, nobody's alerts and old ones away."""

    name = "keeper"

    def __init__(
        self,
        outbox: Outbox,
        intake: _Intake | None,
        settings: DeliverySettings,
        telemetry: DeliveryTelemetry,
        watch: DeliveryWatch,
        wake: Callable[[], None],
    ) -> None:
        self._outbox, self._intake, self._settings, self._wake = outbox, intake, settings, wake
        self._telemetry, self._watch = telemetry, watch
        self._known = {receiver.name for receiver in settings.receiver}
        self._forgot_us = 0

    def work(self, stop: threading.Event, woken: threading.Event) -> None:
        """Keep house until `stop`."""
        while not stop.is_set():
            self.turn()
            woken.wait(self._settings.poll.seconds)
            woken.clear()

    def turn(self) -> None:
        """Do all of it once."""
        now_us = _now_us()
        if self._intake is not None and self._intake.exchange(self._outbox, now_us):
            self._wake()
        self._turn_away(now_us)
        if now_us >= self._forgot_us + HOUR_US:
            self._outbox.forget(now_us - self._settings.keep)
            self._forgot_us = now_us
        self._telemetry.look(self._outbox, now_us)
        self._watch.turned(KEEPER)

    def _turn_away(self, now_us: int) -> None:
        """Alerts to receivers that the settings don't have go to the dead letters, from where they can be replayed."""
        for receiver in self._outbox.figures.waited_for():
            if receiver in self._known:
                continue
            why = f"the settings have no [[delivery.receiver]] named {receiver!r}"
            for waiting in self._outbox.aged(receiver, now_us + 1, _STRANGERS):
                self._outbox.give_up(waiting.alert, delivery_of(waiting.alert, 0, "dead", why, now_us), now_us)
                self._watch.given_up(waiting.alert, why)


class _Threads:
    """A thread each for the workers and the keeper. What one of them raises (a full disk, a fault of ours) ends all."""

    def __init__(self) -> None:
        self.failed = threading.Event()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._woken: list[threading.Event] = []
        self._threads: list[threading.Thread] = []

    def start(self, workers: Sequence[Worker | _Keeper]) -> None:
        """Let them work."""
        for worker in workers:
            woken = threading.Event()
            self._woken.append(woken)
            name = f"deliver-{worker.name}"
            self._threads.append(threading.Thread(target=self._work, args=(worker, woken), name=name, daemon=True))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something new may wait."""
        for woken in self._woken:
            woken.set()

    def end(self, within_s: float) -> bool:
        """Stop after what is under way; False where something still is after `within_s`."""
        self._stop.set()
        self.wake()
        ends_s = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, ends_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def check(self) -> None:
        """Raise what a thread raised."""
        if self._error is not None:
            raise self._error

    def _work(self, worker: Worker | _Keeper, woken: threading.Event) -> None:
        try:
            worker.work(self._stop, woken)
        except BaseException as error:  # noqa: BLE001 - raised again by check(), on the thread that can end the process
            self._error = error
            self.failed.set()


def endpoints_of(settings: DeliverySettings) -> list[Endpoint]:
    """The endpoints, or everything that is wrong with their settings.

    Raises:
        SettingsError: with every problem.
    """
    problems = find_problems(settings)
    if not settings.receiver:
        expected = "there is nobody to deliver to: name at least one [[delivery.receiver]]"
        problems.append(Problem("settings", "delivery.receiver", "", expected))
    if problems:
        raise SettingsError(problems)
    return [endpoint_of(one) for one in settings.receiver]


def run_delivery(
    settings: DeliverySettings, dsn: str, password_file: str | None = None, *, drain: bool = False
) -> None:
    """Deliver until SIGTERM or SIGINT or, with `drain`, until nothing waits that could be sent now.

    Over an embedded database, which the job has open, nothing is read or written there: what is in the outbox already
    is delivered, the record stays in it, and the log warns that no alert comes in.

    Raises:
        SettingsError: settings can't be used.
        StateError: the outbox can't be used, or another process delivers from it.
        StoreRefused: the database refuses us (rights, schema).
    """
    endpoints = endpoints_of(settings)
    log = DeliveryLog()
    timeouts = Timeouts(settings.connect_timeout.seconds, settings.read_timeout.seconds, settings.total_timeout.seconds)
    stop = _Stop()
    with ExitStack() as open_now:
        open_now.enter_context(_stopping(stop))
        outbox_path = Path(settings.outbox)
        open_now.enter_context(_alone(outbox_path.with_name(f"{outbox_path.name}.lock")))
        outbox = open_now.enter_context(Outbox(outbox_path))
        lost = outbox.recover(_now_us())
        embedded = isinstance(parse_dsn(dsn), Embedded)
        names, stalled_after_s = [one.name for one in endpoints], settings.stalled_after.seconds
        telemetry = DeliveryTelemetry(names, intake=not embedded, stalled_after_s=stalled_after_s)
        if settings.listen and not drain:
            open_now.enter_context(serve(telemetry.telemetry, settings.listen, stalled_after_s, "delivery.listen"))
        intake = None
        if not embedded:
            intake = _Intake(settings, dsn, read_password(password_file), log, telemetry)
            open_now.callback(intake.close)
        watch = Watches(log, telemetry)
        workers = [_worker(one, outbox, settings, timeouts, watch) for one in endpoints]
        log.begun(endpoints, f"of {dsn}" if intake else f"in {settings.outbox}", lost)
        if embedded:
            log.no_intake(dsn)
        threads = _Threads()
        keeper = _Keeper(outbox, intake, settings, telemetry, watch, threads.wake)
        if drain:
            _drain(workers, keeper, stop)
            done = True
        else:
            done = _go_on(workers, keeper, threads, stop, settings.stop_within.seconds)
        log.ended(waited_out=done)


def _go_on(workers: Sequence[Worker], keeper: _Keeper, threads: _Threads, stop: _Stop, stop_within_s: float) -> bool:
    """Run until a stop; whether all that was under way was waited out."""
    threads.start([*workers, keeper])
    while not stop.requested and not threads.failed.wait(_SLICE_S):
        continue
    began_s = time.monotonic()
    done = threads.end(stop_within_s)
    threads.check()
    if not done:
        return False
    last = threading.Thread(target=keeper.turn, name="deliver-last", daemon=True)  # the record of the last attempts
    last.start()
    last.join(max(0.0, stop_within_s - (time.monotonic() - began_s)))
    return True


def _drain(workers: Sequence[Worker], keeper: _Keeper, stop: _Stop) -> None:
    """Deliver what can be delivered now, one endpoint after the other; what has to wait stays in the outbox."""
    keeper.turn()
    for worker in workers:
        while not stop.requested and worker.step() <= _now_us():
            continue
    keeper.turn()


def _worker(
    endpoint: Endpoint, outbox: Outbox, settings: DeliverySettings, timeouts: Timeouts, watch: DeliveryWatch
) -> Worker:
    return Worker(
        endpoint.name,
        endpoint.receiver,
        Poster(endpoint, timeouts),
        outbox,
        rules_of(settings),
        now_us=_now_us,
        monotonic_s=time.monotonic,
        jitter=random.Random(),  # noqa: S311 - spreads attempts in time, no secret
        watch=watch,
    )


def _now_us() -> int:
    return time.time_ns() // 1_000


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock as long as this process lives: two of them would send everything twice."""
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(held.enter_context(path.open("w")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"another process delivers from this outbox ({path} is locked)") from None
        except OSError as error:
            raise StateError(f"delivery.outbox: its lock {path} can't be taken: {error.strerror}") from error
        yield


@contextmanager
def _stopping(stop: _Stop) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a stop."""

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.requested = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
