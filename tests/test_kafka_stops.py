"""A job that is stopped when it can't end as it should: its database away, or itself not begun.

The views are those of a run without that.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import kafka_fixtures as fixtures
from tests.clickhouse_front import ClickHouseFront
from tests.kafka_broker import Broker
from tests.kafka_job import CALM, CALM_BATCH, Log, wait_for, whole_views
from tests.kafka_outages import job_of, not_ready, to_end, to_share
from tests.processes import environment

PARTITIONS = 2

broker = fixtures.broker
engine = fixtures.engine
front = fixtures.front
log = fixtures.log
undisturbed = fixtures.undisturbed


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("day")
    return fixtures.simulated(folder, PARTITIONS, orders_per_day=450, counter_sales_per_day=700, skus=60)


def test_stopped_while_the_database_is_away(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with job_of(tmp_path, broker, front, stop_within="8s") as job:
        job.start()
        to_share(job, log, 0.2)
        front.kill()
        wait_for(lambda: not_ready(job, "store:"), "the job to wait", 30)
        job.send(signal.SIGTERM)
        assert job.ends(30) == 1, "there can be no snapshot"
        assert "the next run goes on from the last" in job.errors()
        assert "stopped at a snapshot" not in job.errors()
        job.start()
        wait_for(lambda: not_ready(job, "store:"), "the job to wait", 60)
        job.send(signal.SIGTERM)
        assert job.ends(30) == 0, "it had not begun"
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
        job.start(epoch=CALM, batch=CALM_BATCH)
        to_end(job, log)
        assert whole_views(tmp_path) == undisturbed


def test_stopped_right_after_the_start(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: dict[str, object]
) -> None:
    with job_of(tmp_path, broker, front) as job:
        job.start()
        job.send(signal.SIGTERM)
        assert job.ends(30) in (0, -signal.SIGTERM), "it may not have come to listening to signals"
        job.start()
        wait_for(lambda: job.answer("/healthz")[0] == 200, "an answer", 60)
        job.stop()
        before = len(job.logged("started"))
        job.start()
        wait_for(lambda: len(job.logged("started")) > before, "the flow", 60)
        job.stop()
        for times in (1, 2):
            job.start()
            wait_for(lambda: job.messages() > 0, "messages", 60)
            for _ in range(times):
                job.send(signal.SIGTERM)
            assert job.ends(30) in ((0,) if times == 1 else (0, 1)), job.errors()
        job.start(epoch=CALM, batch=CALM_BATCH)
        to_end(job, log)
        assert whole_views(tmp_path) == undisturbed


ENDS_WHILE_THE_ENGINE_DOES = """
from dataflows.flow import Stop
from dataflows.live import _end_at_once
from schemas.errors import StoreUnavailable
stop = Stop()
stop.fail(StoreUnavailable("the database is away"))
_end_at_once(stop, "not at a snapshot within 8 s")
"""


def test_an_end_that_does_not_wait_for_the_engine_says_why() -> None:
    """Standard error is muted from the failure on, until the engine has ended: on a busy machine that takes seconds."""
    command = [sys.executable, "-c", ENDS_WHILE_THE_ENGINE_DOES]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "andon: the database is away",
        "andon: not at a snapshot within 8 s; the next run goes on from the last one",
    ]
