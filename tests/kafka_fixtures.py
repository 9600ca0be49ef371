"""What the tests of jobs over a broker set up once a module: a broker, a database, a day in the broker, its views.

A module takes what it needs under the name it asks for it by, and has its own of each: `broker = fixtures.broker`. How
large its `day` is, it says itself.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from scenarios.simulate import demo_settings, simulate
from schemas.durations import Instant
from schemas.events import BUSINESS_TOPICS
from tests.clickhouse_front import ClickHouseFront
from tests.databases import fingerprints, rows_of
from tests.kafka_broker import ApacheKafka, Broker
from tests.kafka_job import CALM, CALM_BATCH, Job, Log, whole_views
from tests.kafka_outages import job_of, to_end, to_end_by_clock
from tests.tcp_proxy import TcpProxy


@pytest.fixture(scope="module")
def proxy() -> Iterator[TcpProxy]:
    with TcpProxy() as one:
        yield one


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


@pytest.fixture(scope="module")
def broker_behind_proxy(proxy: TcpProxy) -> Iterator[Broker]:
    with Broker(proxy=proxy) as one:
        yield one


@pytest.fixture(scope="module")
def apache() -> Iterator[ApacheKafka]:
    with ApacheKafka() as one:
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
def log(broker: Broker, day: Log) -> Log:
    """The module's day, in its broker."""
    day.produce(broker)
    return day


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, broker: Broker, engine: ClickHouseFront, log: Log
) -> dict[str, object]:
    """The views, whole, of a run with little room that nothing happened to."""
    with job_of(tmp_path_factory.mktemp("undisturbed"), broker, engine) as job:
        job.start(epoch=CALM, batch=CALM_BATCH)
        to_end(job, log)
        return telling(whole_views(job.folder), log)


@pytest.fixture(scope="module")
def undisturbed_by_clock(
    tmp_path_factory: pytest.TempPathFactory, broker: Broker, engine: ClickHouseFront, log: Log
) -> dict[str, object]:
    """The same where time goes on by the clock at the end of the log."""
    with job_of(tmp_path_factory.mktemp("undisturbed"), broker, engine, by_clock=True) as job:
        job.start(epoch=CALM, batch=CALM_BATCH)
        to_end_by_clock(job, log)
        (newest,) = rows_of(
            "SELECT max(window_end) < now() - INTERVAL 1 DAY AS is_old FROM handoff_latency", job.folder
        )
        assert newest["is_old"], "nothing of the log is left to come: a job that ends an hour later has no more rows"
        return telling(whole_views(job.folder), log)


@pytest.fixture(scope="module")
def undisturbed_prints(
    tmp_path_factory: pytest.TempPathFactory, broker: Broker, engine: ClickHouseFront, log: Log
) -> dict[str, object]:
    """The views' fingerprints of a run in one process that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with Job(folder, broker, engine.dsn_of("undisturbed")) as job:
        job.run_to_end(log)
        return telling(fingerprints(job.folder), log)


def two_weeks_ago() -> Instant:
    """Midnight of a Monday 14 days ago or some more: for a job by the clock such a day is over, with all its waits."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=14)
    return Instant.parse((day - timedelta(days=day.weekday())).isoformat())


def telling(views: dict[str, object], log: Log) -> dict[str, object]:
    """The views, once they have something to be compared: a handoff for ten messages, and a finding."""
    assert views["handoffs"][0] > log.count // 10  # type: ignore[index] # (rows, hash)
    assert views["signals"][0] > 0  # type: ignore[index]
    return views


def simulated(folder: Path, partitions: int, **retailer: int) -> Log:
    """A day of the demo's retailer with other figures; `start` is another day (µs)."""
    simulate(msgspec.structs.replace(demo_settings(3), **retailer), folder)
    return Log.of_files([folder / f"{topic}.jsonl" for topic in BUSINESS_TOPICS], partitions)
