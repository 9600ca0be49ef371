"""The broker goes away, comes back and stands still: the views are those of a run without that.

The job takes a partition for idle after one second here, and the log is two weeks old: should an outage ever pass for
the end of a partition, time would leap to today and every deadline would fire.
"""

from pathlib import Path

import pytest

from sinks.clickhouse.store import open_store
from tests import kafka_fixtures as fixtures
from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import ApacheKafka, Broker
from tests.kafka_job import CALM, CALM_BATCH, Job, Log, wait_for, whole_views
from tests.kafka_outages import job_of, not_ready, ready, stands_still, to_end_by_clock, to_share
from tests.tcp_proxy import TcpProxy

PARTITIONS = 2

proxy = fixtures.proxy
broker = fixtures.broker_behind_proxy
engine = fixtures.engine
front = fixtures.front
log = fixtures.log
undisturbed = fixtures.undisturbed_by_clock


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("day")
    start = fixtures.two_weeks_ago()
    return fixtures.simulated(folder, PARTITIONS, start=start, orders_per_day=300, counter_sales_per_day=425, skus=60)


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


def test_the_broker_is_away_at_the_start_and_cut_off_later(
    tmp_path: Path, proxy: TcpProxy, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with job_of(tmp_path, broker, front, by_clock=True) as job:
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
        to_end_by_clock(job, log)
        assert whole_views(tmp_path) == undisturbed


def test_the_broker_is_frozen_and_the_job_stopped_meanwhile(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with job_of(tmp_path, broker, front, by_clock=True) as job:
        job.start()
        to_share(job, log, 0.3)
        broker.freeze()
        try:
            broker_away(job, front, log)
            assert len(job.logged("broker_unreachable")) == 1
            assert job.stop() < 10, "the broker is not needed for a snapshot"
        finally:
            broker.thaw()
        job.start(epoch=CALM, batch=CALM_BATCH)
        to_end_by_clock(job, log)
        assert whole_views(tmp_path) == undisturbed


def test_apache_kafka_is_killed_and_started_again_on_its_log(
    tmp_path: Path, front: ClickHouseFront, day: Log, undisturbed: dict[str, object]
) -> None:
    with ApacheKafka() as kafka:
        day.produce(kafka)
        with job_of(tmp_path, kafka, front, by_clock=True) as job:
            job.start()
            for share in (0.2, 0.6):
                to_share(job, day, share)
                kafka.kill()
                stands_still(job)
                assert newest_us(front, tmp_path.name) < last_ms(day) * 1_000, "time does not go on without the log"
                kafka.restart()
            to_end_by_clock(job, day)
            assert whole_views(tmp_path) == undisturbed
