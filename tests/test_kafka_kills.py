"""A job over a real broker and a real ClickHouse, killed at fifty points of a long log: the views are the same."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from scenarios.simulate import demo_settings, simulate
from schemas.events import BUSINESS_TOPICS
from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import Broker
from tests.kafka_job import Job, Killer, Log
from tests.processes import fingerprints

EVENTS = 500_000
KILLS = 50


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
    settings = msgspec.structs.replace(demo_settings(3), orders_per_day=11_300, counter_sales_per_day=16_500, skus=800)
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
        assert found["handoffs"][0] > 50_000  # type: ignore[index] # (rows, hash)
        assert found["signals"][0] > 0  # type: ignore[index]
        return found


def test_killed_at_fifty_random_points(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: object
) -> None:
    slow = {"epoch": "500ms", "batch": 1_000}
    with Job(tmp_path, broker, front.dsn_of("killed"), engine=slow) as job:
        killer = Killer(job, log, seed=11)
        left: float = log.count
        for number in range(KILLS):
            late = left > log.count * (1 - number / KILLS)
            killer.once(longest_s=1.5 if late else 0.1)  # so that the kills are spread over the log
            left = killer.points[-1] or left
        assert killer.while_consuming >= KILLS * 0.5, "the log was long enough to be killed in"
        job.run_to_end(log, deadline_s=900)
        assert fingerprints(job.folder) == undisturbed
