"""A job over a real broker and a real ClickHouse, cut into processes, killed and stopped between: the same views.

The log is shorter than that of tests/test_kafka_kills.py: it is processes that count here, not points.
"""

from pathlib import Path

import pytest

from tests import kafka_fixtures as fixtures
from tests.clickhouse_front import ClickHouseFront
from tests.databases import fingerprints
from tests.kafka_broker import Broker
from tests.kafka_job import Job, Killer, Log, wait_for

PARTITIONS = 3
EVENTS = 55_000

broker = fixtures.broker
engine = fixtures.engine
front = fixtures.front
log = fixtures.log
undisturbed = fixtures.undisturbed_prints


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Log:
    made = fixtures.simulated(
        tmp_path_factory.mktemp("day"), PARTITIONS, orders_per_day=1_200, counter_sales_per_day=1_800, skus=60
    )
    assert made.count >= EVENTS
    return made


def test_four_processes(tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: object) -> None:
    """Two to which nothing happens are in tests/test_kafka_live.py."""
    with Job(tmp_path, broker, front.dsn_of("four"), engine={"epoch": "5s"}) as job:
        job.run_to_end(log, processes=4, deadline_s=900)
        assert fingerprints(job.folder) == undisturbed


def test_from_one_process_to_two_and_back_between_kills(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: object
) -> None:
    with Job(tmp_path, broker, front.dsn_of("rescaled"), engine={"epoch": "500ms"}) as job:
        killer = Killer(job, log, seed=5)
        for processes in (1, 2, 1, 2):
            killer.once(processes=processes, longest_s=0.5)
        assert killer.while_consuming >= 3
        job.start()
        wait_for(lambda: (job.left() or 0) > 0, "the job to consume")
        job.stop()
        job.run_to_end(log, processes=2, deadline_s=900)
        assert fingerprints(job.folder) == undisturbed


def test_stopped_again_and_again(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: object
) -> None:
    with Job(tmp_path, broker, front.dsn_of("stopped"), engine={"epoch": "10s", "batch": 250}) as job:
        for _ in range(3):
            job.start()
            wait_for(lambda: (job.left() or 0) > len(log.messages), "the job to consume")
            assert job.stop() < 10, "within 10 s, whatever the epoch"
            assert "stopped at a snapshot" in job.errors()
        job.run_to_end(log)
        assert fingerprints(job.folder) == undisturbed
