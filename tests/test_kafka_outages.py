"""Broker and database go away, come back, are slow and fail by script: the views are those of a run without that.

The job takes a partition for idle after one second here, and the log is of last spring: should an outage ever pass for
the end of a partition, time would leap to today and every deadline would fire.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from scenarios.simulate import demo_settings, simulate
from schemas.events import BUSINESS_TOPICS
from sinks.clickhouse.store import open_store
from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import ApacheKafka, Broker
from tests.kafka_job import Job, Log, wait_for, whole_views
from tests.tcp_proxy import TcpProxy

EVENTS = 70_000
PARTITIONS = 2
#: Bytes that each message carries beside its event, so that what is held of the log can be seen in a process's memory.
PADDING = 2_500
#: What a job may hold beyond what it had when it began, with a fifth of the log behind it: measured 150 to 165 MB, most
#: of it code and state; 265 to 315 MB where the client library may take all it can get. The log has 220 MB.
HELD_MB = 210
#: What it may grow by while it waits: measured 0 to 5 MB.
GROWN_MB = 32
#: As long as it must be seen that nothing moves.
STILL_S = 1.5


@pytest.fixture(scope="module")
def proxy() -> Iterator[TcpProxy]:
    with TcpProxy() as one:
        yield one


@pytest.fixture(scope="module")
def broker(proxy: TcpProxy) -> Iterator[Broker]:
    with Broker(proxy=proxy) as one:
        yield one


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path_factory.mktemp("clickhouse")) as one:
        yield one


@pytest.fixture
def front(engine: ClickHouseFront) -> ClickHouseFront:
    """The database, up and without faults."""
    if not engine.running:
        engine.start()
    engine.faults()
    return engine


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("day")
    settings = msgspec.structs.replace(demo_settings(3), orders_per_day=1_400, counter_sales_per_day=2_000)
    simulate(settings, folder)
    log = Log.of_files([folder / f"{topic}.jsonl" for topic in BUSINESS_TOPICS], PARTITIONS)
    assert log.count >= EVENTS
    padding = b',"padding":"' + b"x" * PADDING + b'"}'
    for messages in log.messages.values():
        messages[:-1] = [(value[:-1] + padding, at_ms) for value, at_ms in messages[:-1] if value is not None]
    return log


@pytest.fixture(scope="module")
def log(broker: Broker, day: Log) -> Log:
    day.produce(broker)
    return day


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, broker: Broker, engine: ClickHouseFront, log: Log
) -> dict[str, object]:
    with job_of(tmp_path_factory.mktemp("undisturbed"), broker, engine) as job:
        job.start()
        to_end(job, log)
        found = whole_views(job.folder)
        assert found["handoffs"][0] > 10_000  # type: ignore[index] # (rows, hash)
        assert found["signals"][0] > 0  # type: ignore[index]
        return found


def job_of(folder: Path, broker: Broker | ApacheKafka, front: ClickHouseFront, stop_within: str = "8s") -> Job:
    """A job with little room for what it has read ahead."""
    sections: dict[str, dict[str, object]] = {
        "time": {"idle_grace": "1s"},
        "engine": {"batch": 500, "stop_within": stop_within},
        "kafka": {"buffer": 500, "discover": "1s"},
        "kafka.client": {'"queued.max.messages.kbytes"': 4_096},
    }
    return Job(folder, broker, front.dsn_of(folder.name), **sections)


def to_end(job: Job, log: Log) -> None:
    """Let it come to the end of the log, where time goes on by the clock, and stop."""

    def done() -> bool:
        assert job.code is None, job.errors()
        ages = job.metric("andon_watermark_age_seconds")
        lags = job.metric("andon_lag_messages")
        return len(lags) == len(log.messages) and not any(lags.values()) and len(ages) == 4 and max(ages.values()) < 60

    wait_for(done, "the end of the log", 180)
    assert job.stop() < 10


def to_share(job: Job, log: Log, share: float, since: float = 0.0) -> None:
    """Let it process this share of the log, beside the `since` of its messages that were before."""

    def come() -> bool:
        assert job.code is None, job.errors()
        return since + job.messages() >= share * log.count

    wait_for(come, f"{share:.0%} of the log", 120)
    assert since + job.messages() < 0.9 * log.count, "it is too fast to be disturbed"


def not_ready(job: Job, words: str) -> bool:
    """Whether it says that it is not ready, and why; it is alive all the while."""
    assert job.code is None, job.errors()
    code, said = job.answer("/readyz")
    if code:
        assert job.answer("/healthz") == (200, "ok\n")
    return code == 503 and words in said


def ready(job: Job) -> bool:
    assert job.code is None, job.errors()
    return job.answer("/readyz") == (200, "ok\n")


def moved(job: Job) -> tuple[float, float]:
    """What it has processed, and what it has written of that."""
    return job.messages(), sum(job.metric("andon_rows_written_total").values())


def stands_still(job: Job) -> float:
    """Wait until nothing moves for a while; gives the most memory it held meanwhile, MB."""
    most, since, last = job.rss_mb(), time.monotonic(), moved(job)
    while time.monotonic() - since < STILL_S:
        time.sleep(0.1)
        most = max(most, job.rss_mb())
        if (now := moved(job)) != last:
            since, last = time.monotonic(), now
    return most


def newest_us(front: ClickHouseFront, database: str) -> int:
    """The largest time that a row was found at."""
    tables = ("handoff_passes", "handoff_windows", "stock_windows", "signal_log")
    parts = " UNION ALL ".join(f"SELECT max(toUnixTimestamp64Micro(arrival)) AS at FROM {table}" for table in tables)
    with open_store(front.dsn_of(database)) as store:
        return int(store.query(f"SELECT max(at) FROM ({parts})").rows[0][0])


def last_ms(log: Log) -> int:
    return max(messages[-1][1] for messages in log.messages.values())


def broker_away(job: Job, front: ClickHouseFront, log: Log) -> None:
    """The job says so, and time does not go on."""
    wait_for(lambda: not_ready(job, "source: the broker does not answer"), "the job to say so", 60)
    assert set(job.metric("andon_source_up").values()) == {0}
    stands_still(job)
    assert newest_us(front, job.folder.name) < last_ms(log) * 1_000, "time goes on with the log only"


def test_the_database_is_killed_again_and_again(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with job_of(tmp_path, broker, front) as job:
        job.start()
        wait_for(lambda: bool(job.logged("started")), "the flow", 60)
        began_mb = job.rss_mb()
        for number, share in enumerate((0.2, 0.45, 0.7)):
            to_share(job, log, share)
            before_mb = job.rss_mb()
            front.kill()
            wait_for(lambda: not_ready(job, "store:"), "the job to say what it waits for", 30)
            assert list(job.metric("andon_store_up").values()) == [0]
            most_mb = stands_still(job)
            assert most_mb < before_mb + GROWN_MB
            if number == 0:
                assert job.messages() < 0.4 * log.count, "the source is held back"
                assert most_mb < began_mb + HELD_MB
            front.start()
            wait_for(lambda: ready(job), "the job to go on by itself", 60)
            assert list(job.metric("andon_store_up").values()) == [1]
            assert len(job.logged("store_back")) == number + 1
        assert len(job.logged("store_away")) < sum(job.metric("andon_write_retries_total").values()), "once a minute"
        to_end(job, log)
        assert whole_views(tmp_path) == undisturbed


def test_faults_while_both_sides_are_slow(
    tmp_path: Path, proxy: TcpProxy, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    refused = ("pass", "503", "pass", "reset", "pass", "too_many_parts", "memory")
    in_doubt = ("lose", "slow:0.5", "cut", "pass", "bare", "lose")
    with job_of(tmp_path, broker, front) as job:
        front.faults(*refused, *in_doubt, latency_s=0.03)
        proxy.delay_s = 0.02
        try:
            job.start()
            wait_for(lambda: not front.left(), "all faults to happen", 120)
            seen = front.seen()
            front.faults()
        finally:
            proxy.delay_s = 0.0
        tokens = [one.token for one in seen if one.step == "lose"]
        assert tokens
        assert all([one.token for one in seen].count(token) > 1 for token in tokens), "sent again, as the same block"
        to_end(job, log)
        assert whole_views(tmp_path) == undisturbed


def test_the_broker_is_away_at_the_start_and_cut_off_later(
    tmp_path: Path, proxy: TcpProxy, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with job_of(tmp_path, broker, front) as job:
        proxy.cut()
        try:
            job.start()
            wait_for(lambda: bool(job.logged("started")), "the flow", 60)
            assert job.answer("/readyz")[0] == 503
            assert job.stop() < 10, "stopped before the first message"
            job.start()
            wait_for(lambda: len(job.logged("started")) == 2, "the flow", 60)
        finally:
            proxy.restore()
        to_share(job, log, 0.3)
        proxy.cut()
        try:
            broker_away(job, front, log)
        finally:
            proxy.restore()
        wait_for(lambda: ready(job), "the job to go on by itself", 60)
        assert len(job.logged("broker_unreachable")) == len(job.logged("broker_back")) == 1
        to_end(job, log)
        assert whole_views(tmp_path) == undisturbed


def test_the_broker_is_frozen_and_the_job_stopped_meanwhile(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with job_of(tmp_path, broker, front) as job:
        job.start()
        to_share(job, log, 0.3)
        broker.freeze()
        try:
            broker_away(job, front, log)
            assert len(job.logged("broker_unreachable")) == 1
            assert job.stop() < 10, "the broker is not needed for a snapshot"
        finally:
            broker.thaw()
        job.start()
        to_end(job, log)
        assert whole_views(tmp_path) == undisturbed


def test_stopped_while_the_database_is_away(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with job_of(tmp_path, broker, front) as job:
        job.start()
        to_share(job, log, 0.2)
        front.kill()
        wait_for(lambda: not_ready(job, "store:"), "the job to wait", 30)
        job.send(signal.SIGTERM)
        assert job.ends(10) == 1, "there can be no snapshot"
        assert "the next run goes on from the last" in job.errors()
        assert "stopped at a snapshot" not in job.errors()
        job.start()
        wait_for(lambda: not_ready(job, "store:"), "the job to wait", 60)
        job.send(signal.SIGTERM)
        assert job.ends(10) == 0, "it had not begun"
        assert "stopped before it had begun" in job.errors()
        front.start()
        job.start()
        to_share(job, log, 0.2)
        front.kill()
        wait_for(lambda: not_ready(job, "store:"), "the job to wait", 30)
        for _ in range(2):
            job.send(signal.SIGTERM)
            time.sleep(0.3)  # apart: the system may merge signals that come together
        assert job.ends(2) == 1, "at once"
        assert "stopped by a second signal" in job.errors()
        front.start()
        job.start()
        to_end(job, log)
        assert whole_views(tmp_path) == undisturbed


def test_stopped_right_after_the_start(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with job_of(tmp_path, broker, front) as job:
        job.start()
        job.send(signal.SIGTERM)
        assert job.ends(10) in (0, -signal.SIGTERM), "it may not have come to listening to signals"
        job.start()
        wait_for(lambda: job.answer("/healthz")[0] == 200, "an answer", 60)
        assert job.stop() < 10
        before = len(job.logged("started"))
        job.start()
        wait_for(lambda: len(job.logged("started")) > before, "the flow", 60)
        assert job.stop() < 10
        for times in (1, 2):
            job.start()
            wait_for(lambda: job.messages() > 0, "messages", 60)
            for _ in range(times):
                job.send(signal.SIGTERM)
            assert job.ends(10) in ((0,) if times == 1 else (0, 1)), job.errors()
        job.start()
        to_end(job, log)
        assert whole_views(tmp_path) == undisturbed


def test_apache_kafka_is_killed_and_started_again_on_its_log(
    tmp_path: Path, front: ClickHouseFront, day: Log, undisturbed: dict[str, object]
) -> None:
    with ApacheKafka() as kafka:
        day.produce(kafka)
        with job_of(tmp_path, kafka, front) as job:
            job.start()
            for share in (0.2, 0.6):
                to_share(job, day, share)
                kafka.kill()
                stands_still(job)
                assert newest_us(front, tmp_path.name) < last_ms(day) * 1_000, "time does not go on without the log"
                kafka.restart()
            to_end(job, day)
            assert whole_views(tmp_path) == undisturbed
