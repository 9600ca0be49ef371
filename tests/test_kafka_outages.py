"""The database goes away, comes back, is slow and fails by script: the views are those of a run without that."""

from pathlib import Path

import pytest

from tests import kafka_fixtures as fixtures
from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import Broker
from tests.kafka_job import Log, wait_for, whole_views
from tests.kafka_outages import job_of, not_ready, ready, stands_still, to_end, to_share
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

proxy = fixtures.proxy
broker = fixtures.broker_behind_proxy
engine = fixtures.engine
front = fixtures.front
log = fixtures.log
undisturbed = fixtures.undisturbed


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("day")
    log = fixtures.simulated(folder, PARTITIONS, orders_per_day=1_400, counter_sales_per_day=2_000)
    assert log.count >= EVENTS
    padding = b',"padding":"' + b"x" * PADDING + b'"}'
    for messages in log.messages.values():
        messages[:-1] = [(value[:-1] + padding, at_ms) for value, at_ms in messages[:-1] if value is not None]
    return log


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
