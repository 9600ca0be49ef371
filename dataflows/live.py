"""`andon run`: the job that is left running, over Kafka or files that grow, alone or as one of several processes."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from logging import CRITICAL, DEBUG, Logger, getLogger
from pathlib import Path

from dataflows.engine import init_recovery, run_flow, wall_clock
from dataflows.files import check_followed, partitions_of
from dataflows.flow import Cluster, LaneReader, Pipeline, Stop
from dataflows.input_limit import InputLimit
from dataflows.job import pipeline_settings, run_record
from dataflows.kafka.client import check_client, consumer_properties, producer_properties
from dataflows.kafka.input import KafkaInput
from dataflows.kafka.lane import KafkaLane
from dataflows.kafka.topics import TopicWatch
from dataflows.lane import FileLane, LaneInput
from dataflows.logs import ROOT
from dataflows.observe import serve
from dataflows.recovery import RunRecord, held, parts_in
from dataflows.settings import Settings
from dataflows.status import split_address
from dataflows.telemetry import Telemetry
from dataflows.watch import NOT_BEGUN, JobWatch
from operators.pipeline import PipelineSettings
from operators.process_map import ProcessMap
from schemas.durations import SECOND_US, to_us
from schemas.errors import SettingsError, StateError, Stopped
from schemas.problems import Problem
from schemas.rows import DeadLetter, Row
from sinks.clickhouse.dsn import Embedded, parse_dsn, read_password
from sinks.clickhouse.migrate import require_current
from sinks.clickhouse.store import Store, open_store_waiting
from sinks.clickhouse.waiting import Waiting
from sinks.clickhouse.writer import BlockWriter
from sinks.kafka import DeadLetterTopic

#: The signals that ask for a stop.
STOPPING = (signal.SIGTERM, signal.SIGINT)
_RECORD_WAIT_S = 60.0
#: A process that is to stop before it has begun waits so long for others, which may be about to find it.
_SOON_S = 4.0
_LISTEN_S = 0.1
#: Findings and windows wait for others to be written with for this share (1 / n) of `clickhouse.block_age`.
_PROMPTER = 4


class RowsOut:
    """Where this process's rows go: blocks to ClickHouse, dead letters to the topic as well, if there is one.

    All of the engine's sink partitions in a process share it.
    """

    def __init__(self, writer: BlockWriter, topic: DeadLetterTopic | None) -> None:
        self._writer, self._topic = writer, topic

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows; blocks that are full go out."""
        self._forward([row for row in rows if isinstance(row, DeadLetter)])
        self._forward(self._writer.write(rows))

    def hasten(self) -> None:
        """Let everything go to the store; `flush` is soon to come."""
        self._forward(self._writer.hasten())

    def flush(self) -> None:
        """Have everything in the store, and in the topic."""
        self._forward(self._writer.flush())
        if self._topic is not None:
            self._topic.flush()

    def _forward(self, letters: Sequence[DeadLetter]) -> None:
        if self._topic is not None and letters:
            self._topic.write(letters)


def check_live(settings: Settings, file: str) -> None:
    """What can be seen to be wrong before anything runs.

    Raises:
        SettingsError: with every problem.
    """
    problems: list[Problem] = []
    if settings.kafka.bootstrap and settings.source.files:
        problems.append(Problem(file, "source.files", "", "can't be followed beside kafka.bootstrap: choose one"))
    if not settings.kafka.bootstrap and not settings.source.files:
        expected = "nothing to read: set it to the broker's host:port, or name files to follow"
        problems.append(Problem(file, "kafka.bootstrap", "", expected))
    if settings.kafka.bootstrap and not settings.engine.recovery:
        expected = "must name a directory to keep state in, so that nothing is lost or counted twice (--recovery DIR)"
        problems.append(Problem(file, "engine.recovery", "", expected))
    problems += _of_processes(settings, file)
    try:
        split_address(settings.observe.listen or ":0")
    except ValueError as error:
        problems.append(Problem(file, "observe.listen", f'"{settings.observe.listen}"', str(error)))
    try:
        check_client(settings.kafka)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(problems)


def _of_processes(settings: Settings, file: str) -> Iterator[Problem]:
    """What several processes need, and one does not."""
    processes = len(settings.engine.processes)
    if processes > 1 and not settings.engine.recovery:
        yield Problem(file, "engine.recovery", "", "must name a directory when there are several processes")
    if processes > settings.engine.lanes:
        expected = f"must be at least the number of processes ({processes}), or some of them would read nothing"
        yield Problem(file, "engine.lanes", str(settings.engine.lanes), expected)
    if processes > 1 and isinstance(parse_dsn(settings.clickhouse.dsn), Embedded):
        expected = "is embedded, which one process can open: several need a server (http://…)"
        yield Problem(file, "clickhouse.dsn", settings.clickhouse.dsn, expected)


def run_live(settings: Settings, process: ProcessMap) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SettingsError: settings don't fit together.
        SourceError: the source can't be read on.
        StateError: the kept state can't be resumed, or is in use.
        StoreError: ClickHouse refuses what it is given, or was away when the job was stopped.
        Stopped: before it had begun.
        PeerLost: another process of the job has gone.
    """
    check_live(settings, "settings")
    partitions_of(settings.source.files)  # a name that is misspelt makes no database
    check_followed(settings.source.files)
    cluster = Cluster(settings.engine.process, tuple(settings.engine.processes))
    recovery = Path(settings.engine.recovery) if settings.engine.recovery else None
    stop = Stop()
    limit = InputLimit(settings.observe.dead_letter_window.seconds, settings.observe.dead_letter_share)
    stalled_after_s = settings.observe.stalled_after.seconds
    telemetry = Telemetry(cluster.process, stalled_after_s=stalled_after_s, limit=limit)
    watch = JobWatch(telemetry, stop, now_us, settings.engine.stop_within.seconds)
    with ExitStack() as open_now:
        open_now.enter_context(_stopping(stop, watch, settings.engine.stop_within.seconds))
        if settings.observe.listen:
            open_now.enter_context(serve(telemetry, settings.observe.listen, stalled_after_s))
        groups = pipeline_settings(settings, process)
        record = _begin(settings, recovery, cluster, open_now, stop)
        store = open_now.enter_context(_open_store(settings, watch))
        Waiting(watch=watch).answered(lambda: require_current(store))
        open_lane = _lanes(settings, groups, watch, open_now)
        out = _rows_out(settings, store, record, watch, open_now)
        pipeline = Pipeline(
            settings=groups,
            open_lane=open_lane,
            open_writer=lambda: out,
            stop=stop,
            watch=watch,
            ahead=settings.engine.ahead,
            increments_from=settings.engine.increments_from,
            run_id=record.run_id,
            hasten=out.hasten,
        )
        watch.begun(record.run_id, groups.lanes, cluster, _source_words(settings), str(store.target))
        run_flow(pipeline, recovery, settings.engine.epoch, cluster)
        watch.ended(kept=recovery is not None)


def _source_words(settings: Settings) -> str:
    kafka = settings.kafka
    if kafka.bootstrap:
        return f"{len(kafka.topics)} topics at {kafka.bootstrap}"
    return f"{len(settings.source.files)} file(s)"


def now_us() -> int:
    """The wall clock in microseconds."""
    return to_us(wall_clock())


def _begin(settings: Settings, recovery: Path | None, cluster: Cluster, open_now: ExitStack, stop: Stop) -> RunRecord:
    """Make or find the run's record; the first process of a job makes it, the others wait for it.

    Raises:
        StateError: another job holds the directory, it can't be written to, or the first process has not made it.
    """
    if recovery is None:
        return run_record(settings, None)
    open_now.enter_context(held(recovery, cluster.process))
    if RunRecord.path(recovery).exists() and not parts_in(recovery):
        words = f"{recovery} has a run and no part of its state, without which it would go on with holes"
        raise StateError(f"{words}: give this process its part-*.sqlite3 back, or start with a new recovery directory")
    if cluster.process == 0:
        init_recovery(recovery, settings.engine.lanes)
        return run_record(settings, recovery)
    began = time.monotonic()
    while not RunRecord.path(recovery).exists():
        waited_s = time.monotonic() - began
        if stop.requested and waited_s > _SOON_S:
            raise Stopped(NOT_BEGUN)
        if waited_s > _RECORD_WAIT_S:
            words = f"process 0 has not begun a run in {recovery} within {_RECORD_WAIT_S:.0f} s"
            own = "where each process has a directory of its own, its share of the parts has to be in it"
            raise StateError(f"{words}; {own} (docs/running.md)")
        time.sleep(0.05)
    return run_record(settings, recovery)


@contextmanager
def _open_store(settings: Settings, watch: JobWatch) -> Iterator[Store]:
    password = read_password(settings.clickhouse.password_file)
    target = parse_dsn(settings.clickhouse.dsn)
    with open_store_waiting(target, password=password, watch=watch) as store:
        watch.store_opened()
        yield store


def _lanes(
    settings: Settings, groups: PipelineSettings, watch: JobWatch, open_now: ExitStack
) -> Callable[[str, bytes | None], LaneReader]:
    """What opens a lane: over Kafka where a broker is named, else over the files."""
    rules = settings.time.rules()
    if not settings.kafka.bootstrap:
        source = LaneInput(
            partitions=tuple(partitions_of(settings.source.files)),
            rules=rules,
            batch=settings.engine.batch,
            poll_us=settings.source.poll,
            idle_grace_us=settings.time.idle_grace,
            clock=wall_clock,
        )
        return lambda name, resume: FileLane(name, groups.lanes, source, resume, watch.file_lane, watch.files_lost)
    kafka, logger = settings.kafka, _client_logger()
    properties = consumer_properties(kafka)
    topics = TopicWatch(
        properties,
        kafka.topics,
        every_s=kafka.discover.seconds,
        now=now_us,
        told=watch,
        logger=logger,
        begin_at_us=kafka.start_at,
    )
    open_now.callback(topics.close)
    kafka_input = KafkaInput(
        properties=properties,
        topics=tuple(kafka.topics),
        begin=kafka.start,
        skip_expired=kafka.on_expired == "earliest",
        rules=rules,
        batch=settings.engine.batch,
        buffer=kafka.buffer,
        idle_grace_us=settings.time.idle_grace,
        idle_grace_appended_us=settings.time.idle_grace_appended,
        discover_us=kafka.discover,
        now=wall_clock,
        watch=watch,
        logger=logger,
    )
    return lambda name, resume: KafkaLane(name, groups.lanes, kafka_input, topics, resume)


def _rows_out(settings: Settings, store: Store, record: RunRecord, watch: JobWatch, open_now: ExitStack) -> RowsOut:
    """The process's one way out for rows."""
    writer = BlockWriter(
        store,
        record.run_id,
        max_rows=settings.clickhouse.block_rows,
        max_age_s=settings.clickhouse.block_age / SECOND_US,
        prompt_age_s=settings.clickhouse.block_age / SECOND_US / _PROMPTER,
        patience_s=None,
        watch=watch,
    )
    open_now.callback(writer.close)
    topic = None
    if settings.kafka.bootstrap and settings.kafka.dead_letter_topic:
        properties = producer_properties(settings.kafka)
        topic = DeadLetterTopic(properties, settings.kafka.dead_letter_topic, watch, _client_logger())
        open_now.callback(topic.close)
    return RowsOut(writer, topic)


def _client_logger() -> Logger:
    """Where the client library's own lines go; what matters of them comes back as errors that are told better."""
    logger = getLogger("andon.kafka.client")
    logger.setLevel("DEBUG" if getLogger(ROOT).isEnabledFor(DEBUG) else CRITICAL)
    return logger


@contextmanager
def _stopping(stop: Stop, watch: JobWatch, within_s: float) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a stop; a second one, or the end of the time for it, ends the process at once.

    What was kept last is then what the next run goes on from; rows written since come again and replace themselves. So
    does the one signal where the engine still waits for other processes, or reads its state: it would hear of no stop.
    A thread hears of the signals through a socket, since the engine's thread may be in the engine, or in a wait for
    another process, and since the system may hand them to a thread that a library has started.
    """
    done = threading.Event()
    heard, told = socket.socketpair()
    heard.settimeout(_LISTEN_S)
    told.settimeout(0)

    def listen() -> None:
        asked_s: float | None = None
        signalled = False  # apart from `requested`: another process may have told us before our signal comes
        while not done.is_set():
            for _ in _signals_of(heard):
                if signalled:
                    _end_at_once(stop, "stopped by a second signal, not at a snapshot")
                stop.requested = signalled = True
            if stop.requested and asked_s is None:
                asked_s = time.monotonic()
            if asked_s is None or done.is_set():
                continue
            waits = watch.flowing and not watch.polled and stop.failure is None
            if waits and time.monotonic() >= asked_s + _SOON_S:
                _end_unbegun()
            if time.monotonic() >= asked_s + within_s + 1.0:
                _end_at_once(stop, f"not at a snapshot within {within_s:g} s")

    wakes = signal.set_wakeup_fd(told.fileno())
    before = {number: signal.signal(number, lambda *_: None) for number in STOPPING}
    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # those of `--processes` were started with them waiting
    try:
        yield
    finally:
        done.set()
        thread.join()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakes)
        heard.close()
        told.close()


def _signals_of(heard: socket.socket) -> list[int]:
    """The signals to stop that have come; waits a little for one."""
    try:
        return [number for number in heard.recv(64) if number in STOPPING]
    except TimeoutError:
        return []


def _end_unbegun() -> None:
    os.write(2, f"{NOT_BEGUN}\n".encode())
    os._exit(0)


def _end_at_once(stop: Stop, why: str) -> None:
    stop.unmute()  # the engine may be ending, over an error that nobody has been told of yet
    failed = "" if stop.failure is None else f"andon: {stop.failure}\n"
    os.write(2, f"{failed}andon: {why}; the next run goes on from the last one\n".encode())
    os._exit(1)
