"""A job over a real broker and a real ClickHouse, cut into processes, killed and stopped between: the same views.

The log is a third of that of tests/test_kafka_kills.py: it is as many processes that count here, not as many points.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from scenarios.simulate import demo_settings, simulate
from schemas.events import BUSINESS_TOPICS
from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import Broker
from tests.kafka_job import Job, Killer, Log, wait_for
from tests.processes import fingerprints

EVENTS = 150_000


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    with ClickHouseFront(tmp_path_factory.mktemp("clickhouse")) as one:
        yield one


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Log:
    folder = tmp_path_factory.mktemp("day")
    settings = msgspec.structs.replace(demo_settings(3), orders_per_day=3_400, counter_sales_per_day=5_000)
    simulate(settings, folder)
    made = Log.of_files([folder / f"{topic}.jsonl" for topic in BUSINESS_TOPICS], 3)
    assert made.count >= EVENTS
    made.produce(broker)
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, broker: Broker, front: ClickHouseFront, log: Log) -> object:
    """The views of a run in one process that nothing happened to."""
    with Job(
        tmp_path_factory.mktemp("undisturbed"), broker, front.dsn_of("undisturbed"), engine={"epoch": "2s"}
    ) as job:
        job.run_to_end(log)
        found = fingerprints(job.folder)
        assert found["handoffs"][0] > 15_000  # type: ignore[index] # (rows, hash)
        assert found["signals"][0] > 0  # type: ignore[index]
        return found


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: object, processes: int
) -> None:
    with Job(tmp_path, broker, front.dsn_of(f"processes_{processes}"), engine={"epoch": "5s"}) as job:
        job.run_to_end(log, processes=processes, deadline_s=900)
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
    with Job(tmp_path, broker, front.dsn_of("stopped"), engine={"epoch": "10s"}) as job:
        for _ in range(3):
            job.start()
            wait_for(lambda: (job.left() or 0) > len(log.messages), "the job to consume")
            assert job.stop() < 10, "within 10 s, whatever the epoch"
            assert "stopped at a snapshot" in job.errors()
        job.run_to_end(log)
        assert fingerprints(job.folder) == undisturbed
